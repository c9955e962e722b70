"""Depth and colours of stills. The expected pixels are those that Chromium 156 shows."""

import struct
import zlib
from pathlib import Path

import PIL.Image
import PIL.ImageCms
import pytest

from gifster.imaging import Image, icc
from tests import images
from tests.imaging.png import chunk, row, with_chunks, written

COLORS = [(200, 100, 20), (20, 20, 20), (128, 128, 128), (250, 10, 200)]
#: The same as linear light, and as light of Display P3.
LINEAR = [(229, 168, 79), (79, 79, 79), (188, 188, 188), (253, 56, 229)]
WIDE = [(216, 93, 0), (12, 12, 12), (129, 129, 129), (255, 0, 207)]
IN_P3 = [(215, 93, 0), (20, 20, 20), (128, 128, 128), (255, 0, 206)]
GREY = [(121, 121, 121), (20, 20, 20), (128, 128, 128), (103, 103, 103)]
LINEAR_GREY = [(183,) * 3, (79,) * 3, (188,) * 3, (170,) * 3]

LINEAR_PROFILE = icc.rgb_profile(icc.SRGB, 1.0)
P3_PROFILE = icc.rgb_profile(icc.DISPLAY_P3, 2.2)
LAB_PROFILE = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("LAB")).tobytes()


def _grey_profile() -> bytes:
    """A profile of linear grey."""
    curve = b"para\0\0\0\0" + struct.pack(">HHl", 0, 0, 1 << 16)
    white = b"XYZ \0\0\0\0" + struct.pack(">3l", 63190, 65536, 54061)
    places = struct.pack(">L", 2) + b"kTRC" + struct.pack(">2L", 156, len(curve))
    places += b"wtpt" + struct.pack(">2L", 156 + len(curve), len(white))
    header = LINEAR_PROFILE[4:128].replace(b"RGB ", b"GRAY")
    return struct.pack(">L", 156 + len(curve) + len(white)) + header + places + curve + white


GREY_PROFILE = _grey_profile()


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))


def gamma(value: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">L", value))


def chrm(primaries: icc.Primaries) -> bytes:
    values = [round(value * 100_000) for point in primaries for value in point]
    return chunk(b"cHRM", struct.pack(">8L", *values))


def cicp(*numbers: int) -> bytes:
    return chunk(b"cICP", bytes(numbers))


SRGB_CHUNK, LINEAR_GAMMA = chunk(b"sRGB", b"\0"), 100_000


def shown(path: Path, content: bytes) -> PIL.Image.Image:
    """A file as a PNG shows it, which has no colours of its own."""
    path.write_bytes(content)
    target = path.with_name("target.png")
    anew = Image().convert("png").apply(lambda picture: picture)  # else it is a copy
    images.make(path, {target: anew})
    with PIL.Image.open(target) as made:
        return made.convert("RGBA")


def middles(picture: PIL.Image.Image) -> list[tuple[int, ...]]:
    """The colours of the fields of `row()`."""
    return [picture.getpixel((16 * at + 8, 8))[:3] for at in range(picture.width // 16)]


def is_near(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]], limit: int = 2) -> bool:
    pairs = zip(sum(found, ()), sum(wanted, ()), strict=True)
    return max(abs(one - other) for one, other in pairs) <= limit


def grey(mode: str = "L", *chunks: bytes) -> bytes:
    return with_chunks(row(COLORS, mode=mode), *chunks)


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        ([gamma(LINEAR_GAMMA)], LINEAR),
        ([gamma(45455)], COLORS),
        ([gamma(43500)], COLORS),
        ([gamma(0)], COLORS),
        ([gamma(LINEAR_GAMMA), SRGB_CHUNK], COLORS),
        ([gamma(LINEAR_GAMMA), iccp(P3_PROFILE)], WIDE),
        ([iccp(P3_PROFILE), SRGB_CHUNK], WIDE),
        ([iccp(b"nonsense"), gamma(LINEAR_GAMMA)], LINEAR),
        ([iccp(GREY_PROFILE)], COLORS),
        ([gamma(45455), chrm(icc.DISPLAY_P3)], WIDE),
        ([chrm(icc.DISPLAY_P3)], COLORS),
        ([gamma(LINEAR_GAMMA), chrm(icc.Primaries(*[(0.0, 0.0)] * 4))], COLORS),
        ([gamma(LINEAR_GAMMA), gamma(45455)], LINEAR),
        ([cicp(12, 13, 0, 1)], IN_P3),
        ([cicp(12, 13, 0, 1), iccp(LINEAR_PROFILE)], IN_P3),
        ([cicp(12, 13, 0, 0)], COLORS),
        ([cicp(1, 77, 0, 1), gamma(LINEAR_GAMMA)], LINEAR),
        ([cicp(1, 1, 0, 1)], [(197, 91, 7), (7, 7, 7), (121, 121, 121), (250, 1, 197)]),
        ([cicp(1, 4, 0, 1)], [(201, 100, 12), (12, 12, 12), (129, 129, 129), (250, 3, 201)]),
        ([cicp(9, 8, 0, 1)], [(255, 159, 52), (79, 79, 79), (188, 188, 188), (255, 0, 238)]),
        ([cicp(9, 16, 0, 1)], [(255, 0, 0), (1, 1, 1), (132, 132, 132), (255, 0, 112)]),
        ([cicp(9, 18, 0, 1)], [(230, 48, 0), (5, 5, 5), (99, 99, 99), (255, 0, 157)]),
    ],
)  # fmt: skip
def test_the_colours_of_a_png_are_those_that_browsers_show(tmp_path: Path, chunks, wanted):
    assert is_near(middles(shown(tmp_path / "a", with_chunks(row(COLORS), *chunks))), wanted, 4)


