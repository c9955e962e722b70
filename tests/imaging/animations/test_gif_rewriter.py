"""GIFs that keep their size are written again: the same pictures and times in fewer bytes."""

import io
import random
from collections.abc import Iterable
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageSequence
import pytest

from gifster.imaging import Image, gif_rewriter, render_unsandboxed
from gifster.imaging.frame import Frame
from gifster.imaging.frames import frames
from gifster.imaging.gif_blocks import GifBlocks
from gifster.imaging.gif_frames import DecodedGif
from gifster.imaging.gif_indices import IndexedFrames
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.probe import probe
from gifster.imaging.reader import Reader
from tests import images
from tests.combinations import only_in_ci
from tests.imaging.viewer import SIZE, decoded, drawn, side_by_side, words
from tests.machine import examples

COMMENT = b"\x21\xfe\x0esecret comment\0"


def rewritten(content: bytes, folder: Path) -> Path:
    source, target = folder / "source", folder / "target"
    source.write_bytes(content)
    images.make(source, {target: Image()})
    assert target.stat().st_size <= len(content)
    return target


def shown(path: Path) -> list[tuple[bytes, int]]:
    """Each picture that is shown, and for how long; equal neighbours are one."""
    return merged(frames(path, probe(path)))


def merged(shown: Iterable[Frame]) -> list[tuple[bytes, int]]:
    made: list[tuple[bytes, int]] = []
    for frame in shown:
        picture = PIL.Image.new("RGBA", frame.picture.size)
        picture.paste(frame.picture, mask=frame.picture.convert("RGBA").getchannel("A"))
        pixels = picture.tobytes()
        before = made.pop()[1] if made and made[-1][0] == pixels else 0
        made.append((pixels, before + frame.delay_ms))
    return made


def seen_by_pillow(path: Path) -> list[bytes]:
    with PIL.Image.open(path) as image:
        return [
            frame.convert("RGBA").convert("RGBa").tobytes()
            for frame in PIL.ImageSequence.Iterator(image)
        ]


def film(count: int, colors: int, size: tuple[int, int] = (120, 80)) -> bytes:
    """A GIF of frames with palettes of their own, in all of which something moves."""
    chance = random.Random(colors)
    content = bytearray(b"GIF89a" + words(*size) + b"\x70\0\0")
    canvas = PIL.Image.frombytes("L", size, chance.randbytes(size[0] * size[1]))
    for number in range(count):
        PIL.ImageDraw.Draw(canvas).rectangle((9 * number, 9, 9 * number + 30, 50), number)
        palette = bytes(canvas.width % 7 + chance.randrange(249) for _ in range(3 * 256))
        indices = canvas.point([at % colors for at in range(256)])
        content += b"\x21\xf9\x04\x04" + words(7) + b"\0\0\x2c" + words(0, 0, *size) + b"\x87"
        content += palette + b"\x08" + indices.tobytes("gif", "L", 8, 0) + b"\0"
    return bytes(content) + b";"


@pytest.mark.parametrize("holes", [True, False], ids=["holes", "solid"])
@pytest.mark.parametrize("seed", range(examples(4, of=8)))
def test_a_rewritten_gif_shows_the_same_pixels_at_every_moment(
    tmp_path: Path, seed: int, holes: bool
):
    # Given a GIF with all methods of disposal, palettes in any order, and interlaced frames
    made = drawn(seed, holes=holes)

    target = rewritten(made.content, tmp_path)

    # I expect ffmpeg to show exactly what a viewer shows of the source
    for picture, wanted in side_by_side(decoded(target, SIZE), made.shown):
        same = PIL.Image.new("RGBA", SIZE)
        same.paste(wanted, mask=wanted.getchannel("A"))
        seen = PIL.Image.new("RGBA", SIZE)
        seen.paste(picture, mask=picture.getchannel("A"))
        assert seen.tobytes() == same.tobytes()
    assert probe(target).loop == 0

    # And the other versions to get these pictures too, without decoding
    source = tmp_path / "source"
    gif = DecodedGif(source, probe(source))
    indexed = IndexedFrames.of(gif, SIZE)
    assert indexed is not None
    assert merged(indexed.frames()) == merged(gif.frames()) == shown(source)


