"""The structure of a JPEG: the size in its frame header, and its EXIF (ITU T.81, annex B).

Takes what Pillow takes, in as many steps as there are segments. Pillow itself keeps each segment,
and looks into some of them.
"""

import re

from gifster.imaging import orientation
from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

#: There is more to do for one than in other types.
_SEGMENT_STEPS = 2 * PART_STEPS
_SCAN, _QUANTIZATION = 0xDA, 0xDB
#: All but the differential ones, which are in a hierarchy, and what they share their numbers with.
_FRAMES = {*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC}
#: What stands alone: restarts, start and end; and what nobody uses.
_WITHOUT_CONTENT = {0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)}
_FILL = re.compile(rb"\xff+")


def read(reader: Reader) -> tuple[int, int]:
    """The size of the picture as it is to be seen (pixels).

    Raises:
      Truncated: it has no end.
      Unreadable: its structure is wrong, or Pillow decodes no such JPEG.
      StepsSpent: it has more segments than the reader has steps.
    """
    size, exif, bytes_of_exif = None, [], 0
    reader.skip(2)
    while (marker := _marker(reader)) != _SCAN:
        content = b"" if marker in _WITHOUT_CONTENT else _content(reader, marker)
        if marker in _FRAMES:
            size = _size(content)
        elif marker == 0xE1 and content.startswith(b"Exif\0\0"):
            bytes_of_exif += len(content)
            if bytes_of_exif <= orientation.MOST_BYTES:
                exif.append(content[6:])
    if size is None or min(size) < 1:
        raise Unreadable("The image is damaged.")
    if not reader.find(b"\xff\xd9"):
        raise Truncated("The file is incomplete: it ends in the middle of the image.")
    return orientation.upright_size(*size, b"".join(exif))


def _marker(reader: Reader) -> int:
    """The next marker, whatever stands before it."""
    marker = 0
    while marker == 0:
        reader.step(_SEGMENT_STEPS)
        reader.find(b"\xff")
        reader.skip_all(_FILL)
        marker = reader.take(1)[0]
    if marker < 0xC0:
        raise Unreadable("The image is damaged.")
    return marker


def _content(reader: Reader, marker: int) -> bytes:
    """What is in a segment, if it is of any use here."""
    length = max(0, int.from_bytes(reader.take(2), "big") - 2)
    if marker in _FRAMES or marker in (0xE1, _QUANTIZATION):
        return reader.take(length)
    reader.skip(length)
    return b""


def _size(frame: bytes) -> tuple[int, int]:
    """B.2.2: what a frame header says."""
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3, 4):
        raise Unreadable("The image is damaged.")
    return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
