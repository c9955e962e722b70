"""BMP, TIFF and HEIC are taken in, and their versions are PNG or JPEG."""

import io
import struct
from pathlib import Path

import PIL.Image
import pillow_heif
import pytest

from gifster.imaging import Image, ImageInfo, heic
from gifster.imaging.errors import Truncated, Unreadable, Unsupported
from gifster.imaging.image_info import UNKNOWN_TYPE
from gifster.imaging.probe import probe, sniff
from tests import images

PICTURE = images.frames((60, 40), 1)[0]


def saved(format: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    if format == "HEIF":
        pillow_heif.from_pillow(PICTURE.convert(mode)).save(buffer, quality=95, **options)
    else:
        PICTURE.convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


AS_IT_IS = Image()


def made(path: Path, content: bytes, recipe: Image = AS_IT_IS) -> PIL.Image.Image:
    path.write_bytes(content)
    target = path.with_name("target")
    images.make(path, {target: recipe})
    with PIL.Image.open(target) as picture:
        picture.load()
        return picture


@pytest.mark.parametrize(
    ("format", "content_type", "becomes"),
    [
        ("BMP", "image/bmp", "PNG"), ("TIFF", "image/tiff", "PNG"), ("HEIF", "image/heic", "JPEG"),
    ],
)  # fmt: skip
def test_a_version_is_in_a_format_that_browsers_show(
    tmp_path: Path, format: str, content_type: str, becomes: str
):
    source, content = tmp_path / "source", saved(format)

    same, small = made(source, content), made(source, content, Image().fit(30, 30))

    assert sniff(content[:512]) == content_type
    assert probe(source) == ImageInfo(content_type, 60, 40, bytes=len(content))
    assert (same.format, same.size) == (becomes, (60, 40))
    assert images.difference(same, PICTURE) < 6
    assert (small.format, small.size) == (becomes, (30, 20))
    assert made(source, content, Image().convert("webp")).format == "WEBP"


@pytest.mark.parametrize("format", ["BMP", "TIFF", "HEIF"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, format: str):
    source, content = tmp_path / "source", saved(format)

    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(Truncated):
        probe(source)


def bmp(
    bits: int,
    rows: bytes,
    size: tuple[int, int] = (2, 1),
    palette: bytes = b"",
    compression: int = 0,
    masks: bytes = b"",
    header: int = 40,
    colors: int = 0,
) -> bytes:
    """A BMP written by hand. The rows come from below unless the height is negative."""
    start = 14 + header + len(palette)
    head = struct.pack("<L2l2H6L", header, *size, 1, bits, compression, len(rows), 0, 0, colors, 0)
    body = (head + masks)[:header].ljust(header, b"\0") + palette + rows
    return b"BM" + struct.pack("<3L", 14 + len(body), 0, start) + body


RED, BLUE = (255, 0, 0, 255), (0, 0, 255, 255)
RED_AND_BLUE = b"\0\0\xff\0" + b"\xff\0\0\0"
MASKS = struct.pack("<4L", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


@pytest.mark.parametrize(
    "content",
    [
        bmp(1, b"\x40\0\0\0", palette=RED_AND_BLUE),
        bmp(4, b"\x01\0\0\0", palette=RED_AND_BLUE),
        bmp(8, b"\0\1\0\0", palette=RED_AND_BLUE),
        bmp(16, struct.pack("<2H", 0x7C00, 0x001F)),
        bmp(16, struct.pack("<2H", 0xF800, 0x001F), compression=3, header=56,
            masks=struct.pack("<4L", 0xF800, 0x7E0, 0x1F, 0)),
        bmp(24, b"\0\0\xff\xff\0\0\0\0"),
        bmp(32, RED_AND_BLUE),
        bmp(8, b"\1\0\1\1\0\1", palette=RED_AND_BLUE, compression=1),
        bmp(4, b"\2\x01\0\1", palette=RED_AND_BLUE, compression=2),
        bmp(2, b"\x10\0\0\0", palette=RED_AND_BLUE),
        bmp(8, b"\0\1\0\0", palette=RED_AND_BLUE + bytes(4 * 298), colors=300),
        bmp(8, b"\0\1\0\0", palette=RED_AND_BLUE + bytes(4 * 254), header=16),
        bmp(24, b"\1\0\0\xff\1\xff\0\0\0\1", compression=4, header=64),
        bmp(32, b"\0\0\xff\xff\xff\0\0\xff", compression=3, header=108, masks=MASKS),
        bmp(32, b"\0\0\xff\xff\xff\0\0\xff", compression=3, header=124, masks=MASKS),
    ],
    ids=["1", "4", "8", "16", "565", "24", "32", "RLE 8", "RLE 4", "2", "300 colours", "OS/2 short",
         "RLE 24", "V4", "V5"],
)  # fmt: skip
def test_every_kind_of_bmp(tmp_path: Path, content: bytes):
    picture = made(tmp_path / "a", content).convert("RGBA")

    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [RED, BLUE]


@pytest.mark.parametrize(
    ("runs", "size", "wanted"),
    [
        # Two pixels, a move by two to the right and one up, two listed pixels, the end
        (b"\2\1\0\2\2\1\0\3\0\1\0\0\0\1", (7, 2), "....RBR/BB....."),
        # A row that ends early, and one that is too long
        (b"\1\1\0\0\x09\0\0\1", (3, 2), "RRR/B.."),
        # Cut off in the second row
        (b"\3\1\0\0\1", (3, 2), ".../BBB"),
        (b"\3\1\0\0\1\0", (3, -2), "BBB/R.."),
    ],
    ids=["move", "short and long", "cut off", "from the top"],
)
def test_what_a_packed_bmp_leaves_out_is_black(tmp_path: Path, runs: bytes, size, wanted: str):
    names = {RED: "R", BLUE: "B", (0, 0, 0, 255): "."}
    content = bmp(8, runs, size, palette=RED_AND_BLUE, compression=1, colors=2)

    picture = made(tmp_path / "a", content).convert("RGBA")

    rows = [[picture.getpixel((x, y)) for x in range(picture.width)] for y in (0, 1)]
    assert "/".join("".join(names[pixel] for pixel in row) for row in rows) == wanted


def test_a_bmp_may_be_transparent_or_begin_at_its_top(tmp_path: Path):
    rows = b"\0\0\xff\x80" + b"\xff\0\0\xff"

    clear = made(tmp_path / "a", bmp(32, rows, compression=3, header=108, masks=MASKS))
    below = made(tmp_path / "a", bmp(32, RED_AND_BLUE, (1, 2)))
    above = made(tmp_path / "a", bmp(32, RED_AND_BLUE, (1, -2)))

    assert clear.convert("RGBA").getpixel((0, 0)) == (255, 0, 0, 128)
    assert below.convert("RGBA").getpixel((0, 0)) == BLUE
    assert above.convert("RGBA").getpixel((0, 0)) == RED


@pytest.mark.parametrize("header", [56, 108, 124])
def test_the_opacity_of_a_bmp_has_a_mask_without_others_from_version_4_on(tmp_path: Path, header):
    rows = b"\0\0\xff\x80" + b"\xff\0\0\xff"

    picture = made(tmp_path / "a", bmp(32, rows, compression=0, header=header, masks=MASKS))

    assert picture.convert("RGBA").getpixel((0, 0)) == (255, 0, 0, 255 if header == 56 else 128)


def test_the_palette_of_a_bmp_may_reach_into_its_pixels(tmp_path: Path):
    content = bytearray(bmp(8, b"\1\0\0\0", palette=RED_AND_BLUE, colors=2))
    content[10] -= 1  # the first pixel is the last byte of the palette

    picture = made(tmp_path / "a", bytes(content)).convert("RGBA")

    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [RED, BLUE]


def test_a_text_that_begins_with_bm_is_no_bmp():
    assert sniff(b"BMW and others\n" * 9) == UNKNOWN_TYPE


@pytest.mark.parametrize("number", range(1, 9))
def test_a_tiff_is_turned_by_its_orientation(tmp_path: Path, number: int):
    source = tmp_path / "source"

    picture = made(source, saved("TIFF", tiffinfo={274: number}), Image().fit(1000, 1000))

    info, picture = probe(source), picture.convert("RGB")
    assert picture.size == (info.width, info.height) == ((40, 60) if number > 4 else (60, 40))
    turns = PIL.Image.Transpose
    method = {
        2: turns.FLIP_LEFT_RIGHT, 3: turns.ROTATE_180, 4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE, 6: turns.ROTATE_270, 7: turns.TRANSVERSE, 8: turns.ROTATE_90,
    }.get(number)  # fmt: skip
    assert images.difference(picture, PICTURE if method is None else PICTURE.transpose(method)) == 0


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_a_tiff_may_be_compressed(tmp_path: Path, compression: str):
    content = saved("TIFF", compression=compression)

    assert images.difference(made(tmp_path / "a", content), PICTURE) < 6


def test_a_tiff_of_16_bits_is_grey(tmp_path: Path):
    buffer = io.BytesIO()
    PIL.Image.new("I;16", (20, 10), 0x8080).save(buffer, "TIFF")

    picture = made(tmp_path / "a", buffer.getvalue())

    assert picture.convert("RGB").getpixel((5, 5)) == (128, 128, 128)


def test_a_tiff_of_several_pages_is_its_first_page(tmp_path: Path):
    source, buffer = tmp_path / "source", io.BytesIO()
    pages = [PIL.Image.new("RGB", (30, 20), color) for color in ("red", "blue")]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])

    picture = made(source, buffer.getvalue())

    assert probe(source).frames == 1
    assert (picture.format, picture.getpixel((5, 5))[:3]) == ("PNG", (255, 0, 0))


def test_a_tiff_without_a_picture_is_refused(tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(b"II*\0" + struct.pack("<LH", 8, 0) + bytes(40))

    with pytest.raises(Unreadable):
        probe(source)


def test_a_transparent_heic_is_white_behind(tmp_path: Path):
    source = tmp_path / "source"
    clear = PICTURE.convert("RGBA")
    clear.putalpha(0)
    pillow_heif.from_pillow(clear).save(source, quality=95)

    picture = made(source, source.read_bytes())

    assert picture.mode == "RGB"
    assert min(picture.getpixel((5, 5))) > 250


def test_heic_needs_an_extra_that_is_named(tmp_path: Path, monkeypatch):
    source, content = tmp_path / "source", saved("HEIF")
    source.write_bytes(content)
    monkeypatch.setattr(heic, "is_available", lambda: False)

    # Its type is known all the same
    assert (probe(source).content_type, probe(source).is_image) == ("image/heic", False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gifster\[heic\]'"):
        heic.register()


def tiff_of(bits: list[int], **tags: int) -> bytes:
    """A TIFF of 8×8 pixels with samples of so many bits, which are all zeros."""
    samples = tags.get("samples", len(bits))
    entries = {
        256: (3, [8]), 257: (3, [8]), 258: (3, bits), 259: (3, [tags.get("compression", 1)]),
        262: (3, [2 if samples > 1 else 1]), 273: (4, [8]), 277: (3, [samples]),
        279: (4, [8 * sum(bits)]), 339: (3, [tags.get("sample_format", 1)] * len(bits)),
    }  # fmt: skip
    directory, behind = b"", b""
    at = 8 + 8 * sum(bits)
    after = at + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in entries.items():
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'L'}", *values)
        if len(packed) > 4:
            place, behind = struct.pack("<L", after + len(behind)), behind + packed
        else:
            place = packed.ljust(4, b"\0")
        directory += struct.pack("<HHL", tag, kind, len(values)) + place
    head = b"II*\0" + struct.pack("<L", at) + bytes(8 * sum(bits))
    return head + struct.pack("<H", len(entries)) + directory + bytes(4) + behind


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (tiff_of([8, 8, 8], compression=50001), "compression 50001"),
        (tiff_of([12, 12, 12]), "12, 12, 12 bits"),
        (tiff_of([64], sample_format=3), "64 bits"),
        (tiff_of([16], sample_format=3), "16 bits"),
    ],
)
def test_a_tiff_of_a_kind_that_is_not_read_says_so_at_once(
    tmp_path: Path, content: bytes, what: str
):
    source = tmp_path / "source"
    source.write_bytes(content)

    with pytest.raises(Unsupported, match=what) as refused:
        probe(source)

    assert refused.value.code == "unsupported"
    assert "damaged" not in str(refused.value)


