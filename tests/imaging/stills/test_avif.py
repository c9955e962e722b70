"""AVIF, still and animated: it is read, and made."""

import io
import struct
from dataclasses import replace
from pathlib import Path

import PIL.Image
import PIL.ImageCms
import pytest

from gifster.imaging import Image, bmff_items, strip_metadata
from gifster.imaging.cicp import UNREAD_MATRICES
from gifster.imaging.errors import Truncated, Unreadable, Unsupported
from gifster.imaging.probe import probe
from tests import images
from tests.imaging import carriers


@pytest.mark.parametrize("count", [1, 3])
def test_avif_is_read(tmp_path: Path, count: int):
    source, target = tmp_path / "source", tmp_path / "target"
    frames = images.frames((300, 200), count)
    frames[0].save(source, "AVIF", save_all=True, append_images=frames[1:], duration=70, speed=10)

    info = probe(source)
    images.make(source, {target: Image().fit(100, 100).convert("gif")})

    assert (info.content_type, info.width, info.height, info.frames) == (
        "image/avif", 300, 200, count
    )  # fmt: skip
    assert info.duration_ms == (70 * count if count > 1 else 0)
    assert (probe(target).width, probe(target).frames) == (100, count)
    with PIL.Image.open(target) as made:
        assert (
            images.difference(made, frames[0].resize((100, 67), PIL.Image.Resampling.LANCZOS)) < 6
        )