def test_colours_that_come_after_the_pixels_do_not_count(tmp_path: Path):
    late = with_chunks(row(COLORS), gamma(LINEAR_GAMMA), before=b"IEND")

    assert middles(shown(tmp_path / "a", late)) == COLORS


@pytest.mark.parametrize(
    "made",
    [
        grey("L", gamma(LINEAR_GAMMA)), grey("L", iccp(LINEAR_PROFILE)),
        grey("L", iccp(GREY_PROFILE)),
        grey("LA", iccp(LINEAR_PROFILE)), grey("LA", iccp(GREY_PROFILE)),
        row(COLORS, "JPEG", mode="L", icc_profile=LINEAR_PROFILE),
        row(COLORS, "JPEG", mode="L", icc_profile=GREY_PROFILE),
        row(COLORS, "AVIF", mode="L", icc_profile=LINEAR_PROFILE, quality=100, speed=10),
    ],
    ids=["gAMA", "RGB", "grey", "alpha RGB", "alpha grey", "JPEG RGB", "JPEG grey", "AVIF"],
)  # fmt: skip
def test_grey_has_colours_too(tmp_path: Path, made: bytes):
    assert is_near(middles(shown(tmp_path / "a", made)), LINEAR_GREY)


@pytest.mark.parametrize("profile", [LINEAR_PROFILE, GREY_PROFILE], ids=["RGB", "grey"])
def test_a_palette_has_a_profile(tmp_path: Path, profile: bytes):
    palette = row(COLORS, mode="P")
    wanted = LINEAR if profile is LINEAR_PROFILE else COLORS

    made = with_chunks(palette, iccp(profile), before=b"PLTE")

    assert is_near(middles(shown(tmp_path / "a", made)), wanted, 4)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_profiles_of_other_formats(tmp_path: Path, format: str):
    options = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4", "speed": 10},
    }[format]

    def colors(profile: bytes) -> list[tuple[int, ...]]:
        content = row(COLORS, format, icc_profile=profile, **options)
        return middles(shown(tmp_path / "a", content))

    assert is_near(colors(LINEAR_PROFILE), LINEAR, 4)
    assert is_near(colors(P3_PROFILE), WIDE, 4)
    # Those that do not fit the pixels are ignored
    assert is_near(colors(GREY_PROFILE), COLORS)
    assert is_near(colors(LAB_PROFILE), COLORS)


