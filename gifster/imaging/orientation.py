"""Read the orientation from EXIF: the one entry that changes the size of a picture.

EXIF is a TIFF file (TIFF 6.0, section 2; CIPA DC-008). Only its first directory is read here;
Pillow would read every entry, and copy the data that they point to.
"""

import struct

import PIL.Image
from PIL.Image import Transpose

#: Longer EXIF data is ignored (bytes).
MAX_EXIF_BYTES = 1_000_000
_ORIENTATION = 0x0112
#: The orientations that swap width and height: a quarter turn either way, mirrored or not.
_SIDEWAYS = (5, 6, 7, 8)
#: What turns a picture upright, by its orientation.
_METHODS = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}  # fmt: skip
#: The struct codes of TIFF's integer types.
_INTEGERS = {3: "H", 4: "L", 8: "h", 9: "l"}


def upright_size(width: int, height: int, exif: bytes) -> tuple[int, int]:
    """The size of a picture (pixels) after it was turned as its EXIF requires."""
    return (height, width) if _orientation(exif) in _SIDEWAYS else (width, height)


def turned(picture: PIL.Image.Image, exif: bytes) -> PIL.Image.Image:
    """A picture turned as its EXIF requires; itself if it need not be turned."""
    method = _METHODS.get(_orientation(exif) or 1)
    return picture if method is None else picture.transpose(method)


def _orientation(exif: bytes) -> int | None:
    for _ in range(2):  # some programs write the prefix twice
        exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or exif[2:4] not in (b"*\0", b"\0*") or len(exif) < 8:
        return None
    (at,) = struct.unpack_from(f"{order}L", exif, 4)
    if at + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    entries = exif[at + 2 : at + 2 + 12 * count]
    for start in range(0, len(entries) - 11, 12):
        tag, kind, length = struct.unpack_from(f"{order}HHL", entries, start)
        if tag == _ORIENTATION and kind in _INTEGERS:
            if length != 1:
                return None
            (value,) = struct.unpack_from(order + _INTEGERS[kind], entries, start + 8)
            return int(value)
    return None
