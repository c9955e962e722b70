"""Read the structure of a TIFF (TIFF 6.0, section 2): size and orientation of its first page."""

import struct
from typing import NamedTuple

from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.reader import Reader

_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
#: Where the parts of the picture are, and how many bytes each has: of strips, and of tiles.
_OFFSETS, _COUNTS = (273, 324), (279, 325)
#: The struct codes of the types of numbers that are needed, and of BigTIFF's.
_TYPES = {1: "B", 3: "H", 4: "L", 16: "Q"}
_MAX_ENTRIES, _MAX_PARTS = 4096, 1_000_000


class Facts(NamedTuple):
    """Width and height as stored (pixels), and the orientation (1 to 8)."""

    width: int
    height: int
    orientation: int


def is_tiff(head: bytes) -> bool:
    """Whether a file begins like a TIFF or a BigTIFF, and not like the raw file of a camera."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and head[8:10] != b"CR"


def read(reader: Reader) -> Facts:
    """Read the facts of the first page.

    Raises:
      Truncated: the file ends in the middle of the picture.
      Unreadable: the structure is wrong.
      OutOfSteps: there are more entries than the reader has steps.
    """
    tags = _Directory(reader).tags
    width, height = (tags.get(tag, [0])[0] for tag in (_WIDTH, _HEIGHT))
    if width < 1 or height < 1:
        raise Unreadable("The image is damaged.")
    for offsets, counts in zip(_OFFSETS, _COUNTS, strict=True):
        parts = list(zip(tags.get(offsets, []), tags.get(counts, []), strict=False))
        reader.step(len(parts))
        if any(start + count > reader.size for start, count in parts):
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
    orientation = tags.get(_ORIENTATION, [1])[0]
    return Facts(width, height, orientation if 1 <= orientation <= 8 else 1)


class _Directory:
    """The numbers in the first directory, by their tags."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        reader.seek(0)
        head = reader.read(16 if reader.size >= 16 else 8)
        self._order = "<" if head[:1] == b"I" else ">"
        is_big = head[2:4] in (b"+\0", b"\0+")
        #: The codes of an offset and of the number of entries, and the bytes of an entry.
        self._offset, number, entry_bytes = ("Q", "Q", 20) if is_big else ("L", "H", 12)
        start = struct.unpack_from(self._order + self._offset, head.ljust(16), 8 if is_big else 4)
        reader.seek(start[0])
        (count,) = self._numbers(number, 1)
        if not 0 < count <= _MAX_ENTRIES:
            raise Unreadable("The image is damaged.")
        entries = reader.read(count * entry_bytes)
        self.tags: dict[int, list[int]] = {}
        for at in range(0, len(entries), entry_bytes):
            reader.step()
            self._read_entry(entries[at : at + entry_bytes])

    def _read_entry(self, entry: bytes) -> None:
        tag, kind, count = struct.unpack_from(f"{self._order}2H{self._offset}", entry)
        code = _TYPES.get(kind)
        wanted = tag in (_WIDTH, _HEIGHT, _ORIENTATION, *_OFFSETS, *_COUNTS)
        if code is None or not wanted or not 0 < count <= _MAX_PARTS or tag in self.tags:
            return
        self._reader.step(count)
        place = entry[4 + struct.calcsize(f"={self._offset}") :]
        size = count * struct.calcsize(f"={code}")
        if size <= len(place):
            self.tags[tag] = list(struct.unpack_from(f"{self._order}{count}{code}", place))
        else:
            self._reader.seek(struct.unpack(self._order + self._offset, place)[0])
            self.tags[tag] = self._numbers(code, count)

    def _numbers(self, code: str, count: int) -> list[int]:
        layout = f"{self._order}{count}{code}"
        return list(struct.unpack(layout, self._reader.read(struct.calcsize(layout))))
