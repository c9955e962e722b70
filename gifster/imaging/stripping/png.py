"""PNG, animated or not: which chunks are the picture (PNG specification, Third Edition, 4.8).

Browsers ignore an ancillary chunk with a wrong CRC, and what says behind the pixels how these look,
so it is left out.
"""

import struct
import zlib
from collections.abc import Collection

from gifster.imaging.png_chunks import counts
from gifster.imaging.reader import Reader
from gifster.imaging.stripping.exif import minimal
from gifster.imaging.stripping.pieces import Pieces

_HEAD = struct.Struct(">I4s")
#: The chunks without which there is no picture, and no animation.
_NEEDED = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"}
#: The chunks that change how it looks: transparency, colour spaces, and the shape of a pixel; and
#: the sizes that they may have (bytes). None is any size.
_LOOKS: dict[bytes, Collection[int] | None] = {
    b"tRNS": range(1, 257), b"iCCP": None, b"gAMA": (4,), b"cHRM": (32,), b"sRGB": (1,),
    b"cICP": (4,), b"mDCV": (24,), b"cLLI": (8,), b"sBIT": (1, 2, 3, 4), b"pHYs": (9,),
}  # fmt: skip
#: The greatest rendering intent of ICC, of which sRGB names one (11.3.2.5).
MAX_INTENT = b"\3"
#: Where the colour type is in IHDR.
_COLORS_AT = 9
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
    colors = 0
    pieces.keep(0, 8)
    reader.seek(8)
    kind = b""
    while kind != b"IEND":
        reader.part()
        start = reader.tell()
        size, kind = _HEAD.unpack(reader.read(_HEAD.size))
        end = start + size + 12
        if kind == b"IEND" and size:
            pieces.add(_chunk(kind, b""))
        elif kind in _NEEDED:
            pieces.keep(start, end)
            if kind == b"IHDR" and size > _COLORS_AT:
                colors = reader.read(_COLORS_AT + 1)[_COLORS_AT]
        elif kind in _LOOKS and not {kind, b"IDAT"} & seen and size <= MAX_BYTES:
            if not counts(kind, size, colors, has_palette=b"PLTE" in seen):
                reader.seek(end)
                continue
            content = reader.read(size)
            if reader.read(4) != _crc(kind, content):
                reader.seek(end)
                continue
            used = _used(kind, content)
            if used and used == content:
                pieces.keep(start, end)
            elif used:
                pieces.add(_chunk(kind, used))
        elif kind == b"eXIf" and size <= MAX_BYTES and not {kind, b"IDAT"} & seen:
            chunk = reader.read(size + 4)
            is_valid = chunk[size:] == _crc(kind, chunk[:size])
            content = minimal(chunk[:size]) if is_valid else b""
            pieces.are_turned = pieces.are_turned or bool(content)
            if content and chunk == content + _crc(kind, content):
                pieces.keep(start, end)
            elif content:
                pieces.add(_chunk(kind, content))
        seen.add(kind if kind in _LOOKS or kind in (b"PLTE", b"IDAT", b"eXIf") else b"")
        reader.seek(end)


def _used(kind: bytes, content: bytes) -> bytes:
    """What decoders use of a chunk; nothing of one that has another size than its kind, of sRGB
    with an intent that there is not, or of a colour profile without a name or that cannot be
    unpacked or is too large."""
    sizes = _LOOKS[kind]
    if sizes is not None:
        is_right = len(content) in sizes and (kind != b"sRGB" or content <= MAX_INTENT)
        return content if is_right else b""
    name, _, packed = content.partition(b"\0")
    if not name or packed[:1] != b"\0":  # the only way of packing (11.3.2.3)
        return b""
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed[1:], MAX_BYTES)
    except zlib.error:
        return b""
    return content[: len(content) - len(unpacking.unused_data)] if unpacking.eof else b""


def _chunk(kind: bytes, content: bytes) -> bytes:
    return _HEAD.pack(len(content), kind) + content + _crc(kind, content)


def _crc(kind: bytes, content: bytes) -> bytes:
    return zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big")