@pytest.mark.parametrize("disposal", range(4))
@pytest.mark.parametrize("colors", [3, 128, 256])
def test_palettes_of_many_colours_are_kept(tmp_path: Path, colors: int, disposal: int):
    # Given 3 to 256 colours in each frame, and up to a thousand in all
    content = film(4, colors).replace(b"\xf9\x04\x04", bytes([0xF9, 4, disposal << 2]))

    target = rewritten(content, tmp_path)

    assert shown(target) == shown(tmp_path / "source")
    assert probe(target).loop is None


def test_a_frame_that_stays_says_so(tmp_path: Path):
    # Given noise in many colours, of which the second frame is cleared and the last has holes
    chance = random.Random(1)
    content = bytearray(b"GIF89a" + words(60, 40) + b"\x70\0\0")
    for number in range(4):
        noise = PIL.Image.frombytes("L", (60, 40), chance.randbytes(2400))
        if number == 3:
            noise.paste(255, (10, 10, 50, 30))
        content += b"\x21\xf9\x04" + bytes([(2 if number == 1 else 1) << 2 | 1]) + words(7)
        content += b"\xff\0\x2c" + words(0, 0, 60, 40) + b"\x87" + chance.randbytes(768)
        content += b"\x08" + noise.tobytes("gif", "L", 8, 0) + b"\0"

    target = rewritten(bytes(content) + b";", tmp_path)

    # I expect a viewer that overlooks disposals of 0 to show the same
    assert seen_by_pillow(target) == seen_by_pillow(tmp_path / "source")
    assert shown(target) == shown(tmp_path / "source")


def test_only_what_changes_is_written(tmp_path: Path):
    # Given noise, over which a square moves
    content = film(1, 200)[:-1]
    noisy = io.BytesIO(film(1, 200))
    with PIL.Image.open(noisy) as image:
        palette = image.getpalette("RGB") or []
    for number in range(6):
        pixels = PIL.Image.open(noisy).copy()
        pixels.paste(number, (10 * number, 20, 10 * number + 10, 30))
        content += b"\x21\xf9\x04\x04" + words(7) + b"\0\0\x2c" + words(0, 0, 120, 80) + b"\x87"
        data = PIL.Image.frombytes("L", pixels.size, pixels.tobytes()).tobytes("gif", "L", 8, 0)
        content += bytes(palette) + b"\x08" + data + b"\0"

    target = rewritten(content + b";", tmp_path)

    assert shown(target) == shown(tmp_path / "source")
    assert target.stat().st_size < len(content) / 4


def test_identical_frames_become_one(tmp_path: Path):
    # Given four pictures, each three times, some with a delay that browsers replace
    still = images.frames((60, 40), 4)
    frames_ = [frame.quantize(16) for frame in still for _ in range(3)]
    buffer = io.BytesIO()
    content = bytearray(b"GIF89a" + words(60, 40) + b"\x70\0\0")
    for number, frame in enumerate(frames_):
        content += b"\x21\xf9\x04\x04" + words(5 * (number % 3)) + b"\0\0\x2c"
        content += words(0, 0, 60, 40) + b"\x83" + bytes(frame.getpalette()).ljust(48, b"\0")[:48]
        content += b"\x04" + frame.tobytes("gif", "P", 4, 0) + b"\0"
    buffer.write(content)

    target = rewritten(bytes(content) + b";", tmp_path)

    assert images.timing(target.read_bytes())[0] == [250] * 4
    assert shown(target) == shown(tmp_path / "source")


def test_what_the_next_frame_draws_over_need_not_be_cleared(tmp_path: Path):
    # Given two pictures of very many colours, each twice, and cleared after each
    content = film(2, 256).replace(b"\xf9\x04\x04", b"\xf9\x04\x08")
    second = content.rindex(b"\x21\xf9\x04")
    first, last = content[13:second], content[second:-1]

    target = rewritten(content[:13] + 2 * first + 2 * last + b";", tmp_path)

    # I expect each picture to be stored once, but for the last one, which may be cleared
    assert shown(target) == shown(tmp_path / "source")
    assert target.stat().st_size < len(content) + len(last)
    changed = [frame.changed for frame in frames(tmp_path / "source", probe(tmp_path / "source"))]
    assert changed[1] == changed[3] == (0, 0, 0, 0) != changed[2]


