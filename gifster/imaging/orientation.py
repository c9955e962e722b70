"""Read the orientation from EXIF: the one entry that changes what is seen of a picture.

EXIF is a TIFF file (TIFF 6.0, section 2; CIPA DC-008). Only its first directory is read here. The
rules are Chromium's: the entry must be a SHORT, and its value 1 to 8. Where EXIF counts is up to
each format.
"""

import struct

import PIL.Image
from PIL.Image import Transpose

from gifster.imaging.boxes import Box

#: Longer EXIF data is ignored (bytes).
MAX_EXIF_BYTES = 1_000_000
_ORIENTATION, _SHORT = 0x0112, 3
#: The orientations that swap width and height: a quarter turn either way, mirrored or not.
SIDEWAYS = (5, 6, 7, 8)
#: Those that begin at the right side of the upright picture, and at its bottom.
_FROM_RIGHT, _FROM_BELOW = (2, 3, 6, 7), (3, 4, 7, 8)
#: What turns a picture upright, by its orientation.
_METHODS = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}  # fmt: skip


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """The size of a picture (pixels) after it was turned as its orientation requires."""
    return (height, width) if orientation in SIDEWAYS else (width, height)


def turned(picture: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    """A picture turned upright by its orientation (1 to 8); itself if it is upright."""
    return picture if orientation == 1 else picture.transpose(_METHODS[orientation])


def stored_box(box: Box, width: int, height: int, orientation: int) -> Box:
    """Where a box of the upright picture lies in the picture as it is stored.

    Parameters:
      width, height: of the upright picture (pixels).
    """
    left, top, right, bottom = box
    if orientation in _FROM_RIGHT:
        left, right = width - right, width - left
    if orientation in _FROM_BELOW:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation in SIDEWAYS else (left, top, right, bottom)


def of_exif(exif: bytes) -> int:
    """The orientation that EXIF says, 1 to 8: 1 is upright. It is 1 for damaged EXIF, too."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or exif[2:4] not in (b"*\0", b"\0*") or len(exif) < 8:
        return 1
    (at,) = struct.unpack_from(f"{order}L", exif, 4)
    if at + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    entries = exif[at + 2 : at + 2 + 12 * count]
    for start in range(0, len(entries) - 11, 12):
        tag, kind, length, value = struct.unpack_from(f"{order}HHLH", entries, start)
        if tag == _ORIENTATION:
            return int(value) if (kind, length) == (_SHORT, 1) and 1 <= value <= 8 else 1
    return 1
