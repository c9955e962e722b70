"""Read the structure of a BMP: its header, and how many bytes its pixels take."""

import struct
from typing import NamedTuple

from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.reader import Reader

#: The sizes of the second header, by which one version of BMP is told from another: OS/2 1 and 2,
#: Windows 3, and its versions with masks, 4 and 5.
_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_OS2_1, _FILE_HEADER_BYTES = 12, 14
#: The compressions whose pixels take a fixed number of bytes: none, and masks.
_UNPACKED = (0, 3, 6)


class Facts(NamedTuple):
    """Width and height (pixels)."""

    width: int
    height: int


def is_bmp(head: bytes) -> bool:
    """Whether a file begins like a BMP. Its first two letters alone may begin a text."""
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _HEADERS


def read(reader: Reader) -> Facts:
    """Read the facts of a file.

    Raises:
      Truncated: the file ends before its last pixel.
      Unreadable: the structure is wrong.
    """
    reader.seek(10)
    start, header = struct.unpack("<2L", reader.read(8))
    if header == _OS2_1:
        width, height, _, bits = struct.unpack("<4H", reader.read(8))
        compression = 0
    else:
        width, height, _, bits = struct.unpack("<2l2H", reader.read(12))
        compression = int.from_bytes(reader.read(4), "little") if header > 16 else 0
    height = abs(height)  # the rows come from top to bottom if it is negative
    if width < 1 or height < 1 or start < _FILE_HEADER_BYTES + header:
        raise Unreadable("The image is damaged.")
    if compression in _UNPACKED:
        row_bytes = (width * bits + 31) // 32 * 4
        # The last row need not be padded.
        if start + row_bytes * height - 3 > reader.size:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
    return Facts(width, height)
