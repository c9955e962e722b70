"""Read the structure of a JPEG: its size and its orientation (ITU T.81, annex B).

It accepts the files that Pillow accepts. Pillow itself keeps every segment, and parses some.
"""

import re
from typing import NamedTuple

from gifster.imaging import orientation
from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

#: A segment takes longer to read than the parts of other formats.
_SEGMENT_STEPS = 2 * PART_STEPS
_SCAN, _QUANTIZATION = 0xDA, 0xDB
#: The frame headers: all but the differential ones, and without the markers among their numbers.
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC}
#: The markers without a segment: restarts, start and end of image, and reserved ones.
_STANDALONE = {0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)}
_FILL = re.compile(rb"\xff+")
#: How EXIF begins: only the first such segment counts.
_EXIF = re.compile(rb"Exif\0(?s:.)")


class Facts(NamedTuple):
    """Width and height of the picture as it is stored (pixels), and its orientation (1 to 8)."""

    width: int
    height: int
    orientation: int


def read(reader: Reader) -> Facts:
    """Read the facts of a file.

    Raises:
      Truncated: the end of the image is missing.
      Unreadable: the structure is wrong, or Pillow cannot decode such a JPEG.
      OutOfSteps: there are more segments than the reader has steps.
    """
    size, exif = None, None
    reader.skip(2)
    while (marker := _marker(reader)) != _SCAN:
        content = b"" if marker in _STANDALONE else _content(reader, marker)
        if marker in _FRAME_HEADERS:
            size = _size(content)
        elif marker == 0xE1 and exif is None and _EXIF.match(content):
            exif = content[6:]
    if size is None or min(size) < 1:
        raise Unreadable("The image is damaged.")
    if not reader.find(b"\xff\xd9"):
        raise Truncated("The file is incomplete: it ends in the middle of the image.")
    return Facts(*size, orientation.of_exif(exif or b""))


def _marker(reader: Reader) -> int:
    """The next marker, after any garbage."""
    marker = 0
    while marker == 0:
        reader.step(_SEGMENT_STEPS)
        reader.find(b"\xff")
        reader.skip_matching(_FILL)
        marker = reader.read(1)[0]
    if marker < 0xC0:
        raise Unreadable("The image is damaged.")
    return marker


def _content(reader: Reader, marker: int) -> bytes:
    """The content of a segment that is needed here; empty for the others, which are skipped."""
    length = max(0, int.from_bytes(reader.read(2), "big") - 2)
    if marker in _FRAME_HEADERS or marker in (0xE1, _QUANTIZATION):
        return reader.read(length)
    reader.skip(length)
    return b""


def _size(frame: bytes) -> tuple[int, int]:
    """The width and height in a frame header (B.2.2)."""
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3, 4):
        raise Unreadable("The image is damaged.")
    return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
