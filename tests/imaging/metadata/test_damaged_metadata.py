"""Damage that no browser minds: good pictures are taken, and bad ones are refused at once."""

import functools
import io
import struct
import tempfile
import zlib
from pathlib import Path

import PIL.Image
import pytest

from gifster.imaging import Image, bmff_items, strip_metadata
from gifster.imaging.errors import Truncated
from gifster.imaging.probe import probe
from tests import images
from tests.imaging import carriers
from tests.imaging.carriers import box, chunk, riff_chunk, segment

SIZE = (300, 200)
_DEEP = zlib.compress(b"a" * 2_000_000)
#: The first directory of this EXIF is far behind its end.
_BROKEN_EXIF = b"MM\0*\x7f\xff\xff\xff" + b"\0\1\1\x12\0\3\0\0\0\1\0\6"


def png(*chunks: bytes) -> bytes:
    """A PNG with further chunks behind its header."""
    content = images.still("PNG", SIZE)
    return content[:33] + b"".join(chunks) + content[33:]


def webp(*chunks: bytes) -> bytes:
    """A WebP with an extended header, and further chunks behind its picture."""
    picture = images.still("WEBP", SIZE)[12:]
    header = riff_chunk(
        b"VP8X", b"\x0c\0\0\0" + b"".join((side - 1).to_bytes(3, "little") for side in SIZE)
    )
    content = b"WEBP" + header + picture + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def jpeg(*segments: bytes) -> bytes:
    """A JPEG with further segments behind its first marker."""
    content = images.still("JPEG", SIZE)
    return content[:2] + b"".join(segments) + content[2:]