@pytest.mark.parametrize("count", [1, 4])
def test_comments_and_what_follows_the_end_are_left_out(tmp_path: Path, count: int):
    # Given a GIF that cannot be made smaller, but for its comments
    plain = images.noisy_gif((40, 30), 4) if count > 1 else images.still("GIF", (40, 30))
    once = rewritten(plain, tmp_path).read_bytes()
    first = once.index(b"\x21\xf9") if count > 1 else 13  # a still begins behind the header
    with_comments = once[:first] + COMMENT + once[first:-1] + COMMENT + b";" + b"a video" * 99

    target = rewritten(with_comments, tmp_path)

    assert len(target.read_bytes()) <= len(once)
    assert b"secret" not in target.read_bytes()
    assert b"video" not in target.read_bytes()
    assert shown(target) == shown(tmp_path / "source")


def test_a_gif_that_is_rewritten_again_stays_as_small(tmp_path: Path):
    once = rewritten(images.gif((120, 90)), tmp_path).read_bytes()

    assert len(rewritten(once, tmp_path).read_bytes()) <= len(once)


def test_a_still_gif_gets_the_palette_that_it_needs(tmp_path: Path):
    # Given a still of three colours with a palette of 256
    still = PIL.Image.new("P", (300, 200), 200)
    still.paste(201, (10, 10, 90, 90))
    still.paste(255, (50, 50, 150, 99))
    still.putpalette(bytes(range(256)) * 3)
    source, target = tmp_path / "source", tmp_path / "target"
    still.save(source, "GIF", optimize=False)

    images.make(source, {target: Image()})

    with target.open("rb") as file:
        [frame] = GifBlocks(Reader(file))
    assert len(frame.palette) <= 4 * 3
    assert shown(target) == shown(source)


def test_versions_with_the_pixels_of_the_gif_are_rewritten_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, thumb, preview = tmp_path / "source", tmp_path / "thumb", tmp_path / "preview"
    source.write_bytes(images.gif((60, 40), [50] * 4))
    written: list[Path] = []
    rewrite = gif_rewriter.rewrite

    def noted(path: Path, info: ImageInfo, target: Path) -> object:
        written.append(target)
        return rewrite(path, info, target)

    monkeypatch.setattr(gif_rewriter, "rewrite", noted)
    recipes = {thumb: Image().fit(220, 220), preview: Image().fit(480, 480)}

    made = list(render_unsandboxed(source, probe(source), recipes))

    assert written == [thumb]
    assert [path for path in made if isinstance(path, Path)] == [thumb, preview]
    assert thumb.read_bytes() == preview.read_bytes()


def test_a_smaller_version_never_has_more_bytes_than_the_gif(tmp_path: Path):
    # Given GIFs that compress better than anything that is made of them
    source = tmp_path / "source"
    line = PIL.Image.new("P", (300, 200), 0)
    line.putpalette([255, 255, 255, 20, 40, 90])
    for at in range(0, 300, 3):
        line.paste(1, (at, 0, at + 1, 200))
    for moves in (False, True):
        later = [line.rotate(180), line.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM)]
        options = {"save_all": True, "append_images": later} if moves else {}
        line.save(source, "GIF", **options)
        for side in (299, 220, 90, 20):
            target = tmp_path / f"{side}"
            images.make(source, {target: Image().fit(side, side)})
            assert target.stat().st_size <= source.stat().st_size
            assert max(images.size(target.read_bytes())) == side


@only_in_ci("66 million pixels; smaller GIFs are rewritten daily")
def test_a_large_gif_takes_no_more_memory_than_the_sandbox_has(tmp_path: Path):
    # Given a still of 40 million pixels, and films of 8 million with a palette for each frame
    source, target, thumb = (tmp_path / name for name in ("source", "target", "thumb"))
    still = PIL.Image.new("P", (6_500, 6_100), 3)
    still.putpalette(bytes(range(30)))
    for content, frames_ in ((None, 1), (film(2, 256, (3_840, 2_160)), 2)):
        if content is None:
            still.save(source, "GIF")
        else:
            source.write_bytes(content)

        made = images.make(source, {target: Image(), thumb: Image().fit(90, 90)})

        # I expect all versions to be made
        assert len(made) == 2
        assert probe(target).frames == frames_
        assert target.stat().st_size <= source.stat().st_size
