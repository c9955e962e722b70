"""Bodies that consist of nothing but structure: as many parts as fit, and hardly an image.

Each has the type that its name says, and takes its reader through millions of steps. `of(name,
size)` makes one.
"""

import struct
import zlib
from collections.abc import Callable

from tests import images

GIF = b"GIF89a" + struct.pack("<2H", 8, 8) + b"\x80\0\0" + bytes(6)
#: A whole frame of 1×1, in 17 bytes.
GIF_FRAME = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def box(kind: bytes, data: bytes = b"") -> bytes:
    """A box of an AVIF or MP4."""
    return struct.pack(">I", 8 + len(data)) + kind + data


def tiff(entries: int, each: int) -> bytes:
    """EXIF whose entries all point to the same bytes."""
    directory = b"".join(
        struct.pack("<HHII", 0x8000 + number, 7, each, 8) for number in range(entries)
    )
    head = b"II*\0" + struct.pack("<IH", 8, entries)
    return (head + directory + bytes(4)).ljust(8 + each, b"\0")


_IHDR = chunk(b"IHDR", struct.pack(">2I", 8, 8) + b"\x08\x02\0\0\0")
_FTYP = box(b"ftyp", b"avif\0\0\0\0avifmif1")
#: Of a sequence; a file of the other brand is a still, whatever else it has.
_FTYP_AVIS = box(b"ftyp", b"avis\0\0\0\0avifavis")
_FTYP_MP4 = box(b"ftyp", b"isom\0\0\0\0isommp42")
_VP8X = b"VP8X\x0a\0\0\0\x02\0\0\0\x07\0\0\x07\0\0"
_SEGMENT = struct.pack(">H", 65_535)
#: Empty Photoshop resources, as many as fit into a segment.
_RESOURCES = (b"8BIM\x04\x04\0\0\0\0\0\0" * 5_500)[: 65_533 - 14]


def _riff(content: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WEBP" + content


def _filled(head: bytes, part: bytes, tail: bytes = b"") -> Callable[[int], bytes]:
    """A function that makes a body of a given size: a head, a repeated part, and a tail."""

    def make(size: int) -> bytes:
        return head + part * ((size - len(head) - len(tail)) // len(part)) + tail

    return make


def _webp(part: bytes) -> Callable[[int], bytes]:
    return lambda size: _riff(_filled(_VP8X, part)(size - 12))


def _in_boxes(
    make: Callable[[int], bytes], *folders: bytes, ftyp: bytes = _FTYP
) -> Callable[[int], bytes]:
    """An AVIF with the content inside nested boxes."""

    def whole(size: int) -> bytes:
        content = make(size - len(ftyp) - 8 * len(folders))
        for folder in reversed(folders):
            content = box(folder, content)
        return ftyp + content

    return whole


def _nested(size: int) -> bytes:
    """Nested boxes that all reach to the end of the file."""
    count = (size - len(_FTYP)) // 8
    return _FTYP + b"".join(
        struct.pack(">I", 8 * (count - number)) + b"moov" for number in range(count)
    )


def _jpeg(part: bytes) -> Callable[[int], bytes]:
    whole = images.still("JPEG", (8, 8))
    return _filled(whole[:2], part, whole[2:])


BODIES: dict[str, Callable[[int], bytes]] = {
    "GIF, zeros": _filled(GIF, b"\0"),
    "GIF, a frame and zeros": _filled(GIF + GIF_FRAME, b"\0"),
    "GIF, empty comments": _filled(GIF, b"\x21\xfe\0", GIF_FRAME + b"\x3b"),
    "GIF, comments of one byte": _filled(GIF, b"\x21\xfe\1a\0", GIF_FRAME + b"\x3b"),
    "GIF, an extension without an end": _filled(GIF + b"\x21\xfe", b"\1a"),
    "GIF, a frame of sub-blocks of one byte": _filled(GIF + GIF_FRAME[:11], b"\1a", b"\0\x3b"),
    "GIF, frames without data": _filled(GIF, GIF_FRAME[:11] + b"\0", b"\x3b"),
    "GIF, control extensions": _filled(GIF, b"\x21\xf9\4\0\0\0\0\0", GIF_FRAME + b"\x3b"),
    "GIF, loop counts": _filled(GIF, b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0\0", GIF_FRAME + b"\x3b"),
    "PNG, empty chunks": _filled(PNG + _IHDR, chunk(b"teXt"), chunk(b"IEND")),
    "PNG, empty data": _filled(PNG + _IHDR, chunk(b"IDAT"), chunk(b"IEND")),
    "PNG, animation controls": _filled(
        PNG + _IHDR, chunk(b"acTL", struct.pack(">2I", 1, 0)), chunk(b"IEND")
    ),
    "PNG, EXIF again and again": _filled(
        PNG + _IHDR, chunk(b"eXIf", tiff(5_000, 60_000)), chunk(b"IEND")
    ),
    "JPEG, empty segments": _jpeg(b"\xff\xe5\0\2"),
    "JPEG, fill bytes": _jpeg(b"\xff"),
    "JPEG, restart markers": _jpeg(b"\xff\xd0"),
    "JPEG, garbage between markers": _jpeg(b"\xff\0"),
    "JPEG, empty Photoshop resources": _jpeg(
        b"\xff\xed" + _SEGMENT + b"Photoshop 3.0\0" + _RESOURCES
    ),
    "JPEG, EXIF again and again": _jpeg(
        b"\xff\xe1" + _SEGMENT + b"Exif\0\0" + tiff(5_000, 60_000).ljust(65_527, b"\0")
    ),
    "JPEG, no end of image": _filled(images.still("JPEG", (8, 8))[:-2], b"\xff\0"),
    "WebP, empty chunks": _webp(b"teXt\0\0\0\0"),
    "WebP, frames without data": _webp(b"ANMF\x10\0\0\0" + bytes(16)),
    "WebP, animation controls": _webp(b"ANIM\6\0\0\0" + bytes(6)),
    "WebP, EXIF again and again": _webp(b"EXIF" + struct.pack("<I", 60_014) + tiff(5_000, 60_000)),
    "AVIF, empty boxes": _filled(_FTYP, box(b"free")),
    "AVIF, boxes in boxes": _nested,
    "AVIF, boxes of no size": _filled(_FTYP, b"\0\0\0\0meta"),
    "AVIF, boxes of 64 bits": _filled(_FTYP, b"\0\0\0\1free" + struct.pack(">Q", 16)),
    "AVIF, sizes": _in_boxes(_filled(bytes(4), box(b"ispe", bytes(12))), b"meta"),
    "AVIF, times": _in_boxes(
        _filled(b"", box(b"stts", bytes(8) + struct.pack(">2I", 1, 1) * 12_000)),
        b"moov",
        b"trak",
        b"mdia",
        b"minf",
        b"stbl",
        ftyp=_FTYP_AVIS,
    ),
    "MP4, empty boxes": _filled(_FTYP_MP4, box(b"free")),
}


def of(name: str, size: int) -> bytes:
    """A body of about `size` bytes."""
    return BODIES[name](size)


def good_gif(size: int) -> bytes:
    """A GIF of about `size` bytes as encoders write it, with sub-blocks of 255 bytes."""
    frame = images.noisy_gif((1_000, 800), 1)
    start = frame.index(b"\x2c", 13 + 768)
    return frame[:start] + frame[start:-1] * max(1, size // (len(frame) - start)) + b"\x3b"
