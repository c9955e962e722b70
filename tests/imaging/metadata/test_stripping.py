"""Metadata is taken out of files, and what changes how they look stays."""

import io
import random
import struct
import zlib
from pathlib import Path

import PIL.Image
import PIL.ImageSequence
import pytest

from chaos import damage
from gifster.imaging import Image, strip_metadata, stripping
from gifster.imaging.errors import ImagingError, Unreadable
from gifster.imaging.probe import probe
from gifster.imaging.reader import OutOfSteps
from gifster.imaging.stripping import Pieces, stripped, tiff
from tests import images
from tests.imaging import carriers
from tests.imaging.carriers import ALL, SECRET


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def pixels(path: Path) -> list[tuple[str, bytes, object]]:
    """The pixels and the times of all frames."""
    with PIL.Image.open(path) as image:
        return [
            (frame.mode, frame.tobytes(), frame.info.get("duration"))
            for frame in PIL.ImageSequence.Iterator(image)
        ]


def strip(source: Path, target: Path) -> bool:
    return strip_metadata(source, target, probe(source).content_type)


@pytest.mark.parametrize("name", ALL)
def test_all_metadata_is_taken_out_and_the_pixels_stay(name: str, source: Path, target: Path):
    source.write_bytes(ALL[name])
    assert SECRET in ALL[name]

    assert strip(source, target)

    # I expect no byte of it, whoever looks
    made = target.read_bytes()
    assert SECRET not in made
    assert SECRET[:7] not in made
    with PIL.Image.open(target) as image:
        # (the tags that describe the pixels of a TIFF are EXIF, too)
        assert set(image.getexif()) <= (tiff.NEEDED if name == "TIFF" else set())
        assert not image.getexif().get_ifd(0x8825)
        hidden = {"xmp", "comment", "photoshop", "mp", "mpoffset"} | {"XML:com.adobe.xmp"}
        assert not [key for key in hidden if (image.info.get(key) or b"").strip(b"\0")]
        if name == "BMP":  # whose profile Pillow does not read
            assert carriers.PROFILE in made
        elif "GIF" not in name:
            assert image.info["icc_profile"] == carriers.PROFILE
    # … the same pixels, times and facts
    assert pixels(target) == pixels(source)
    before, after = probe(source), probe(target)
    assert (after.width, after.height, after.frames) == (before.width, before.height, before.frames)
    assert (after.duration_ms, after.loop) == (before.duration_ms, before.loop)
    # … and nothing more to be taken out
    assert not strip(target, source)
    assert source.read_bytes() == made


def test_bytes_that_no_decoder_reads_leave_the_chunks_of_a_png(source: Path, target: Path):
    content = images.still("PNG", (40, 30))
    profile = b"p\0\0" + zlib.compress(carriers.PROFILE)
    source.write_bytes(
        content[:33] + carriers.chunk(b"iCCP", profile + SECRET)
        + carriers.chunk(b"tRNS", SECRET * 20) + content[33:-12] + carriers.chunk(b"IEND", SECRET)
    )  # fmt: skip

    assert strip(source, target)

    clean = content[:33] + carriers.chunk(b"iCCP", profile) + content[33:]
    assert target.read_bytes() == clean


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_a_file_without_metadata_keeps_every_byte(format: str, source: Path, target: Path):
    source.write_bytes(images.still(format))

    assert not strip(source, target)

    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("make", [carriers.png, carriers.jpeg, carriers.webp])
def test_the_orientation_stays_and_nothing_else_of_exif(make, source: Path, target: Path):
    source.write_bytes(make(orientation=6))

    assert strip(source, target)

    with PIL.Image.open(target) as image:
        assert dict(image.getexif()) == {0x0112: 6}
    assert SECRET not in target.read_bytes()
    # (browsers do not turn a WebP)
    size = (80, 60) if make is carriers.webp else (60, 80)
    assert (probe(target).width, probe(target).height) == size


@pytest.mark.parametrize("where", ["between the scans", "before the end"])
def test_exif_behind_the_pixels_of_a_jpeg_turns_nothing(where: str, source: Path, target: Path):
    # Given a JPEG with an orientation that browsers do not reach before they know how to show it
    content = io.BytesIO()
    picture = images.frames((80, 60), 1)[0]
    picture.save(content, "JPEG", progressive=where == "between the scans")
    before = content.getvalue()
    at = before.rindex(b"\xff\xda" if where == "between the scans" else b"\xff\xd9")
    late = carriers.segment(0xE1, b"Exif\0\0" + carriers.exif(6))
    source.write_bytes(before[:at] + late + before[at:])

    assert strip(source, target)

    # I expect that it is not turned without its metadata, either, also if its head comes first
    assert target.read_bytes() == before
    assert (probe(target).width, probe(target).height) == (80, 60)
    source.write_bytes(stripping.without_metadata(source.read_bytes()))
    strip(source, target)
    assert target.read_bytes() == before


