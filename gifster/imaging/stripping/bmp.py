"""BMP: its headers, its palette, its pixels and its colour profile stay, one after the other.

What lies between and behind them is left out, and so is the path of a profile that is a file of its
own: it tells the name of whoever saved the picture (Windows GDI, BITMAPV5HEADER).
"""

import struct

from gifster.imaging import bmp
from gifster.imaging.reader import Reader
from gifster.imaging.stripping.pieces import Pieces

#: Where the file says how many bytes it has, and where its pixels begin.
_SIZE_AT, _PIXELS_AT = 2, 10
#: The header that can name a profile, and where in the file it says of what kind that is, and its
#: offset from the header and its bytes.
_V5, _KIND_AT, _PROFILE_AT = 124, 70, 126
_EMBEDDED, _LINKED, _SRGB = b"DEBM", b"KNIL", b"BGRs"


def strip(reader: Reader) -> Pieces:
    """The parts of the picture."""
    layout = bmp.layout(reader)
    reader.seek(0)
    original = reader.read(bmp.FILE_HEADER_BYTES + layout.header)
    head = bytearray(original)
    palette_end = min(layout.palette_end, layout.pixels)
    pixels = palette_end + layout.pixels_end - layout.pixels
    struct.pack_into("<L", head, _PIXELS_AT, palette_end)
    profile = (pixels, pixels)
    if layout.header == _V5 and head[_KIND_AT : _KIND_AT + 4] in (_EMBEDDED, _LINKED):
        is_embedded = head[_KIND_AT : _KIND_AT + 4] == _EMBEDDED
        offset, size = struct.unpack_from("<2L", head, _PROFILE_AT)
        start = bmp.FILE_HEADER_BYTES + offset
        if is_embedded and layout.pixels_end <= start and start + size <= reader.size:
            profile = start, start + size
            struct.pack_into("<L", head, _PROFILE_AT, pixels - bmp.FILE_HEADER_BYTES)
        else:
            struct.pack_into("<4s", head, _KIND_AT, _SRGB)
            struct.pack_into("<2L", head, _PROFILE_AT, 0, 0)
    size = pixels + profile[1] - profile[0]
    pieces = Pieces()
    if head == original and size == reader.size:
        pieces.keep(0, size)
        return pieces
    struct.pack_into("<L", head, _SIZE_AT, size)
    pieces.add(bytes(head))
    pieces.keep(len(head), palette_end)
    pieces.keep(layout.pixels, layout.pixels_end)
    pieces.keep(*profile)
    return pieces
