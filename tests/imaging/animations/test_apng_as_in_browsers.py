"""Odd animated PNGs, written by hand: what is made of them shows what Chromium 156 shows."""

import struct
import zlib
from pathlib import Path

import PIL.Image
import pytest

from gifster.imaging import Image
from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.frames import frames
from gifster.imaging.probe import probe
from tests import images

#: The pixels of a frame, by the letter that the tests below give them.
COLORS = {
    "R": (255, 0, 0, 255), "G": (0, 255, 0, 255), "B": (0, 0, 255, 255),
    "Y": (255, 255, 0, 255), "h": (0, 0, 255, 128), "-": (0, 0, 0, 0),
}  # fmt: skip
SIDE = 20
END = b"\0\0\0\0IEND\xae\x42\x60\x82"


def chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(*chunks: bytes) -> bytes:
    header = struct.pack(">2I5B", SIDE, SIDE, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + END


def pixels(color: str, width: int = SIDE, height: int = SIDE) -> bytes:
    return zlib.compress((b"\0" + bytes(COLORS[color]) * width) * height)


def actl(frames: int, plays: int = 0) -> bytes:
    return chunk(b"acTL", struct.pack(">2I", frames, plays))


def fctl(number: int, size: int = SIDE, at: int = 0, disposal: int = 0, blend: int = 0) -> bytes:
    content = struct.pack(">5I2H2B", number, size, size, at, at, 1, 20, disposal, blend)
    return chunk(b"fcTL", content)


def idat(color: str) -> bytes:
    return chunk(b"IDAT", pixels(color))


def fdat(number: int, color: str, size: int = SIDE) -> bytes:
    return chunk(b"fdAT", struct.pack(">I", number) + pixels(color, size, size))


def later(number: int, color: str, size: int = SIDE, **options: int) -> bytes:
    """A frame from number on, with two numbers."""
    return fctl(number, size, **options) + fdat(number + 1, color, size)


FIRST = fctl(0) + idat("R")
RG = FIRST + later(1, "G")
RGB = RG + later(3, "B")


def seen(content: bytes, folder: Path) -> list[str]:
    """What is shown, at four places of each frame. Poster and first frame must be the same."""
    source, poster = folder / "source", folder / "poster"
    source.write_bytes(content)
    info = probe(source)
    images.make(source, {poster: Image().first_frame().convert("png")})
    with PIL.Image.open(poster) as image:
        first = _letters(image)
    if info.frames == 1:
        return [first]
    made = [_letters(frame.picture) for frame in frames(source, info)]
    assert (made[0], len(made)) == (first, info.frames)
    assert info.duration_ms == 50 * len(made)
    return made


def _letters(picture: PIL.Image.Image) -> str:
    names = {color: letter for letter, color in COLORS.items()}
    image = picture.convert("RGBA")
    return "".join(names.get(image.getpixel((at, at)), "?") for at in (1, 4, 7, 18))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([actl(2), RG], ["RRRR", "GGGG"]),
        # The default image is no frame, and never seen
        ([actl(2), idat("R"), later(0, "G"), later(2, "B")], ["GGGG", "BBBB"]),
        ([actl(1), idat("R"), later(0, "G")], ["GGGG"]),
        ([actl(2), idat("R"), later(0, "G", 5, at=3), later(2, "B")], ["-GG-", "BBBB"]),
        ([actl(2), chunk(b"IDAT", b"no"), later(0, "G"), later(2, "B")], ["GGGG", "BBBB"]),
        ([actl(2), idat("R")], ["RRRR"]),
        # Counts of frames that are wrong
        ([actl(0), RG], ["RRRR"]),
        ([actl(0), idat("R")], ["RRRR"]),
        ([actl(1), RG], ["RRRR"]),
        ([actl(2), RGB], ["RRRR", "GGGG"]),
        ([actl(5), RG], ["RRRR", "GGGG"]),
        ([actl(2**31 - 1), RG], ["RRRR", "GGGG"]),
        ([actl(2**32 - 1), RG], ["RRRR"]),
        ([actl(2, 2**32 - 1), RG], ["RRRR"]),
        ([actl(2), actl(3), RGB], ["RRRR", "GGGG"]),
        ([idat("R"), actl(2), later(0, "G"), later(2, "B")], ["RRRR"]),
        ([fctl(0), actl(2), idat("R"), later(1, "G")], ["RRRR", "GGGG"]),
        ([RG], ["RRRR"]),
        ([chunk(b"acTL", b"\0\0\0\2\0\0\0\0", crc=1), RG], ["RRRR"]),
        ([chunk(b"acTL", b"\0\0\0\2"), RG], ["RRRR"]),
        # Sequence numbers
        ([actl(3), FIRST, later(2, "G"), later(4, "B")], ["RRRR"]),
        ([actl(3), FIRST, later(3, "B"), later(1, "G")], ["RRRR"]),
        ([actl(3), RG, fctl(1), fdat(3, "B")], ["RRRR", "GGGG"]),
        # Controls that are wrong, or miss their data
        ([actl(3), FIRST, later(1, "G", at=5), later(3, "B")], ["RRRR"]),
        ([actl(3), FIRST, fctl(1, 0), fdat(2, "G", 1), later(3, "B")], ["RRRR"]),
        ([actl(3), FIRST, later(1, "G", disposal=3), later(3, "B")], ["RRRR"]),
        ([actl(3), FIRST, later(1, "G", blend=2), later(3, "B")], ["RRRR"]),
        ([actl(3), FIRST, chunk(b"fcTL", bytes(20)), later(1, "G")], ["RRRR"]),
        ([actl(3), FIRST, fctl(1), later(2, "B")], ["RRRR", "BBBB"]),
        ([actl(2), FIRST, fctl(1)], ["RRRR"]),
        ([actl(2), FIRST, fdat(1, "G")], ["RRRR"]),
        ([actl(2), FIRST, fctl(1), chunk(b"fdAT", b"\0\0")], ["RRRR"]),
        # Browsers do not check the CRC of the pixels
        (
            [actl(2), FIRST, fctl(1), chunk(b"fdAT", b"\0\0\0\2" + pixels("G"), crc=1)],
            ["RRRR", "GGGG"],
        ),
        # A frame that cannot be decoded changes nothing; browsers go blank
        (
            [actl(3), FIRST, fctl(1), chunk(b"fdAT", b"\0\0\0\2no"), later(3, "B")],
            ["RRRR", "RRRR", "BBBB"],
        ),
        # Disposal
        ([actl(2), fctl(0, disposal=1), idat("R"), later(1, "G", 5, at=5)], ["RRRR", "--G-"]),
        ([actl(2), fctl(0, disposal=2), idat("R"), later(1, "G", 5, at=5)], ["RRRR", "--G-"]),
        (
            [actl(3), FIRST, later(1, "G", 5, at=5, disposal=1), later(3, "B", 2)],
            ["RRRR", "RRGR", "BR-R"],
        ),
        (
            [actl(3), FIRST, later(1, "G", 5, at=5, disposal=2), later(3, "B", 2)],
            ["RRRR", "RRGR", "BRRR"],
        ),
        # Blending
        ([actl(2), FIRST, later(1, "-", 5)], ["RRRR", "--RR"]),
        ([actl(2), FIRST, later(1, "-", 5, blend=1)], ["RRRR", "RRRR"]),
        ([actl(2), FIRST, later(1, "h", 5)], ["RRRR", "hhRR"]),
    ],
)  # fmt: skip
def test_an_odd_animation_shows_what_browsers_show(
    tmp_path: Path, chunks: list[bytes], expected: list[str]
):
    assert seen(png(*chunks), tmp_path) == expected


