"""Read the structure of a BMP: its header, and how many bytes its pixels take."""

import struct
from typing import NamedTuple

from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.reader import Reader

#: The sizes of the second header, by which one version of BMP is told from another: OS/2 1 and 2,
#: Windows 3, and its versions with masks, 4 and 5.
_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_OS2_1, _OS2_2_SHORT, _WINDOWS_3, FILE_HEADER_BYTES = 12, 16, 40, 14
#: The compressions whose pixels take a fixed number of bytes: none, and masks.
_UNPACKED = (0, 3, 6)
#: How many bytes of masks follow a header of Windows 3, by the compression.
_MASK_BYTES = {3: 12, 6: 16}


class Layout(NamedTuple):
    """Width and height (pixels), the bytes of the second header, and where the parts are: the end
    of the masks and the palette, the first pixel, and the end of the pixels. The pixels of some
    files begin within the palette, which browsers read to its end."""

    width: int
    height: int
    header: int
    palette_end: int
    pixels: int
    pixels_end: int


def is_bmp(head: bytes) -> bool:
    """Whether a file begins like a BMP. Its first two letters alone may begin a text."""
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _HEADERS


def layout(reader: Reader) -> Layout:
    """Read the structure of a file.

    Pixels that are packed are taken to fill the rest of the file, as nothing reliable says how many
    bytes they have.

    Raises:
      Truncated: the file ends before its last pixel.
      Unreadable: the structure is wrong.
    """
    reader.seek(10)
    start, header = struct.unpack("<2L", reader.read(8))
    compression = colors = 0
    if header == _OS2_1:
        width, height, _, bits = struct.unpack("<4H", reader.read(8))
    else:
        width, height, _, bits = struct.unpack("<2l2H", reader.read(12))
        if header > _OS2_2_SHORT:
            compression, _, _, _, colors = struct.unpack("<2L2lL", reader.read(20))
    height = abs(height)  # the rows come from top to bottom if it is negative
    headers_end = FILE_HEADER_BYTES + header
    if width < 1 or height < 1 or start < headers_end:
        raise Unreadable("The image is damaged.")
    end = reader.size
    if compression in _UNPACKED:
        row_bytes = (width * bits + 31) // 32 * 4
        # The last row need not be padded.
        if start + row_bytes * height - 3 > reader.size:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
        end = min(start + row_bytes * height, reader.size)
    masks = _MASK_BYTES.get(compression, 0) if header == _WINDOWS_3 else 0
    if bits <= 8:
        colors = min(colors or 2**bits, 2**bits)
    palette = colors * (3 if header == _OS2_1 else 4)
    return Layout(width, height, header, headers_end + masks + palette, start, end)