#: Pictures whose metadata is damaged, and those without it.
GOOD = {
    "PNG, EXIF": (png(chunk(b"eXIf", _BROKEN_EXIF)), png()),
    "PNG, EXIF of one byte": (png(chunk(b"eXIf", b"M")), png()),
    "PNG, zTXt of 2 MB": (png(chunk(b"zTXt", b"Comment\0\0" + _DEEP)), png()),
    "PNG, iTXt of 2 MB": (png(chunk(b"iTXt", b"Comment\0\1\0\0\0" + _DEEP)), png()),
    "PNG, tEXt of 2 MB": (png(chunk(b"tEXt", b"Comment\0" + bytes(2_000_000))), png()),
    "PNG, texts of 2 MB": (png(*[chunk(b"zTXt", b"Comment\0\0" + _DEEP)] * 70), png()),
    "PNG, iTXt that is cut": (png(chunk(b"iTXt", b"Comment\0\1")), png()),
    "PNG, profile of 2 MB": (png(chunk(b"iCCP", b"icc\0\0" + _DEEP)), png()),
    "PNG, profile that is cut": (png(chunk(b"iCCP", b"icc\0\0" + _DEEP[:-20])), png()),
    "PNG, profile without a name": (png(chunk(b"iCCP", b"icc")), png()),
    "PNG, wrong CRC of a text": (png(chunk(b"tEXt", b"Comment\0a", crc=1)), png()),
    "PNG, wrong CRC of EXIF": (png(chunk(b"eXIf", carriers.exif(), crc=1)), png()),
    "PNG, wrong CRC of a gamma": (png(chunk(b"gAMA", b"\0\0\0\1", crc=1)), png()),
    "PNG, wrong CRC of a time": (png(chunk(b"tIME", bytes(7), crc=1)), png()),
    "PNG, gamma of one byte": (png(chunk(b"gAMA", b"\1")), png()),
    "PNG, chromaticities of one byte": (png(chunk(b"cHRM", b"\1")), png()),
    "PNG, shape of one byte": (png(chunk(b"pHYs", b"\1")), png()),
    "PNG, a chunk of nobody's": (png(chunk(b"vpAg", bytes(9)), chunk(b"ab\xe9d", b"")), png()),
    "WebP, EXIF": (webp(riff_chunk(b"EXIF", _BROKEN_EXIF)), webp()),
    "WebP, EXIF of one byte": (webp(riff_chunk(b"EXIF", b"M")), webp()),
    "WebP, XMP": (webp(riff_chunk(b"XMP ", b"<x:xmpmeta \xff\0<<")), webp()),
    "WebP, a chunk of nobody's": (webp(riff_chunk(b"ABCD", b"1")), webp()),
    "JPEG, EXIF": (jpeg(segment(0xE1, b"Exif\0\0" + _BROKEN_EXIF)), jpeg()),
    "JPEG, XMP": (
        jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta \xff\0<<")),
        jpeg(),
    ),
    "JPEG, MPF": (jpeg(segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1\xb0\1\0\4")), jpeg()),
    "JPEG, IPTC": (jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\4\4\x7f")), jpeg()),
    "JPEG, profile": (jpeg(segment(0xE2, b"ICC_PROFILE\0\2\1nonsense")), jpeg()),
    "JPEG, NULs behind it": (jpeg() + bytes(4096), jpeg()),
}


@functools.cache
def thumb(content: bytes) -> bytes:
    """The version of a picture; several have the same picture without damage beside them."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.write_bytes(content)
        images.make(source, {target: Image().fit(100, 100)})
        return target.read_bytes()


@pytest.mark.parametrize("name", GOOD)
def test_damaged_metadata_harms_no_picture(name: str):
    content, without = GOOD[name]

    assert thumb(content) == thumb(without)


def with_preview(progressive: bool) -> bytes:
    """A JPEG with a whole one in its EXIF, and one more in a segment of its own."""
    made, buffer = images.frames(SIZE, 1)[0], io.BytesIO()
    made.resize((80, 60)).save(buffer, "JPEG")
    preview = buffer.getvalue()
    content = jpeg(
        segment(0xE1, b"Exif\0\0" + carriers.exif(thumbnail=preview)), segment(0xE2, preview)
    )
    if not progressive:
        return content
    buffer = io.BytesIO()
    made.save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    # … and one between the scans
    at = whole.rindex(b"\xff\xda")
    return content[: -len(images.still("JPEG", SIZE)) + 2] + (
        whole[2:at] + segment(0xE1, preview) + whole[at:]
    )


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_cut_is_refused_whatever_is_whole_in_it(progressive: bool, tmp_path: Path):
    content = with_preview(progressive)
    source = tmp_path / "source"
    source.write_bytes(content)
    assert (probe(source).width, probe(source).height) == SIZE

    for length in range(len(content) - 2, 700, -97):
        source.write_bytes(content[:length])
        with pytest.raises(Truncated):
            probe(source)


def test_a_jpeg_whose_end_is_that_of_another_is_refused(tmp_path: Path):
    # Given a JPEG that is cut off within its pixels, and a whole one behind it
    source = tmp_path / "source"
    source.write_bytes(jpeg()[:-200] + jpeg())

    with pytest.raises(Truncated):
        probe(source)


def test_a_png_that_is_cut_is_refused_although_a_text_has_its_end(tmp_path: Path):
    source = tmp_path / "source"
    text = chunk(b"tEXt", b"Comment\0" + chunk(b"IEND", b""))
    content = png(text)

    for length in (len(content) - 13, 33 + len(text), 33 + len(text) - 2):
        source.write_bytes(content[:length])
        with pytest.raises(Truncated):
            probe(source)


def test_a_webp_that_is_cut_is_refused_although_its_head_is_right(tmp_path: Path):
    source = tmp_path / "source"
    content = webp()
    source.write_bytes(content[:-100])
    with pytest.raises(Truncated):
        probe(source)

    # … also with the size that the file has now
    source.write_bytes(b"RIFF" + struct.pack("<I", len(content) - 108) + content[8:-100])
    with pytest.raises(Truncated):
        probe(source)


def test_an_avif_that_is_cut_is_refused_although_its_boxes_are_whole(tmp_path: Path):
    # Given an AVIF whose last box has the rest of the file, whatever that is
    source = tmp_path / "source"
    content = images.still("AVIF", SIZE)
    at = content.index(b"mdat") - 4
    content = content[:at] + bytes(4) + content[at + 4 :]
    source.write_bytes(content)
    assert (probe(source).width, probe(source).height) == SIZE

    for cut in (1, 50):
        source.write_bytes(content[:-cut])
        with pytest.raises(Truncated):
            probe(source)
    # … or gets a smaller box by the program that cut it
    rest = content[at + 8 : -50]
    source.write_bytes(content[:at] + box(b"mdat", rest))
    with pytest.raises(Truncated):
        probe(source)


def test_an_animated_avif_that_is_cut_is_refused(tmp_path: Path):
    source = tmp_path / "source"
    content = images.animated("AVIF", [50, 60, 70], (80, 60))
    at = content.index(b"mdat") - 4
    content = content[:at] + bytes(4) + content[at + 4 :]
    source.write_bytes(content)
    assert probe(source).frames == 3

    source.write_bytes(content[:-1])
    with pytest.raises(Truncated):
        probe(source)


def test_the_first_picture_of_a_stripped_source_is_what_pillow_shows(tmp_path: Path):
    # Given pictures with metadata in every place
    for name, content in carriers.ALL.items():
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(content)
        images.make(source, {target: Image().first_frame().fit(79, 79).convert("png")})
        with PIL.Image.open(source) as image, PIL.Image.open(target) as made:
            wanted = image.convert("RGB").resize(made.size, PIL.Image.Resampling.LANCZOS)
            assert images.difference(made, wanted) < 2, name


@pytest.mark.parametrize("length", [1, 4, 8, 12, 17])
def test_an_avif_whose_exif_is_too_short_is_shown(tmp_path: Path, length: int):
    # Given an item of EXIF that is no more than a few bytes of it
    source, bare, target = tmp_path / "source", tmp_path / "bare", tmp_path / "target.png"
    content = bytearray(carriers.avif())

    def inside(kind: bytes) -> bytes:
        at = content.index(kind)
        return bytes(content[at + 4 : at - 4 + int.from_bytes(content[at - 4 : at], "big")])

    kinds, extents = bmff_items.types(inside(b"iinf")), bmff_items.extents(inside(b"iloc"))
    number = next(number for number, kind in kinds.items() if kind == b"Exif")
    whole = next(extent.length for extent in extents if extent.item == number)
    place = content.index(whole.to_bytes(4, "big"), content.index(b"iloc"))
    content[place : place + 4] = length.to_bytes(4, "big")
    source.write_bytes(content)

    images.make(source, {target: Image().convert("png")})
    strip_metadata(source, bare, "image/avif")

    assert (probe(target).width, probe(target).height) == (80, 60)
    with PIL.Image.open(bare) as image:  # by libavif, as in other programs
        image.load()