def test_half_transparent_pixels_blend(tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(png(actl(2), FIRST, later(1, "h", 5, blend=1)))

    *_, last = frames(source, probe(source))

    red, green, blue, alpha = last.picture.convert("RGBA").getpixel((1, 1))
    assert (green, alpha) == (0, 255)
    assert (red, blue) == (pytest.approx(127, abs=1), pytest.approx(128, abs=1))


@pytest.mark.parametrize(
    "chunks",
    [
        [actl(2), fctl(1), idat("R"), later(2, "G")],
        [actl(2), fctl(0, 10), idat("R"), later(1, "G")],
        [actl(2), fctl(0), fdat(1, "G"), idat("R"), later(2, "B")],
    ],
)
def test_an_animation_whose_first_frame_is_wrong_is_refused(tmp_path: Path, chunks: list[bytes]):
    (tmp_path / "source").write_bytes(png(*chunks))

    with pytest.raises(Unreadable, match="first frame is wrong"):
        probe(tmp_path / "source")


@pytest.mark.parametrize("cut", [12, 40, 100])
def test_an_animation_that_is_cut_off_is_truncated(tmp_path: Path, cut: int):
    (tmp_path / "source").write_bytes(png(actl(3), RGB)[:-cut])

    with pytest.raises(Truncated):
        probe(tmp_path / "source")


def test_a_png_that_is_no_animation_any_more_becomes_a_still(tmp_path: Path):
    # Given an animation of one frame, which is not the default image
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(png(actl(1), idat("R"), later(0, "G")))

    images.make(source, {target: Image()})

    # I expect viewers that know no animations to show the frame
    with PIL.Image.open(target) as image:
        assert _letters(image) == "GGGG"
    assert b"acTL" not in target.read_bytes()


@pytest.mark.parametrize(("plays", "times"), [(0, 0), (1, 1), (3, 3)])
def test_an_animated_png_says_how_often_it_plays(tmp_path: Path, plays: int, times: int):
    source, gif = tmp_path / "source", tmp_path / "gif"
    source.write_bytes(png(actl(2, plays), RG))

    images.make(source, {gif: Image().fit(9, 9).convert("gif")})

    assert probe(source).loop == times
    assert probe(gif).loop == (None if times == 1 else times)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_animation_is_turned_as_a_whole(tmp_path: Path, orientation: int):
    # Given a frame in the left upper corner
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    exif_chunk = chunk(b"eXIf", exif.tobytes()[6:])
    source = tmp_path / "source"
    source.write_bytes(png(exif_chunk, actl(2), FIRST, later(1, "G", 5)))

    *_, last = frames(source, probe(source))

    corner = {1: (1, 1), 3: (18, 18), 6: (18, 1), 8: (1, 18)}[orientation]
    assert last.picture.convert("RGBA").getpixel(corner) == COLORS["G"]
