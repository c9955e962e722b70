"""PNGs with chunks that are wrong or in the wrong place, and JPEGs with a profile in odd places.

The expected pixels are those that Chromium 156 shows."""

import struct
import zlib
from pathlib import Path

import PIL.Image
import pytest

from gifster.imaging import Image, icc, strip_metadata
from gifster.imaging.errors import Unreadable
from gifster.imaging.probe import probe
from tests import images
from tests.imaging.png import chunk, row, with_chunks, written

COLOR = (200, 100, 20)
#: The same as linear light, and as linear light of Display P3.
LINEAR, WIDE = (229, 168, 79), (241, 165, 56)
LINEAR_GAMMA = chunk(b"gAMA", struct.pack(">L", 100_000))
PROFILE = icc.rgb_profile(icc.DISPLAY_P3, 1.0)
PACKED = zlib.compress(PROFILE)
PALETTE = chunk(b"PLTE", bytes([9, 9, 9, *COLOR]))


def iccp(profile: bytes = PROFILE, name: bytes = b"x", method: int = 0, *, packed: bytes = b""):
    content = packed or zlib.compress(profile)
    return chunk(b"iCCP", name + b"\0" + bytes([method]) + content)


def pixels(path: Path, content: bytes) -> list[tuple[int, ...]]:
    """The pixels (RGBA) of a file, which must look the same without its metadata."""
    path.write_bytes(content)
    info, bare = probe(path), path.with_name("bare")
    strip_metadata(path, bare, info.content_type)
    recipe = Image().convert("png").apply(lambda picture: picture)  # else it is a copy
    found = []
    for source in (path, bare):
        target = source.with_suffix(".png")
        images.make(source, {target: recipe})
        with PIL.Image.open(target) as made:
            found.append(list(made.convert("RGBA").get_flattened_data()))
    assert found[0] == found[1]
    return found[0]


