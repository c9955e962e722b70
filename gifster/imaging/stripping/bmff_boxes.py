"""The boxes of a file of the ISO base media format (ISO/IEC 14496-12), and where they are."""

from collections.abc import Iterator
from typing import NamedTuple

from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

_MAX_CONTENT_BYTES = 1_000_000


class Box(NamedTuple):
    """A box: its kind, and the offsets of itself, of its content, and of its end."""

    kind: bytes
    start: int
    content: int
    end: int


def boxes(reader: Reader, at: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets, but not those within them."""
    while end - at >= 8:
        reader.step(2 * PART_STEPS)
        reader.seek(at)
        head = reader.read(8)
        size, content = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, content = int.from_bytes(reader.read(8), "big"), at + 16
        elif size == 0:
            size = end - at
        if size < content - at or at + size > end:
            raise Unreadable("The file is damaged.")
        yield Box(head[4:8], at, content, at + size)
        at += size


def content(reader: Reader, box: Box, most: int = _MAX_CONTENT_BYTES) -> bytes:
    """The content of a box of at most so many bytes.

    Raises:
      Unreadable: it is larger.
    """
    if box.end - box.content > most:
        raise Unreadable("The file is damaged.")
    reader.seek(box.content)
    return reader.read(box.end - box.content)