def test_a_tiff_of_a_kind_that_only_the_decoder_knows_is_not_called_damaged(tmp_path: Path):
    # Given signed colours, which Pillow does not read
    source = tmp_path / "source"
    source.write_bytes(tiff_of([8, 8, 8], sample_format=2))

    with pytest.raises(Unsupported, match="Save it as a PNG"):
        images.make(source, {tmp_path / "target": Image()})


@pytest.mark.parametrize("bits", [[8], [8, 8, 8], [16, 16, 16], [1], [4], [16]])
def test_a_tiff_of_usual_bits_is_read(tmp_path: Path, bits: list[int]):
    assert made(tmp_path / "source", tiff_of(bits)).size == (8, 8)


@pytest.mark.parametrize("bits", [1, 12, 32])
def test_bits_of_samples_that_a_tiff_has_not_are_overlooked(tmp_path: Path, bits: int):
    assert made(tmp_path / "source", tiff_of([bits] * 3, samples=1)).size == (8, 8)


def test_tiffs_of_rare_compressions_that_the_decoder_knows_are_read(tmp_path: Path):
    # Given one of CCITT's with rows of whole words, and one of ThunderScan's with runs of black
    picture, content = PIL.Image.new("1", (16, 16), 1), io.BytesIO()
    picture.save(content, "TIFF", compression="tiff_raw_16")
    thunder = tiff_of([4], compression=32809)
    runs = thunder[:8] + b"\x08" * 8 + thunder[16:]

    # I expect their pixels
    words = made(tmp_path / "words", content.getvalue())
    assert words.convert("L").getextrema() == (255, 255)
    assert made(tmp_path / "runs", runs).convert("L").getextrema() == (0, 0)


def test_grey_that_is_multiplied_by_its_alpha_is_read(tmp_path: Path):
    # Given a TIFF of grey 100 and alpha 128, which says that its alpha is associated
    content = io.BytesIO()
    PIL.Image.new("LA", (8, 8), (100, 128)).save(content, "TIFF")
    unassociated, associated = (struct.pack("<HHLH", 338, 3, 1, kind) for kind in (2, 1))
    assert unassociated in content.getvalue()
    source = content.getvalue().replace(unassociated, associated)

    pixel = made(tmp_path / "source", source).convert("RGBA").getpixel((4, 4))
    assert pixel == pytest.approx((199, 199, 199, 128), abs=1)
