"""How a picture is to be turned: the one word of EXIF that changes its size.

Read from its directory alone. Pillow would read every entry of it, and copy what they point to.
EXIF is a TIFF file (TIFF 6.0, section 2; CIPA DC-008).
"""

import struct

#: How much EXIF there may be (bytes); more is taken for none.
MOST_BYTES = 1_000_000
_ORIENTATION = 0x0112
#: Those that lie: a quarter turn to either side, mirrored or not.
_LYING = (5, 6, 7, 8)
#: How the whole numbers of TIFF are written, by their type.
_NUMBERS = {3: "H", 4: "L", 8: "h", 9: "l"}


def upright_size(width: int, height: int, exif: bytes) -> tuple[int, int]:
    """The size of a picture (pixels) when it has been turned as its EXIF says."""
    return (height, width) if _orientation(exif) in _LYING else (width, height)


def _orientation(exif: bytes) -> int | None:
    for _ in range(2):  # some writers put it there twice
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
        tag, kind, number = struct.unpack_from(f"{order}HHL", entries, start)
        if tag == _ORIENTATION and kind in _NUMBERS:
            if number != 1:
                return None
            (value,) = struct.unpack_from(order + _NUMBERS[kind], entries, start + 8)
            return int(value)
    return None
