"""Read where the items of a HEIF file are: its pictures, their parts, and its metadata (ISO/IEC
14496-12, 8.11: the boxes `iloc`, `iinf` and `iref`)."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from gifster.imaging.errors import Unreadable

#: Where an extent's offset counts from: the file, or the content of the box `idat`.
IN_FILE, IN_IDAT = 0, 1


class Extent(NamedTuple):
    """A part of an item's data: from `start` to `end`, counted as `method` says. A length of 0
    means the rest of the file, or of the box."""

    item: int
    method: int
    start: int
    length: int


def extents(iloc: bytes) -> Iterator[Extent]:
    """The extents of all items, by the content of the box `iloc`.

    Raises:
      Unreadable: it is damaged.
    """
    fields = _Fields(iloc)
    version = fields.uint(1)
    fields.skip(3)
    sizes = fields.uint(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    for _ in range(fields.uint(4 if version == 2 else 2)):
        item = fields.uint(4 if version == 2 else 2)
        method = fields.uint(2) & 15 if version in (1, 2) else IN_FILE
        fields.skip(2)
        base = fields.uint(base_size)
        for _ in range(fields.uint(2)):
            fields.skip(index_size)
            start = base + fields.uint(offset_size)
            yield Extent(item, method, start, fields.uint(length_size))


def types(iinf: bytes) -> dict[int, bytes]:
    """The type of each item by its number, by the content of the box `iinf`."""
    fields = _Fields(iinf)
    version = fields.uint(1)
    fields.skip(3 + (2 if version == 0 else 4))
    found = {}
    for kind, content in fields.boxes():
        if kind == b"infe" and content[:1] in (b"\2", b"\3"):
            entry = _Fields(content)
            wide = entry.uint(1) == 3
            entry.skip(3)
            number = entry.uint(4 if wide else 2)
            entry.skip(2)
            found[number] = entry.take(4)
    return found


def thumbnails(iref: bytes) -> set[int]:
    """The numbers of the items that are thumbnails of others, by the content of the box `iref`."""
    fields = _Fields(iref)
    id_size = 4 if fields.uint(1) else 2
    fields.skip(3)
    return {_Fields(content).uint(id_size) for kind, content in fields.boxes() if kind == b"thmb"}


def associations(ipma: bytes) -> Iterator[tuple[int, bytes]]:
    """The number of each item, and the bytes that say which properties it has, by the content of
    the box `ipma`.

    Raises:
      Unreadable: it is damaged.
    """
    fields = _Fields(ipma)
    item_size = 4 if fields.uint(1) else 2
    fields.skip(2)
    size = 2 if fields.uint(1) & 1 else 1
    for _ in range(fields.uint(4)):
        item, count = fields.take(item_size), fields.take(1)
        yield int.from_bytes(item, "big"), item + count + fields.take(count[0] * size)


class _Fields:
    """Reads one field after the other. Raises `Unreadable` at the end."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, count: int) -> bytes:
        data = self._content[self._at : self._at + count]
        if len(data) < count:
            raise Unreadable("The file is damaged.")
        self._at += count
        return data

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def skip(self, count: int) -> None:
        self.take(count)

    def boxes(self) -> Iterator[tuple[bytes, bytes]]:
        """The boxes that follow: their kind and their content."""
        while self._at + 8 <= len(self._content):
            size, kind = struct.unpack(">I4s", self.take(8))
            if size < 8:
                raise Unreadable("The file is damaged.")
            yield kind, self.take(size - 8)
