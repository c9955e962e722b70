"""The structure of AVIF and MP4 files: boxes in boxes (ISO/IEC 14496-12; HEIF, 23008-12).

Read without decoding anything: sizes, and of sequences the number of pictures and their times.
"""

import sys
from array import array
from collections.abc import Iterator
from operator import mul
from typing import NamedTuple

from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

#: Boxes that have boxes in them, and how many bytes come before these.
_FOLDERS = {
    b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0,
}  # fmt: skip
_MOST_BOXES, _MOST_BYTES = 10_000, 1_000_000
_BOX_STEPS = 2 * PART_STEPS


class Facts(NamedTuple):
    """Width and height of the largest picture as it is to be seen, in pixels; and of a sequence how
    many pictures it has, and how long they take (ms)."""

    width: int
    height: int
    frames: int
    duration_ms: int


class _Box(NamedTuple):
    kind: bytes
    content: bytes
    track: int


def is_avif(head: bytes) -> bool:
    """Whether a file that begins so says that it is AVIF."""
    brands = head[8 : max(16, int.from_bytes(head[:4], "big"))]
    return head[4:8] == b"ftyp" and any(
        brands[at : at + 4] in (b"avif", b"avis") for at in range(0, len(brands), 4)
    )


def read(reader: Reader) -> Facts:
    """Read the facts of a file.

    Raises:
      Truncated: it ends in the middle.
      Unreadable: its structure is wrong.
      StepsSpent: it has more boxes and entries than the reader has steps.
    """
    sizes, turned, scale, frames, ticks = [(0, 0)], False, 1, 0, 0
    for box in _boxes(reader):
        content = box.content
        if box.kind == b"ispe":
            sizes.append((_number(content, 4), _number(content, 8)))
        elif box.kind == b"tkhd":
            # The last two numbers, in 65,536ths.
            sizes.append((_number(content[-8:], 0) >> 16, _number(content[-8:], 4) >> 16))
        elif box.kind == b"irot":
            turned = bool(content[:1] and content[0] & 1)
        elif box.kind == b"mdhd" and box.track == 1:
            scale = _number(content, 20 if content[:1] == b"\1" else 12) or 1
        elif box.kind == b"stts" and box.track == 1:
            counts, deltas = _pairs(content[8:])
            reader.step(len(counts))
            frames, ticks = frames + sum(counts), ticks + sum(map(mul, counts, deltas))
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    if turned:
        width, height = height, width
    return Facts(width, height, frames, 1000 * ticks // scale)


def _boxes(reader: Reader) -> Iterator[_Box]:
    """All boxes that are no folders, with what is in them where that is not much."""
    end = reader.size
    open_until, track, count, at = [end], 0, 0, 0
    while at < end:
        while open_until[-1] <= at and len(open_until) > 1:
            open_until.pop()
        reader.step(_BOX_STEPS)
        reader.go_to(at)
        head = reader.take(8)
        size, kind, length = _number(head, 0), head[4:8], 8
        if size == 1:
            size, length = int.from_bytes(reader.take(8), "big"), 16
        elif size == 0:
            size = open_until[-1] - at
        count += 1
        if size < length or count > _MOST_BOXES:
            raise Unreadable("The file is damaged.")
        if at + size > end:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
        if kind in _FOLDERS:
            track += kind == b"trak"
            open_until.append(at + size)
            at += length + _FOLDERS[kind]
        else:
            wanted = kind in (b"ispe", b"tkhd", b"irot", b"mdhd", b"stts")
            content = reader.take(min(size - length, _MOST_BYTES)) if wanted else b""
            yield _Box(kind, content, track)
            at += size


def _number(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4], "big")


def _pairs(content: bytes) -> tuple["array[int]", "array[int]"]:
    """The first and the second ones of pairs of numbers of 32 bits."""
    numbers = array("I", content[: len(content) // 8 * 8])
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers[::2], numbers[1::2]