def test_an_adobe_segment_keeps_what_decoders_read(source: Path, target: Path):
    content = io.BytesIO()
    PIL.Image.new("CMYK", (80, 60), (90, 20, 30, 10)).save(content, "JPEG")
    before = content.getvalue()
    at = before.index(b"\xff\xee")
    adobe = before[at + 4 : at + 16]
    longer = carriers.segment(0xEE, adobe + SECRET)
    source.write_bytes(before[:at] + longer + before[at + 16 :])

    assert strip(source, target)

    assert target.read_bytes() == before


def test_a_heic_is_stripped_as_an_avif_is():
    content = io.BytesIO(carriers.avif())

    left = b"".join(stripped(content, "image/heic").read(content))

    assert SECRET not in left


def test_the_path_of_a_profile_leaves_a_bmp(source: Path, target: Path):
    path = SECRET + b"\0"
    linked = carriers.bmp().replace(b"DEBM", b"KNIL").replace(carriers.PROFILE, path)
    source.write_bytes(linked)

    assert strip(source, target)

    assert SECRET not in target.read_bytes()
    assert pixels(target) == pixels(source)


def test_the_orientation_of_a_tiff_is_a_tag_of_its_pixels(source: Path, target: Path):
    source.write_bytes(carriers.tiff(orientation=6))

    assert strip(source, target)

    with PIL.Image.open(target) as image:
        assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize("points_at", [0, 8, 60], ids=["header", "pixels", "directory"])
def test_damaged_metadata_of_a_tiff_takes_nothing_of_its_picture(
    source: Path, target: Path, points_at: int
):
    """EXIF whose values are said to be where the picture is."""
    rows = bytes(range(40))
    exif = b"\1\0" + struct.pack("<2H2L", 0x927C, 7, 100, points_at) + bytes(4)
    source.write_bytes(_small_tiff(rows, exif))

    assert strip(source, target)

    with PIL.Image.open(target) as image:
        assert image.tobytes() == rows
    assert target.stat().st_size == source.stat().st_size


@pytest.mark.parametrize("following", [b"", struct.pack("<L", 65_535)], ids=["none", "nowhere"])
def test_only_the_first_directory_of_a_tiff_has_to_be_whole(
    source: Path, target: Path, following: bytes
):
    rows = bytes(range(40))
    source.write_bytes(_small_tiff(rows, b"", following))

    strip(source, target)

    with PIL.Image.open(target) as image:
        assert image.tobytes() == rows


def _small_tiff(rows: bytes, exif: bytes, following: bytes = bytes(4)) -> bytes:
    """A TIFF of grey, 8 pixels wide: header, pixels, EXIF, and the directory at the end."""
    exif_at, directory_at = 8 + len(rows), 8 + len(rows) + len(exif)
    tags = [
        (256, 3, 1, 8), (257, 3, 1, len(rows) // 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, len(rows) // 8), (279, 4, 1, len(rows)),
        *([(34665, 4, 1, exif_at)] if exif else []),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<2H2L", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<L", directory_at) + rows + exif + directory + following


def test_a_gif_ends_with_a_damaged_control_block(source: Path, target: Path):
    """Browsers take it for the end. Behind it is no picture, and nothing that can be told apart."""
    content = images.gif((30, 20), [100, 100])
    source.write_bytes(content[:-1] + b"\x21\xf9\x05" + bytes(40) + b"\xff")

    assert strip(source, target)

    assert target.read_bytes() == content
    assert probe(source).frames == 2


def test_the_orientation_of_an_avif_is_a_property_of_the_picture(source: Path, target: Path):
    # Given an AVIF whose EXIF was made its rotation by the encoder
    source.write_bytes(carriers.avif(orientation=6))
    with PIL.Image.open(source) as image:
        size = image.size

    strip(source, target)

    assert b"irot" in target.read_bytes()
    assert SECRET not in target.read_bytes()
    with PIL.Image.open(target) as image:
        assert image.size == size


@pytest.mark.parametrize("name", ALL)
def test_no_version_has_any_of_it(name: str, source: Path, target: Path):
    # Given a version that has the size and the format of its source, and one that is smaller
    source.write_bytes(ALL[name])
    smaller = target.with_name("smaller")

    images.make(source, {target: Image().fit(100, 100), smaller: Image().fit(40, 40)})

    assert SECRET not in target.read_bytes() + smaller.read_bytes()
    assert probe(target).frames == probe(source).frames
    # … and that the first is no worse, as it was not encoded again
    if name not in ("GIF", "GIF, still", "TIFF"):
        assert pixels(target) == pixels(source)


def test_a_version_of_a_turned_picture_is_upright(source: Path, target: Path):
    source.write_bytes(carriers.jpeg(orientation=6))

    images.make(source, {target: Image().fit(100, 100)})

    assert SECRET not in target.read_bytes()
    with PIL.Image.open(target) as image:
        assert image.size == (60, 80)
        assert not dict(image.getexif())


def test_what_changes_the_look_of_a_png_stays(source: Path, target: Path):
    content = images.still("PNG", (30, 20))
    looks = (
        carriers.chunk(b"gAMA", struct.pack(">I", 45455))
        + carriers.chunk(b"sRGB", b"\0")
        + carriers.chunk(b"cICP", b"\1\x0d\0\1")
        + carriers.chunk(b"pHYs", struct.pack(">2IB", 2835, 2835, 1))
    )
    text = carriers.chunk(b"tEXt", b"Comment\0" + SECRET)
    source.write_bytes(content[:33] + looks + text + content[33:])

    strip(source, target)

    assert target.read_bytes() == content[:33] + looks + content[33:]


def test_a_colour_profile_that_unpacks_without_end_is_left_out(source: Path, target: Path):
    content = images.still("PNG", (30, 20))
    bomb = carriers.chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50_000_000), 9))
    source.write_bytes(content[:33] + bomb + content[33:])

    strip(source, target)

    assert target.read_bytes() == content


