"""PNG, animated or not: which chunks are the picture (PNG specification, Third Edition, 4.8).

Browsers ignore an ancillary chunk with a wrong CRC, so it is left out.
"""

import struct
import zlib
from collections.abc import Collection

from gifster.imaging.reader import Reader
from gifster.imaging.stripping.exif import minimal
from gifster.imaging.stripping.pieces import Pieces

_HEAD = struct.Struct(">I4s")
#: The chunks without which there is no picture, and no animation.
_NEEDED = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"}
#: The chunks that change how it looks: transparency, colour spaces, and the shape of a pixel; and
#: the sizes that they may have (bytes). None is any size.
_LOOKS: dict[bytes, Collection[int] | None] = {
    b"tRNS": None, b"iCCP": None, b"gAMA": (4,), b"cHRM": (32,), b"sRGB": (1,), b"cICP": (4,),
    b"mDCV": (24,), b"cLLI": (8,), b"sBIT": (1, 2, 3, 4), b"pHYs": (9,),
}  # fmt: skip
#: The greatest size of such a chunk, and of an unpacked colour profile (bytes). Larger ones are
#: left out: no display has them, but bombs do.
MAX_BYTES = 4 * 2**20


def strip(reader: Reader) -> Pieces:
    """The chunks of the picture, up to its end."""
    pieces = Pieces()
    walk(reader, pieces)
    return pieces


def walk(reader: Reader, pieces: Pieces) -> None:
    """Put the chunks of the picture into `pieces`."""
    seen: set[bytes] = set()
    pieces.keep(0, 8)
    reader.seek(8)
    kind = b""
    while kind != b"IEND":
        reader.part()
        start = reader.tell()
        size, kind = _HEAD.unpack(reader.read(_HEAD.size))
        end = start + size + 12
        if kind in _NEEDED:
            pieces.keep(start, end)
        elif kind in _LOOKS and kind not in seen and size <= MAX_BYTES:
            content = reader.read(size)
            if reader.read(4) == _crc(kind, content) and _is_usable(kind, content):
                pieces.keep(start, end)
        elif kind == b"eXIf" and size <= MAX_BYTES and not {kind, b"IDAT"} & seen:
            chunk = reader.read(size + 4)
            is_valid = chunk[size:] == _crc(kind, chunk[:size])
            content = minimal(chunk[:size]) if is_valid else b""
            pieces.are_turned = pieces.are_turned or bool(content)
            if content and chunk == content + _crc(kind, content):
                pieces.keep(start, end)
            elif content:
                pieces.add(_HEAD.pack(len(content), kind) + content + _crc(kind, content))
        seen.add(kind if kind in _LOOKS or kind in (b"IDAT", b"eXIf") else b"")
        reader.seek(end)


def _is_usable(kind: bytes, content: bytes) -> bool:
    """Whether a chunk has its size. A colour profile can be unpacked, and is not too large."""
    sizes = _LOOKS[kind]
    if sizes is not None:
        return len(content) in sizes
    if kind != b"iCCP":
        return True
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(content[content.find(b"\0") + 2 :], MAX_BYTES)
    except zlib.error:
        return False
    return unpacking.eof


def _crc(kind: bytes, content: bytes) -> bytes:
    return zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big")