def is_near(pixel: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return max(abs(one - other) for one, other in zip(pixel, wanted, strict=False)) <= 3


@pytest.mark.parametrize(
    "wrong",
    [
        chunk(b"sRGB", b"\4"), chunk(b"sRGB", b"\0\0"),
        iccp(name=b""), iccp(method=1), iccp(packed=PACKED[:-4]),
        iccp(struct.pack(">L", len(PROFILE) + 4) + PROFILE[4:]),
        iccp(PROFILE[:8] + b"\x09" + PROFILE[9:]),
        chunk(b"gAMA", b"\0\0\xb1\x8f")[:-1] + b"\0",
    ],
    ids=["intent", "size", "no name", "packing", "cut", "too short", "version 9", "checksum"],
)  # fmt: skip
def test_what_is_wrong_does_not_hide_the_gamma(tmp_path: Path, wrong: bytes):
    made = pixels(tmp_path / "a", with_chunks(row([COLOR]), wrong, LINEAR_GAMMA))

    assert is_near(made[0], LINEAR)


def test_primaries_outside_of_all_colours_take_the_gamma_along(tmp_path: Path):
    primaries = chunk(
        b"cHRM", struct.pack(">8L", 32168, 33767, 73470, 26530, 0, 2**31, 10, 2**32 - 1)
    )

    assert pixels(tmp_path / "a", with_chunks(row([COLOR]), primaries, LINEAR_GAMMA))[0] == (
        *COLOR,
        255,
    )


def test_code_points_behind_a_palette_do_not_count(tmp_path: Path):
    code_points = chunk(b"cICP", bytes([12, 8, 0, 1]))

    before = pixels(tmp_path / "a", written((2, 1), 8, 3, b"\1\1", code_points, PALETTE))
    behind = pixels(tmp_path / "b", written((2, 1), 8, 3, b"\1\1", PALETTE, code_points))

    assert is_near(before[0], WIDE)
    assert behind[0] == (*COLOR, 255)


@pytest.mark.parametrize("kind", [0, 2, 3])
def test_transparency_behind_the_pixels_does_not_count(tmp_path: Path, kind: int):
    # Given pixels that would be transparent
    row_of_one = bytes(COLOR) if kind == 2 else b"\1"
    value = struct.pack(">3H", *COLOR) if kind == 2 else b"\0\1"
    source = written((1, 1), 8, kind, row_of_one, *([PALETTE] if kind == 3 else []))

    made = pixels(tmp_path / "a", with_chunks(source, chunk(b"tRNS", value), before=b"IEND"))

    assert made[0][3] == 255


@pytest.mark.parametrize(
    ("kind", "pixel", "chunks"),
    [
        (3, b"\1", [chunk(b"tRNS", b"\xff\x80"), PALETTE]),
        (2, bytes(COLOR), [chunk(b"tRNS", b"\0\1")]),
    ],
    ids=["before the palette", "too short"],
)  # fmt: skip
def test_transparency_that_is_wrong_does_not_count(
    tmp_path: Path, kind: int, pixel: bytes, chunks: list[bytes]
):
    assert pixels(tmp_path / "a", written((1, 1), 8, kind, pixel, *chunks)) == [(*COLOR, 255)]


@pytest.mark.parametrize(
    ("trns", "opacity"), [(b"", 255), (b"\xff\x80", 128), (b"\x10", 255)],
    ids=["opaque", "last", "first"],
)  # fmt: skip
def test_what_lies_beyond_the_palette_has_its_last_colour(
    tmp_path: Path, trns: bytes, opacity: int
):
    chunks = [PALETTE, chunk(b"tRNS", trns)] if trns else [PALETTE]

    assert pixels(tmp_path / "a", written((1, 1), 8, 3, b"\5", *chunks)) == [(*COLOR, opacity)]


def test_a_palette_may_end_with_a_part_of_a_colour(tmp_path: Path):
    palette = chunk(b"PLTE", bytes([9, 9, 9, *COLOR, 1]))

    assert pixels(tmp_path / "a", written((2, 1), 8, 3, b"\1\5", palette)) == [(*COLOR, 255)] * 2


def test_a_colour_of_16_bits_is_transparent_if_all_bits_are_right(tmp_path: Path):
    # Given three pixels that differ in their lower bytes only
    values = [(1000, 2000, 3000), (1001, 2000, 3000), (1000, 2000, 3001)]
    rows = b"".join(struct.pack(">3H", *value) for value in values)
    clear = chunk(b"tRNS", struct.pack(">3H", *values[0]))

    made = pixels(tmp_path / "a", written((3, 1), 16, 2, rows, clear))

    assert [pixel[3] for pixel in made] == [0, 255, 255]
    assert made[1][:3] == (3, 7, 11)


def test_a_large_picture_may_have_a_transparent_colour_of_16_bits(tmp_path: Path):
    # Given one of which the sandbox has not enough memory for the high and the low bytes at once
    size, clear, other = (8_000, 5_000), b"\x12\x34" * 3, b"\x12\x34" * 2 + b"\x12\x35"
    packing = zlib.compressobj(1)
    line = b"\0" + (clear + other) * (size[0] // 2)
    packed = b"".join(packing.compress(line) for _ in range(size[1])) + packing.flush()
    header = chunk(b"IHDR", struct.pack(">2L5B", *size, 16, 2, 0, 0, 0))
    source, target = tmp_path / "source", tmp_path / "target.png"
    source.write_bytes(
        b"".join((
            b"\x89PNG\r\n\x1a\n", header, chunk(b"tRNS", clear), chunk(b"IDAT", packed),
            chunk(b"IEND", b""),
        ))
    )  # fmt: skip

    images.make(source, {target: Image().fit(80, 80)})

    with PIL.Image.open(target) as made:
        assert made.size == (80, 50)
        assert abs(made.convert("RGBA").getpixel((40, 25))[3] - 128) < 3


@pytest.mark.parametrize("moves", [False, True])
def test_pixels_with_a_wrong_checksum_are_shown(tmp_path: Path, moves: bool):
    # Given a PNG whose compressed pixels are right, and end with a wrong Adler-32
    packed = zlib.compress(b"\0" + bytes(COLOR))[:-4] + b"oops"
    controls = [chunk(b"acTL", struct.pack(">2L", 1, 0)), fctl(0)] if moves else []
    source = b"".join((
        b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(">2L5B", 1, 1, 8, 2, 0, 0, 0)),
        *controls, chunk(b"IDAT", packed), chunk(b"IEND", b""),
    ))  # fmt: skip

    assert pixels(tmp_path / "a", source) == [(*COLOR, 255)]


def test_damaged_pixels_are_refused_whatever_their_checksum(tmp_path: Path):
    source = tmp_path / "a"
    source.write_bytes(written((8, 8), 8, 2, bytes(8 * 8 * 3)).replace(b"x\x9c", b"x\x9c\xff", 1))

    with pytest.raises(Unreadable):
        images.make(source, {tmp_path / "b.png": Image().fit(4, 4)})


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("late", [b"", PALETTE])
def test_a_palette_that_is_missing_before_the_pixels_is_refused_at_once(
    tmp_path: Path, moves: bool, late: bytes
):
    source = tmp_path / "a"
    controls = [chunk(b"acTL", struct.pack(">2L", 1, 0)), fctl(0)] if moves else []
    made = written((1, 1), 8, 3, b"\1", *controls)
    source.write_bytes(with_chunks(made, late, before=b"IEND"))

    with pytest.raises(Unreadable, match="its palette is missing"):
        probe(source)


def fctl(number: int) -> bytes:
    return chunk(b"fcTL", struct.pack(">5L2H2B", number, 1, 1, 0, 0, 1, 10, 0, 0))


def part(number: int, count: int, content: bytes) -> bytes:
    """A part of a profile in a JPEG."""
    body = b"ICC_PROFILE\0" + bytes([number, count]) + content
    return b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body


HALVES = PROFILE[:200], PROFILE[200:]


@pytest.mark.parametrize(
    ("marker", "parts", "counts"),
    [
        (0xDB, [part(1, 1, PROFILE)], True),
        (0xC4, [part(1, 1, PROFILE)], True),
        (0xDA, [part(2, 2, HALVES[1]), part(1, 2, HALVES[0])], True),
        (0xDB, [part(1, 1, PROFILE), part(1, 1, b"x")], True),
        (0xDB, [part(0, 1, PROFILE)], False),
        (0xDB, [part(1, 2, HALVES[0])], False),
        (0xDB, [part(1, 2, HALVES[0]), part(1, 2, HALVES[0]), part(2, 2, HALVES[1])], False),
        (0xDB, [part(1, 2, HALVES[0]), part(2, 3, HALVES[1])], False),
        (0xDB, [part(1, 1, struct.pack(">L", len(PROFILE) + 4) + PROFILE[4:])], False),
    ],
    ids=[
        "in front", "behind the frame header", "in front of the scan, turned round", "two",
        "number 0", "half", "doubled", "two counts", "too short",
    ],
)  # fmt: skip
def test_the_profile_of_a_jpeg(tmp_path: Path, marker: int, parts: list[bytes], counts: bool):
    made = row([COLOR], "JPEG", quality=100, subsampling=0)
    at = made.index(bytes([0xFF, marker]))

    found = pixels(tmp_path / "a", made[:at] + b"".join(parts) + made[at:])

    assert is_near(found[0], WIDE if counts else COLOR)
