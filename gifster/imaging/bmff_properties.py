"""What a HEIF file says of its main picture: size, orientation and colours (ISO/IEC 23008-12, 6.5;
AVIF 1.1). The other pictures, such as thumbnails and gain maps, have properties of their own."""

import struct
from collections.abc import Iterator
from fractions import Fraction

from gifster.imaging.cicp import CodePoints, in_avif
from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

Properties = dict[bytes, bytes]
#: Orientations by the axis of a mirror (-1 for none) and the quarter turns against the clock.
_ORIENTATIONS = {-1: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}
#: A sample entry of a video track has so many bytes before its boxes.
_SAMPLE_DESCRIPTION_BYTES, _SAMPLE_ENTRY_BYTES = 8, 86


def of_item(reader: Reader, content: bytes, primary: int | None) -> Properties:
    """The properties of the primary item, the first of each kind.

    Parameters:
      content: of the box iprp.
      primary: the item's number; without one all properties are taken.
    """
    boxes = list(_boxes(reader, content))
    found = next((inner for kind, inner in boxes if kind == b"ipco"), b"")
    every = list(_boxes(reader, found))
    numbers = [
        number
        for kind, inner in boxes
        if kind == b"ipma"
        for item, linked in _associations(reader, inner)
        if item == primary
        for number in linked
    ]
    wanted = [every[number - 1] for number in numbers if 0 < number <= len(every)]
    properties: Properties = {}
    for kind, inner in wanted if primary is not None else every:
        if kind != b"colr" or inner[:4] == b"nclx":
            properties.setdefault(kind, inner)
    return properties


def of_track(reader: Reader, content: bytes) -> Properties:
    """The properties of a sequence, from the content of its track's box stsd."""
    inner = content[_SAMPLE_DESCRIPTION_BYTES + _SAMPLE_ENTRY_BYTES :]
    return dict(_boxes(reader, inner, is_lenient=True))


def orientation(properties: Properties) -> int:
    """The orientation as EXIF would number it, 1 to 8."""
    turns = properties.get(b"irot", b"\0")[:1] or b"\0"
    mirror = properties.get(b"imir", b"")[:1]
    return _ORIENTATIONS[mirror[0] & 1 if mirror else -1][turns[0] & 3]


def size(properties: Properties) -> tuple[int, int]:
    """Width and height as stored (pixels); 0 × 0 if they are missing."""
    content = properties.get(b"ispe", b"")
    if len(content) < 12:
        return 0, 0
    width, height = struct.unpack_from(">2L", content, 4)
    return width, height


def aperture(properties: Properties) -> tuple[int, int] | None:
    """Width and height of the part that is shown (pixels, ISO/IEC 14496-12, 12.1.4: box clap), if
    the file says it."""
    content = properties.get(b"clap", b"")
    if len(content) < 16:
        return None
    width, width_unit, height, height_unit = struct.unpack_from(">4L", content)
    if not width_unit or not height_unit:
        return None
    return round(width / width_unit), round(height / height_unit)


def shown(properties: Properties) -> tuple[int, int] | None:
    """Width and height of what browsers show of an AVIF, if that is only a part (pixels).

    Chromium shows a part only if it begins in the upper left corner and has whole pixels. Of
    another one it shows everything.
    """
    content, whole = properties.get(b"clap", b"")[:32], size(properties)
    if len(content) < 32:
        return None
    numbers = struct.unpack(">4LlLlL", content)
    if 0 in numbers[1::2]:
        return None
    wide, high, right, down = (
        Fraction(numbers[at], numbers[at + 1]) for at in range(0, len(numbers), 2)
    )
    # The middle of the part lies right of the middle of the whole, and below it (12.1.4).
    begins = right == (wide - whole[0]) / 2 and down == (high - whole[1]) / 2
    is_part = 0 < wide <= whole[0] and 0 < high <= whole[1]
    are_whole = wide.denominator == high.denominator == 1
    return (int(wide), int(high)) if begins and is_part and are_whole else None


def colors(properties: Properties) -> CodePoints | None:
    """The code points of the colours, if it has any."""
    content = properties.get(b"colr", b"")
    if content[:4] != b"nclx" or len(content) < 8:
        return None
    return in_avif(*struct.unpack_from(">2H", content, 4))


def matrix(properties: Properties) -> int | None:
    """The number of the matrix of the colours (ITU-T H.273, table 4), if the file says it."""
    content = properties.get(b"colr", b"")
    is_said = content[:4] == b"nclx" and len(content) >= 10
    return _number(content[8:10]) if is_said else None


def _boxes(
    reader: Reader, content: bytes, *, is_lenient: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """The boxes in some content: kind and content of each."""
    at = 0
    while at + 8 <= len(content):
        reader.step(PART_STEPS)
        length, kind = struct.unpack_from(">L4s", content, at)
        if length < 8 or at + length > len(content):
            if is_lenient:
                return
            raise Unreadable("The file is damaged.")
        yield kind, content[at + 8 : at + length]
        at += length


def _associations(reader: Reader, content: bytes) -> Iterator[tuple[int, list[int]]]:
    """The items of a box ipma, with the numbers of their properties (23008-12, 9.3.1)."""
    if len(content) < 8:
        return
    item_bytes = 4 if content[0] else 2
    property_bytes, mask = (2, 0x7FFF) if content[3] & 1 else (1, 0x7F)
    at = 8
    while at + item_bytes < len(content):
        reader.step(PART_STEPS)
        item = _number(content[at : at + item_bytes])
        at += item_bytes + 1
        end = at + content[at - 1] * property_bytes
        places = range(at, min(end, len(content)), property_bytes)
        yield item, [_number(content[place : place + property_bytes]) & mask for place in places]
        at = end


def _number(content: bytes) -> int:
    return int.from_bytes(content, "big")


def peak_nits(properties: Properties) -> float | None:
    """The brightness of the brightest pixel (nits), if the file says it: by the content, else by
    the screen on which it was made (ISO/IEC 23008-12: boxes clli and mdcv)."""
    content, screen = properties.get(b"clli", b""), properties.get(b"mdcv", b"")
    most = _number(content[:2])
    if not most and len(screen) >= 20:
        most = _number(screen[16:20]) // 10_000
    return float(most) or None
