"""Pictures with metadata in every place that has room for it. `SECRET` is in all of them."""

import io
import struct
import zlib
from typing import Any

import PIL.Image
import PIL.ImageCms
from PIL.PngImagePlugin import PngInfo

from tests import images

SECRET = b"51.5007 N 0.1246 W"
_XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>"
#: What cameras write behind a picture: a film of a "motion photo".
FILM = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + SECRET * 40
PROFILE = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation: int = 1, thumbnail: bytes = b"") -> bytes:
    """EXIF with a camera, a place and a thumbnail, without the prefix that JPEG needs."""
    made = PIL.Image.Exif()
    made[0x010F] = SECRET.decode()
    made[0x0112] = orientation
    made.get_ifd(0x8825)[1] = "N"
    made.get_ifd(0x8825)[29] = SECRET.decode()
    return made.tobytes().removeprefix(b"Exif\0\0") + thumbnail


def png(orientation: int = 1, *, moving: bool = False) -> bytes:
    """A PNG with EXIF, every kind of text, a time, C2PA, and a film behind it."""
    texts = PngInfo()
    texts.add_text("Comment", SECRET.decode())
    texts.add_text("Raw profile type exif", SECRET.decode(), zip=True)
    texts.add_itxt("XML:com.adobe.xmp", _XMP.decode())
    made = images.frames((80, 60), 3 if moving else 1)
    more: dict[str, Any] = {"save_all": True, "append_images": made[1:]} if moving else {}
    content = _saved(made[0], "PNG", pnginfo=texts, icc_profile=PROFILE, **more)
    head, rest = content[:33], content[33:]
    added = (
        chunk(b"eXIf", exif(orientation)) + chunk(b"tIME", SECRET[:7]) + chunk(b"caBX", SECRET)
    )  # fmt: skip
    return head + added + rest + FILM


def chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    """A chunk of a PNG; None is the right CRC."""
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def jpeg(orientation: int = 1, *, progressive: bool = False) -> bytes:
    """A JPEG with EXIF, XMP, IPTC, maker notes, C2PA, comments, two thumbnails, and a film."""
    made = images.frames((80, 60), 1)[0]
    thumbnail = _saved(made.resize((16, 12)), "JPEG", comment=SECRET)
    content = _saved(
        made, "JPEG", icc_profile=PROFILE, comment=SECRET, progressive=progressive, quality=90
    )
    jfif = b"JFIF\0\1\1\0\0\1\0\1" + bytes([1, 6]) + SECRET
    rest = content[20:]  # behind the start of the image and the JFIF segment
    added = b"".join((
        segment(0xE0, jfif),
        segment(0xE0, b"JFXX\0\x10" + thumbnail),
        segment(0xE1, b"Exif\0\0" + exif(orientation, thumbnail)),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _XMP),
        segment(0xE2, b"MPF\0" + SECRET),
        segment(0xEB, b"JP\0\1" + SECRET),
        segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x12" + SECRET),
        SECRET,  # garbage, which decoders skip
    ))  # fmt: skip
    return b"\xff\xd8" + added + rest + FILM


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def webp(orientation: int = 1, *, moving: bool = False) -> bytes:
    """A WebP with EXIF, XMP, a chunk that nobody knows, and a film behind it."""
    made = images.frames((80, 60), 3 if moving else 1)
    more: dict[str, Any] = {"save_all": True, "append_images": made[1:]} if moving else {}
    options = {"icc_profile": PROFILE, "exif": exif(orientation), "xmp": _XMP}
    content = _saved(made[0], "WEBP", quality=90, **options, **more)
    if moving:  # … and one in the first frame
        at = content.index(b"ANMF")
        (size,) = struct.unpack_from("<I", content, at + 4)
        unknown = riff_chunk(b"JUNK", SECRET)
        head = content[:at] + b"ANMF" + struct.pack("<I", size + len(unknown))
        content = head + content[at + 8 : at + 8 + size] + unknown + content[at + 8 + size :]
    content += riff_chunk(b"JUNK", SECRET)
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:] + FILM


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a WebP."""
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def gif(*, moving: bool = True) -> bytes:
    """A GIF with comments, a plain text, XMP, and a film behind it."""
    content = images.gif((80, 60), [50, 60, 70] if moving else [50])
    at = content.index(b"\x21\xf9")
    comment = b"\x21\xfe" + sub_blocks(SECRET)
    text = b"\x21\x01" + sub_blocks(b"\0" * 12, SECRET)
    xmp = b"\x21\xff\x0bXMP DataXMP" + sub_blocks(_XMP)
    more = sub_blocks(SECRET)  # in a block that has one sub-block
    control, rest = content[at : at + 7], content[at + 8 :]
    return content[:at] + comment + text + xmp + control + more + rest + FILM


def sub_blocks(*contents: bytes) -> bytes:
    """Sub-blocks of a GIF, and the empty last one."""
    return b"".join(bytes([len(content)]) + content for content in contents) + b"\0"


def avif(orientation: int = 1, *, moving: bool = False) -> bytes:
    """An AVIF with EXIF, XMP, user data, a box that nobody knows, and a film behind it."""
    made = images.frames((80, 60), 3 if moving else 1)
    more: dict[str, Any] = {"save_all": True, "append_images": made[1:]} if moving else {}
    options = {"icc_profile": PROFILE, "exif": exif(orientation), "xmp": _XMP, "speed": 10}
    content = _saved(made[0], "AVIF", **options, **more)
    unknown = box(b"uuid", bytes(16) + SECRET) + box(b"free", SECRET)
    # A property that says what it shows, in place of one that nobody needs.
    content = content.replace(b"pixi\0\0\0\0\3\x08\x08\x08", b"udes\0" + SECRET[:7])
    # Behind the pixels, as the offsets in front of them would be wrong.
    return content + unknown + box(b"mpvd", FILM)


def tiff(orientation: int = 1) -> bytes:
    """A TIFF with EXIF, a place, an author, a description and XMP."""
    made = PIL.Image.Exif()
    made[0x0112] = orientation
    made[0x010E] = made[0x013B] = SECRET.decode()
    made[700] = _XMP
    made.get_ifd(0x8825)[29] = SECRET.decode()
    made.get_ifd(0x8769)[0x927C] = SECRET
    return _saved(images.frames((80, 60), 1)[0], "TIFF", exif=made, icc_profile=PROFILE)


def bmp() -> bytes:
    """A BMP with a profile, something in front of its pixels and behind them, and a film."""
    rows = b"".join(bytes([at % 251, 9, 200, 255]) for at in range(80 * 60))
    gap = SECRET + bytes(4)
    start = 14 + 124 + len(gap)
    masks = struct.pack("<4L", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    profile_at = start - 14 + len(rows) + len(SECRET)
    header = struct.pack("<L2l2H6L", 124, 80, 60, 1, 32, 3, len(rows), 0, 0, 0, 0) + masks
    header += b"DEBM" + bytes(48) + struct.pack("<4L", 4, profile_at, len(PROFILE), 0)
    body = header + gap + rows + SECRET + PROFILE + FILM
    return b"BM" + struct.pack("<3L", 14 + len(body), 0, start) + body


def box(kind: bytes, content: bytes) -> bytes:
    """A box of an AVIF."""
    return struct.pack(">I", len(content) + 8) + kind + content


def _saved(picture: PIL.Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


#: All of them, by name.
ALL = {
    "PNG": png(),
    "PNG, moving": png(moving=True),
    "JPEG": jpeg(),
    "JPEG, progressive": jpeg(progressive=True),
    "WebP": webp(),
    "WebP, moving": webp(moving=True),
    "GIF": gif(),
    "GIF, still": gif(moving=False),
    "TIFF": tiff(),
    "BMP": bmp(),
    "AVIF": avif(),
    "AVIF, moving": avif(moving=True),
}