def test_reading_ends_with_the_steps(source: Path):
    content = images.still("PNG", (30, 20))
    source.write_bytes(content[:33] + carriers.chunk(b"tEXt", b"") * 1000 + content[33:])

    with source.open("rb") as file, pytest.raises(OutOfSteps):
        stripped(file, "image/png", max_steps=1000)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WebP", "GIF", "AVIF"])
def test_what_cannot_be_told_apart_is_refused(name: str, source: Path, target: Path):
    source.write_bytes(ALL[name][:400])

    with source.open("rb") as file, pytest.raises(Unreadable):
        stripped(file, f"image/{name.lower()}")


def test_metadata_in_a_part_of_another_item_is_refused():
    # Given an AVIF whose EXIF is said to be in item 9 (construction method 2)
    iinf = carriers.box(b"infe", b"\2\0\0\0\0\2\0\0Exif\0")
    item = b"\0\2\0\2\0\0\0\1" + struct.pack(">2I", 0, 40)
    meta = (
        carriers.box(b"iinf", b"\0\0\0\0\0\1" + iinf)
        + carriers.box(b"iloc", b"\1\0\0\0\x44\0\0\1" + item)
    )  # fmt: skip
    content = carriers.box(b"ftyp", b"avif") + carriers.box(b"meta", bytes(4) + meta)

    with pytest.raises(Unreadable, match="nobody can find it"):
        stripped(io.BytesIO(content), "image/avif")


def test_metadata_is_found_below_thousands_of_boxes_in_boxes():
    # Given a whole AVIF, and behind it a box in a box in a box …
    content = carriers.box(b"udta", SECRET)
    for _ in range(3_000):
        content = carriers.box(b"moov", content)

    pieces = stripped(io.BytesIO(carriers.avif() + content), "image/avif")

    kept = b"".join(pieces.read(io.BytesIO(carriers.avif() + content)))
    assert SECRET not in kept


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_stripped_or_refused(seed: int, source: Path, target: Path):
    chance = random.Random(seed)
    for content in [*ALL.values()] * 6:
        source.write_bytes(damage.mutate(content, chance))
        try:
            strip(source, target)
        except ImagingError:
            continue
        except ValueError as error:  # the damage has left it no type
            if "not taken out of" not in str(error):
                raise
            continue
        assert target.stat().st_size <= source.stat().st_size + 100


def test_pieces_can_be_read_like_a_file():
    chance = random.Random(1)
    content = chance.randbytes(300_000)
    pieces = Pieces()
    pieces.keep(0, 10)
    pieces.add(b"new bytes")
    pieces.keep(20, 200_000)
    pieces.blank(10_000)
    pieces.keep(250_000, 300_000)
    expected = (
        content[:10] + b"new bytes" + content[20:200_000] + bytes(10_000) + content[250_000:]
    )  # fmt: skip

    assert b"".join(pieces.read(io.BytesIO(content))) == expected
    opened = pieces.open(io.BytesIO(content))
    assert opened.read() == expected
    for _ in range(50):
        at, count = chance.randrange(len(expected) + 10), chance.randrange(70_000)
        opened.seek(at)
        assert opened.read(count) == expected[at : at + count]
    assert opened.seek(-5, io.SEEK_END) == len(expected) - 5