def test_the_perceptual_table_of_an_rgb_profile_counts(tmp_path: Path):
    """Profiles of printers have one for each intent."""
    # Given a perceptual table by which everything is grey, and a colorimetric one: black
    tables = {b"A2B0": _table(0x7F80), b"A2B1": _table(0)}
    at, tags = 132 + 12 * len(tables), struct.pack(">L", len(tables))
    for name, table in tables.items():
        tags += struct.pack(">4s2L", name, at, len(table))
        at += len(table)
    head = struct.pack(">L4xL4s4s4s12x4s", at, 2 << 24, b"prtr", b"RGB ", b"Lab ", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3l", 63190, 65536, 54061)
    profile = head.ljust(128, b"\0") + tags + b"".join(tables.values())

    made = row(COLORS, "JPEG", quality=95, icc_profile=profile)

    assert is_near(middles(shown(tmp_path / "a", made)), [(119,) * 3] * len(COLORS))


def _table(lightness: int) -> bytes:
    """A table (ICC.1:2001, 6.5.7) by which every colour is the same grey."""
    identity = struct.pack(">9l", *(65536 * (at % 4 == 0) for at in range(9)))
    straight = struct.pack(">2H", 0, 65535) * 3
    greys = struct.pack(">3H", lightness, 0x8000, 0x8000) * 8
    head = b"mft2\0\0\0\0\3\3\2\0" + identity + struct.pack(">2H", 2, 2)
    return head + straight + greys + straight


def test_a_profile_with_damaged_primaries_does_not_count(tmp_path: Path):
    """Little CMS reads such ones, as that of the agency Corbis."""
    damaged = P3_PROFILE[:128] + P3_PROFILE[128:].replace(b"XYZ \0", b"\x17\xa5\x05\xb8\0")

    made = with_chunks(row(COLORS), iccp(damaged))

    assert damaged != P3_PROFILE
    assert is_near(middles(shown(tmp_path / "a", made)), COLORS)


@pytest.mark.parametrize("has_marker", [True, False])
def test_cmyk_is_inverted_with_and_without_adobes_marker(tmp_path: Path, has_marker: bool):
    content = row(COLORS, "JPEG", mode="CMYK", quality=100, subsampling=0)
    content = content if has_marker else content.replace(b"Adobe", b"Other")

    assert is_near(middles(shown(tmp_path / "a", content)), COLORS)


@pytest.mark.parametrize(
    ("primaries", "transfer", "wanted"),
    [
        (12, 13, IN_P3),
        (1, 1, COLORS),  # television's curve is taken for that of sRGB
        (2, 2, COLORS),
        (1, 8, LINEAR),
        (9, 16, [(255, 0, 0), (1, 1, 1), (132, 132, 132), (255, 0, 112)]),
        (9, 18, [(230, 48, 0), (5, 5, 5), (99, 99, 99), (255, 0, 157)]),
    ],
)
def test_the_code_points_of_an_avif(tmp_path: Path, primaries: int, transfer: int, wanted):
    content = row(COLORS, "AVIF", quality=100, subsampling="4:4:4", speed=10)
    at = content.index(b"colrnclx") + 8
    content = content[:at] + struct.pack(">HH", primaries, transfer) + content[at + 4 :]

    assert is_near(middles(shown(tmp_path / "a", content)), wanted, 6)


def samples(path: Path, content: bytes) -> list[tuple[int, ...]]:
    picture = shown(path, content)
    return [picture.getpixel((x, 0)) for x in range(picture.width)]


def test_16_bits_become_8(tmp_path: Path):
    path, values = tmp_path / "a", [0, 0x0180, 0x8080, 0xFEFF, 0xFFFF]
    eights = [0, 1, 128, 254, 255]

    grey = written((5, 1), 16, 0, struct.pack(">5H", *values))
    with_alpha = written((2, 1), 16, 4, struct.pack(">4H", 0x8080, 0xFFFF, 0xFFFF, 0x4040))
    rgb = written((2, 1), 16, 2, struct.pack(">6H", 0x8080, 0, 0xFFFF, 0x4040, 0x8080, 0xFFFF))
    rgba = written((1, 1), 16, 6, struct.pack(">4H", 0x8080, 0, 0xFFFF, 0x4040))

    assert is_near(samples(path, grey), [(v, v, v, 255) for v in eights], 1)
    assert is_near(samples(path, with_alpha), [(128, 128, 128, 255), (255, 255, 255, 64)], 1)
    assert is_near(samples(path, rgb), [(128, 0, 255, 255), (64, 128, 255, 255)], 1)
    assert is_near(samples(path, rgba), [(128, 0, 255, 64)], 1)


def test_a_large_16_bit_picture_is_grey_in_all_sizes(tmp_path: Path):
    source, small = tmp_path / "a", tmp_path / "small.png"
    source.write_bytes(written((400, 300), 16, 0, struct.pack(">H", 0x8080) * 120_000))

    images.make(source, {small: Image().fit(40, 40)})

    with PIL.Image.open(small) as made:
        assert made.convert("RGB").getextrema() == ((128, 128),) * 3


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_value_of_grey_is_transparent_at_every_depth(tmp_path: Path, depth: int):
    # Given the darkest and the lightest grey side by side, of which the lightest is transparent
    most = 2**depth - 1
    rows = (most << (16 - 2 * depth)).to_bytes(2, "big") if depth < 16 else b"\0\0\xff\xff"
    trns = chunk(b"tRNS", most.to_bytes(2, "big"))

    pixels = samples(tmp_path / "a", written((2, 1), depth, 0, rows[: max(1, depth // 4)], trns))

    assert [pixel[3] for pixel in pixels] == [255, 0]
    assert pixels[0] == (0, 0, 0, 255)


@pytest.mark.parametrize("depth", [8, 16])
def test_one_colour_is_transparent(tmp_path: Path, depth: int):
    unit = 1 if depth == 8 else 257
    colors = [(10, 20, 30), (10, 20, 31), (200, 100, 50)]
    code = "B" if depth == 8 else "H"
    rows = b"".join(struct.pack(f">3{code}", *(v * unit for v in color)) for color in colors)
    trns = chunk(b"tRNS", struct.pack(">3H", *(v * unit for v in colors[0])))

    pixels = samples(tmp_path / "a", written((3, 1), depth, 2, rows, trns))

    assert [pixel[3] for pixel in pixels] == [0, 255, 255]
    assert pixels[2] == (*colors[2], 255)


def test_a_palette_of_two_colours_may_be_transparent(tmp_path: Path):
    # Given a tRNS that is as long as that of grey
    palette, trns = chunk(b"PLTE", bytes([9, 9, 9, 250, 0, 0])), chunk(b"tRNS", b"\x00\x80")

    pixels = samples(tmp_path / "a", written((2, 1), 1, 3, b"\x40", palette, trns))

    assert pixels[0][3] == 0
    assert pixels[1] == (250, 0, 0, 128)
