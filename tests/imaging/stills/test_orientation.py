"""Orientation: probe and decoder turn a picture alike, and only by what Chromium 156 looks at."""

import io
import struct
import zlib
from pathlib import Path

import PIL.Image
import pytest

from gifster.imaging import Image
from gifster.imaging.probe import probe
from tests import images
from tests.imaging.png import chunk, with_chunks

Transpose = PIL.Image.Transpose
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}  # fmt: skip
SHORT, LONG = 3, 4
PREFIX = b"Exif\0\0"


def exif(orientation: int, kind: int = SHORT) -> bytes:
    value = struct.pack("<HH", orientation, 0)
    return b"II*\0" + struct.pack("<LHHHL", 8, 1, 0x0112, kind, 1) + value + bytes(4)


def stored() -> PIL.Image.Image:
    """A picture whose four corners differ."""
    picture = PIL.Image.new("RGB", (48, 32), "gray")
    for color, corner in zip(
        ("red", "lime", "blue", "white"), ((0, 0), (24, 0), (0, 16), (24, 16)), strict=True
    ):
        picture.paste(PIL.Image.new("RGB", (24, 16), color), corner)
    return picture


def content(format: str, segments: tuple[bytes, ...] = (), **options: object) -> bytes:
    """The picture as a file, with EXIF segments (JPEG) or chunks before the pixels (PNG)."""
    buffer = io.BytesIO()
    stored().save(buffer, format, quality=95, **options)
    made = buffer.getvalue()
    if format == "PNG":
        return with_chunks(made, *segments)
    for segment in reversed(segments):
        made = made[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + made[2:]
    return made


def orientation(path: Path, made: bytes) -> int:
    """By which orientation the versions of a file are turned; sizes are checked on the way."""
    path.write_bytes(made)
    info, target = probe(path), path.with_name("target.png")
    images.make(path, {target: Image().convert("png").fit(1000, 1000)})
    with PIL.Image.open(target) as shown:
        assert shown.size == (info.width, info.height)
        differences = {
            number: images.difference(shown, turned)
            for number in range(1, 9)
            if (turned := _turned(number)).size == shown.size
        }
    return min(differences, key=lambda number: differences[number])


def _turned(number: int) -> PIL.Image.Image:
    return stored() if number == 1 else stored().transpose(TURNS[number])


@pytest.mark.parametrize("number", range(1, 9))
def test_every_format_is_turned_by_its_own_orientation(tmp_path: Path, number: int):
    path = tmp_path / "source"
    avif = {"exif": exif(number), "speed": 10}  # Pillow writes it as boxes irot and imir

    assert orientation(path, content("JPEG", (PREFIX + exif(number),))) == number
    assert orientation(path, content("PNG", (chunk(b"eXIf", exif(number)),))) == number
    assert orientation(path, content("AVIF", **avif)) == number
    # Browsers do not turn a WebP
    assert orientation(path, content("WEBP", exif=exif(number))) == 1


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
RAW_PROFILE = b"Raw profile type exif\0\0" + zlib.compress(
    b"\nexif\n%8d\n%s\n" % (len(PREFIX + exif(6)), (PREFIX + exif(6)).hex().encode())
)


@pytest.mark.parametrize(
    "made",
    [
        content("JPEG", (b"http://ns.adobe.com/xap/1.0/\0" + XMP,)),
        content("JPEG", (PREFIX + exif(6, LONG),)),
        content("JPEG", (PREFIX + PREFIX + exif(6),)),
        content("JPEG", (PREFIX + b"nonsense", PREFIX + exif(6))),
        content("JPEG", (PREFIX + exif(9),)),
        content("PNG", (chunk(b"zTXt", RAW_PROFILE),)),
        content("PNG", (chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),)),
        content("PNG", (chunk(b"eXIf", PREFIX + exif(6)),)),
        with_chunks(content("PNG"), chunk(b"eXIf", exif(6)), before=b"IEND"),
        content("WEBP", xmp=XMP),
        content("AVIF", xmp=XMP, speed=10),
    ],
    ids=[
        "XMP", "LONG", "prefix twice", "second EXIF", "9", "raw profile", "PNG XMP", "PNG prefix",
        "late", "WebP XMP", "AVIF XMP",
    ],
)  # fmt: skip
def test_what_browsers_overlook_does_not_turn_a_picture(tmp_path: Path, made: bytes):
    assert orientation(tmp_path / "source", made) == 1


def test_the_first_exif_counts(tmp_path: Path):
    path = tmp_path / "source"

    assert orientation(path, content("JPEG", (PREFIX + exif(6), PREFIX + exif(8)))) == 6
    both = (chunk(b"eXIf", exif(6)), chunk(b"eXIf", exif(8)))
    assert orientation(path, content("PNG", both)) == 6


@pytest.mark.parametrize("number", [3, 6, 7])
def test_a_part_of_a_turned_picture_is_the_part_that_people_see(tmp_path: Path, number: int):
    source, target = tmp_path / "source", tmp_path / "target.png"
    source.write_bytes(content("PNG", (chunk(b"eXIf", exif(number)),)))
    upright = _turned(number)

    images.make(source, {target: Image().crop(20, 10, 3, 2)})

    with PIL.Image.open(target) as made:
        assert images.difference(made, upright.crop((3, 2, 23, 12))) == 0