def test_an_animated_avif_stays_animated(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    frames = images.frames((300, 200), 3)
    frames[0].save(source, "AVIF", save_all=True, append_images=frames[1:], duration=70, speed=10)

    images.make(source, {target: Image().fit(100, 100)})

    made = probe(target)
    assert (made.content_type, made.width, made.frames, made.duration_ms) == (
        "image/avif", 100, 3, 210
    )  # fmt: skip


def test_a_sequence_has_the_range_that_every_browser_shows(tmp_path: Path):
    # Given an animated AVIF of the full range
    source, target = tmp_path / "source", tmp_path / "target"
    frames = [PIL.Image.new("RGB", (96, 64), (156, 122, level)) for level in (20, 136)]
    frames[0].save(source, "AVIF", save_all=True, append_images=frames[1:], range="full", speed=10)

    images.make(source, {target: Image().fit(48, 48)})

    # I expect the same colours in the limited range
    content, at = target.read_bytes(), target.read_bytes().rindex(b"colrnclx")
    assert content[at + 14] == 0
    with PIL.Image.open(target) as made:
        made.seek(1)
        assert made.getpixel((20, 20)) == pytest.approx((156, 122, 136), abs=4)


def test_the_size_of_a_turned_avif_is_that_of_the_upright_picture(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    images.frames((300, 200), 1)[0].save(source, "AVIF", exif=exif, speed=10)

    images.make(source, {target: Image().fit(100, 100)})

    assert (probe(source).width, probe(source).height) == (200, 300)
    assert images.size(target.read_bytes()) == (67, 100)


def test_a_truncated_or_damaged_avif_is_refused(tmp_path: Path):
    source = tmp_path / "source"
    buffer = io.BytesIO()
    images.frames((300, 200), 1)[0].save(buffer, "AVIF", speed=10)
    content = buffer.getvalue()

    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(Truncated):
        probe(source)
    source.write_bytes(content.replace(b"ispe", b"nope"))
    with pytest.raises(Unreadable):
        probe(source)


@pytest.mark.parametrize("plays", [0, 1, 3, 2**31 - 1])
def test_an_animated_avif_plays_as_often_as_its_source(tmp_path: Path, plays: int):
    # Given an animated PNG, and a version in AVIF
    source, target, gif = (tmp_path / name for name in ("source", "target", "gif"))
    frames = images.frames((60, 40), 3)
    frames[0].save(source, "PNG", save_all=True, append_images=frames[1:], loop=plays)

    images.make(source, {target: replace(Image().fit(30, 30), content_type="image/avif")})

    assert probe(target).loop == plays
    assert (probe(target).frames, probe(target).duration_ms) == (3, probe(source).duration_ms)
    # … and back
    images.make(target, {gif: Image().convert("gif")})
    assert probe(gif).loop == (None if plays == 1 else min(plays, 65_536))


def test_an_avif_of_nearly_endless_duration_plays_forever(tmp_path: Path):
    """Some encoders write a duration just below the one that means forever."""
    source, target, again = (tmp_path / name for name in ("source", "target", "again"))
    frames = images.frames((60, 40), 3)
    frames[0].save(source, "AVIF", save_all=True, append_images=frames[1:], speed=10)
    # In the tkhd of version 1 it is the number before 8 reserved bytes, and in the mvhd before the
    # rate
    content = bytearray(source.read_bytes())
    for box, place in ((b"tkhd", 32), (b"mvhd", 28)):
        at = content.index(box) + place
        assert content[at : at + 8] == b"\xff" * 8
        content[at : at + 8] = (2**64 - 4).to_bytes(8, "big")
    source.write_bytes(content)

    images.make(
        source, {target: Image().convert("png"), again: replace(Image(), content_type="image/avif")}
    )

    assert [probe(path).loop for path in (source, target, again)] == [0, 0, 0]


def test_an_avif_without_an_edit_list_plays_forever(tmp_path: Path):
    source = tmp_path / "source"
    frames = images.frames((60, 40), 3)
    frames[0].save(source, "AVIF", save_all=True, append_images=frames[1:], speed=10)
    source.write_bytes(source.read_bytes().replace(b"edts", b"free"))

    assert probe(source).loop == 0


def test_an_avif_with_a_list_of_properties_for_each_item(tmp_path: Path):
    """libavif refuses several boxes ipma: cavif writes one for the picture, one for its alpha."""
    # Given a half transparent picture, and the same with two such boxes
    source, target, stripped = (tmp_path / name for name in ("source", "target", "stripped"))
    picture = PIL.Image.new("RGBA", (60, 40), (200, 40, 30, 128))
    picture.save(source, "AVIF", quality=90)
    source.write_bytes(_with_lists(source.read_bytes()))
    with pytest.raises(PIL.UnidentifiedImageError):
        PIL.Image.open(source)

    images.make(source, {target: Image().convert("png")})
    strip_metadata(source, stripped, "image/avif")

    for path in (target, stripped):
        with PIL.Image.open(path) as image:
            red, _, _, alpha = image.convert("RGBA").getpixel((30, 20))  # type: ignore[misc]
        assert abs(red - 200) < 12
        assert abs(alpha - 128) < 6
    assert stripped.stat().st_size == source.stat().st_size


def _with_lists(content: bytes) -> bytes:
    """An AVIF whose items have a box ipma each."""
    at = content.index(b"ipma") - 4
    end = at + int.from_bytes(content[at : at + 4], "big")
    entries = [entry for _, entry in bmff_items.associations(content[at + 8 : end])]
    lists = [b"ipma" + content[at + 8 : at + 12] + b"\0\0\0\1" + entry for entry in entries]
    made = bytearray(content[:at])
    made += b"".join((len(one) + 4).to_bytes(4, "big") + one for one in lists) + content[end:]
    more = len(made) - len(content)
    for box in (b"meta", b"iprp"):
        place = content.index(box) - 4
        size = int.from_bytes(content[place : place + 4], "big") + more
        made[place : place + 4] = size.to_bytes(4, "big")
    place = content.index(b"iloc") + 4
    for extent in bmff_items.extents(content[place:]):
        where = content.index(extent.start.to_bytes(4, "big"), place)
        made[where : where + 4] = (extent.start + more).to_bytes(4, "big")
    return bytes(made)


@pytest.mark.parametrize("matrix", [1, 6, 9, *sorted(UNREAD_MATRICES)])
def test_colours_that_nobody_converts_are_unsupported(tmp_path: Path, matrix: int):
    source, target = tmp_path / "source", tmp_path / "target"
    content = bytearray(images.still("AVIF", (30, 20)))
    at = content.index(b"colrnclx") + 12
    content[at : at + 2] = matrix.to_bytes(2, "big")
    source.write_bytes(content)

    if matrix not in UNREAD_MATRICES:
        assert images.make(source, {target: Image().convert("png")}) == [target]
        return

    with pytest.raises(Unsupported, match=f"matrix {matrix} "):
        probe(source)
    with PIL.Image.open(source) as image, pytest.raises(RuntimeError):
        image.load()  # otherwise it need not be refused any more


def test_a_low_overhead_avif_is_unsupported(tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(b"\0\0\0\x10ftypmif3avif\0\0\0\x20mini" + bytes(24))

    with pytest.raises(Unsupported, match="low-overhead") as refused:
        probe(source)

    assert refused.value.code == "unsupported"


def _with_property(avif: bytes, added: bytes) -> bytes:
    """An AVIF of one item, with a further property of that."""
    content = bytearray(avif)
    meta, iprp, ipco, ipma, iloc = (
        content.index(kind) - 4 for kind in (b"meta", b"iprp", b"ipco", b"ipma", b"iloc")
    )

    def number(at: int) -> int:
        return int.from_bytes(content[at : at + 4], "big")

    end, count, at = ipco + number(ipco), 0, ipco + 8
    while at < end:
        at, count = at + number(at), count + 1
    for start, more in (
        (meta, len(added) + 1), (iprp, len(added) + 1), (ipco, len(added)), (ipma, 1),
        (iloc + 22, len(added) + 1),
    ):  # fmt: skip
        content[start : start + 4] = (number(start) + more).to_bytes(4, "big")
    content[ipma + 18] += 1
    content[ipma + 19 : ipma + 19] = bytes([0x80 | count + 1])
    content[end:end] = added
    return bytes(content)


def _clap(*numbers: int) -> bytes:
    return carriers.box(b"clap", struct.pack(">4LlLlL", *numbers))


@pytest.mark.parametrize(
    ("clap", "size"),
    [
        ((24, 1, 16, 1, -12, 1, -8, 1), (24, 16)),
        ((23, 1, 15, 1, -25, 2, -17, 2), (23, 15)),
        ((24, 1, 16, 1, 0, 1, 0, 1), (48, 32)),
        ((24, 1, 16, 1, 40, 1, 0, 1), (48, 32)),
        ((47, 2, 31, 2, -49, 4, -33, 4), (48, 32)),
        ((24, 0, 16, 1, -12, 1, -8, 1), (48, 32)),
        ((100, 1, 100, 1, 26, 1, 34, 1), (48, 32)),
    ],
    ids=["corner", "odd", "middle", "beyond", "half pixels", "no unit", "larger"],
)
def test_the_part_of_an_avif_that_browsers_show(tmp_path: Path, clap, size):
    # Given an AVIF with a clean aperture, turned by a quarter after that
    source, target = tmp_path / "source", tmp_path / "target.png"
    picture = images.frames((48, 32), 1)[0]
    picture.save(source, "AVIF", quality=100, subsampling="4:4:4", speed=10)
    turned = _with_property(source.read_bytes(), _clap(*clap))
    source.write_bytes(_with_property(turned, carriers.box(b"irot", b"\1")))

    info = probe(source)
    images.make(source, {target: Image().convert("png")})

    assert (info.height, info.width) == size
    with PIL.Image.open(target) as made:
        wanted = picture.crop((0, 0, *size)).transpose(PIL.Image.Transpose.ROTATE_90)
        assert made.size == wanted.size
        assert images.difference(made, wanted) < 3


def test_an_avif_may_have_a_main_brand_of_its_kind(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target.png"
    images.frames((48, 32), 1)[0].save(source, "AVIF", speed=10)
    source.write_bytes(source.read_bytes().replace(b"ftypavif", b"ftypMA1B", 1))

    images.make(source, {target: Image().convert("png")})

    assert probe(target).width == 48


def test_a_still_stays_one_if_it_has_a_sequence_too(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    frames = images.frames((48, 32), 3)
    frames[0].save(source, "AVIF", save_all=True, append_images=frames[1:], speed=10)
    source.write_bytes(source.read_bytes().replace(b"ftypavis", b"ftypavif", 1))

    info = probe(source)
    images.make(source, {target: Image().convert("webp")})

    assert (info.frames, info.duration_ms, info.loop) == (1, 0, None)
    assert probe(target).frames == 1


def test_the_duration_of_an_avif_is_that_of_its_frames_in_browsers(tmp_path: Path):
    # Given frames of 0 and 10 ms, which browsers show for 100
    source, target = tmp_path / "source", tmp_path / "target"
    frames = images.frames((48, 32), 3)
    frames[0].save(
        source, "AVIF", save_all=True, append_images=frames[1:], duration=[0, 10, 11], speed=10
    )

    images.make(source, {target: Image().convert("webp")})

    assert probe(source).duration_ms == probe(target).duration_ms == 211


def test_the_clock_of_an_avif_may_come_behind_its_delays(tmp_path: Path):
    # Given a track whose header, with the ticks of a second, is the last box beside its samples
    source, content = tmp_path / "source", images.animated("avif", [50, 60, 70], (48, 32))

    def box(kind: bytes) -> tuple[int, int]:
        at = content.index(kind) - 4
        return at, at + int.from_bytes(content[at : at + 4], "big")

    (start, behind), (_, end) = box(b"mdhd"), box(b"mdia")
    source.write_bytes(
        content[:start] + content[behind:end] + content[start:behind] + content[end:]
    )

    assert (probe(source).frames, probe(source).duration_ms) == (3, 180)


@pytest.mark.parametrize(
    "property", [_clap(24, 1, 16, 1, -12, 1, -8, 1), carriers.box(b"irot", b"\1")]
)
def test_what_an_avif_says_of_its_still_is_not_said_of_its_sequence(
    tmp_path: Path, property: bytes
):
    source, target = tmp_path / "source", tmp_path / "target"
    whole = images.animated("avif", [50, 60, 70], (48, 32))
    content = bytearray(_with_property(whole, property))
    at = content.find(b"stco")
    while at > 0:  # the samples are as much further behind
        for place in range(at + 12, at + 12 + 4 * content[at + 11], 4):
            offset = int.from_bytes(content[place : place + 4], "big") + len(content) - len(whole)
            content[place : place + 4] = offset.to_bytes(4, "big")
        at = content.find(b"stco", at + 4)
    source.write_bytes(content)

    info = probe(source)
    images.make(source, {target: Image()})

    assert (info.width, info.height, info.frames) == (48, 32, 3)
    with PIL.Image.open(target) as made:
        assert made.size == (48, 32)
