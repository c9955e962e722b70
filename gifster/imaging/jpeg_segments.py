"""Read the structure of a JPEG: its size and its orientation (ITU T.81, annex B).

It accepts the files that Pillow accepts. Pillow itself keeps every segment, and parses some.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gifster.imaging import orientation
from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

#: A segment takes longer to read than the parts of other formats.
_SEGMENT_STEPS = 2 * PART_STEPS
_SCAN, _START, _END = 0xDA, 0xD8, 0xD9
#: The frame headers: all but the differential ones, and without the markers among their numbers.
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC}
#: The markers without a segment: restarts, start and end of image, and reserved ones.
_STANDALONE = {0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)}
_FILL = re.compile(rb"\xff+")
#: How EXIF begins: only the first such segment counts.
_EXIF = re.compile(rb"Exif\0(?s:.)")
#: How a part of a profile begins, with its number and how many there are.
_APP2, _PROFILE, _PROFILE_HEAD_BYTES = 0xE2, b"ICC_PROFILE\0", 14
#: What ends the data of a scan: a marker, but no restart. Damaged data has other codes, too.
_AFTER_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")


class Segment(NamedTuple):
    """A marker and its segment, with the data of the scan if it begins one. These are offsets: of
    the marker, of the content, and of what comes next."""

    marker: int
    start: int
    content: int
    end: int


class Facts(NamedTuple):
    """Width and height of the picture as it is stored (pixels), its orientation (1 to 8), and what
    a decoder must keep in memory beside its rows (bytes): of a JPEG of several scans, such as a
    progressive one, all coefficients."""

    width: int
    height: int
    orientation: int
    coefficient_bytes: int


def read(reader: Reader) -> Facts:
    """Read the facts of a file.

    Raises:
      Truncated: the end of the image is missing.
      Unreadable: the structure is wrong, or Pillow cannot decode such a JPEG.
      OutOfSteps: there are more segments than the reader has steps.
    """
    size, frame, exif, scans = None, b"", None, 0
    for segment in segments(reader):
        marker = segment.marker
        if scans == 0 and (marker in _FRAME_HEADERS or marker == 0xE1):
            content = reader.read(segment.end - segment.content)
            if marker in _FRAME_HEADERS:
                size, frame = _size(content), content
            elif exif is None and _EXIF.match(content):
                exif = content[6:]
        elif marker == _SCAN and size is None:
            break
        scans += marker == _SCAN
    if size is None or min(size) < 1:
        raise Unreadable("The image is damaged.")
    coefficient_bytes = _coefficient_bytes(frame, *size) if scans > 1 else 0
    return Facts(*size, orientation.of_exif(exif or b""), coefficient_bytes)


def profile(reader: Reader) -> bytes | None:
    """The ICC profile in front of the first scan, before or behind the frame header (ICC.1:2010,
    annex B.4).

    It may be in several segments, which have numbers. As in Chromium it does not count if one of
    them is missing or doubled, unless the first one says that it is all.

    Raises: as `read()` does.
    """
    parts: dict[int, bytes] = {}
    count = None
    for segment in segments(reader):
        if segment.marker == _SCAN:
            break
        is_long = segment.end - segment.content >= _PROFILE_HEAD_BYTES
        if segment.marker != _APP2 or not is_long:
            continue
        content = reader.read(segment.end - segment.content)
        if not content.startswith(_PROFILE):
            continue
        number, total = content[_PROFILE_HEAD_BYTES - 2 : _PROFILE_HEAD_BYTES]
        if number in parts or not 1 <= number <= total or count not in (None, total):
            return None
        parts[number], count = content[_PROFILE_HEAD_BYTES:], total
        if total == 1:
            break
    return b"".join(parts[at] for at in sorted(parts)) if parts and len(parts) == count else None


def segments(reader: Reader) -> Iterator[Segment]:
    """All segments behind the start of the image, up to its end, with each standalone marker. The
    content of a segment is what the reader reads next, unless a scan follows.

    The end is that of this image: other images in it, such as the thumbnail in its EXIF, have ends
    of their own.

    Raises:
      Truncated: the end of the image is missing.
      Unreadable: there is a marker that cannot be.
      OutOfSteps: there are more segments than the reader has steps.
    """
    reader.seek(2)
    scans = 0
    while True:
        if not scans:  # what comes between scans may belong to them, if the file is damaged
            reader.part(0)
        marker = _marker(reader)
        start = content = reader.tell() - 2
        if marker == _START and scans:  # of another image
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
        if marker in _STANDALONE:
            content += 2
        else:
            length = int.from_bytes(reader.read(2), "big")
            content += 4
            reader.skip(max(0, length - 2))
            if marker == _SCAN:
                scans += 1
                reader.find_match(_AFTER_SCAN, 2)
        end = reader.tell()
        if marker != _SCAN:
            reader.seek(content)
        yield Segment(marker, start, content, end)
        if marker == _END and scans:
            return
        reader.seek(end)


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


def _coefficient_bytes(frame: bytes, width: int, height: int) -> int:
    """The coefficients of all components (A.2.4): 16 bits for each sample of whole MCUs."""
    factors = [divmod(frame[at], 16) for at in range(7, min(len(frame), 6 + 3 * frame[5]), 3)]
    across, down = (max((1, *sides)) for sides in zip((1, 1), *factors, strict=True))
    columns, rows = -(-width // (8 * across)), -(-height // (8 * down))
    return sum(columns * rows * x * y * 64 * 2 for x, y in factors)


def _size(frame: bytes) -> tuple[int, int]:
    """The width and height in a frame header (B.2.2)."""
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3, 4):
        raise Unreadable("The image is damaged.")
    return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
