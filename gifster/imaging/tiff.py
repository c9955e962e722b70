"""Read the structure of a TIFF (TIFF 6.0, section 2): size and orientation of its first page, and
whether it is of a kind that Pillow reads."""

import struct
from typing import NamedTuple

from gifster.imaging.errors import Truncated, Unreadable, Unsupported
from gifster.imaging.reader import Reader

_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
_BITS, _COMPRESSION, _SAMPLES, _SAMPLE_FORMAT = 258, 259, 277, 339
#: The compressions that Pillow's libtiff reads: none, CCITT, LZW, JPEG (of two kinds),
#: deflate, PackBits, ThunderScan, LZMA and Zstandard.
_READ_COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34925, 50000}
#: The bits of a sample that Pillow reads, of one and of several samples a pixel; floating-point
#: numbers of 32 bits alone.
_READ_BITS, _READ_BITS_OF_SEVERAL, _FLOAT, _FLOAT_BITS = {1, 2, 4, 8, 12, 16, 32}, {8, 16}, 3, 32
#: Where the parts of the picture are, and how many bytes each has: of strips, and of tiles.
_OFFSETS, _COUNTS = (273, 324), (279, 325)
_WANTED = {
    _WIDTH, _HEIGHT, _ORIENTATION, _BITS, _COMPRESSION, _SAMPLES, _SAMPLE_FORMAT, *_OFFSETS,
    *_COUNTS,
}  # fmt: skip
#: The struct codes of the types of numbers that are needed, and of BigTIFF's.
_TYPES = {1: "B", 3: "H", 4: "L", 16: "Q"}
_MAX_ENTRIES, _MAX_PARTS = 4096, 1_000_000
#: What to do with one that is not read.
INSTEAD = "Save it as a PNG, or as a TIFF of 8 bits a sample with LZW compression."


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
      Unsupported: Pillow does not read this kind.
      Unreadable: the structure is wrong.
      OutOfSteps: there are more entries than the reader has steps.
    """
    tags = _Directory(reader).tags
    width, height = (tags.get(tag, [0])[0] for tag in (_WIDTH, _HEIGHT))
    if width < 1 or height < 1:
        raise Unreadable("The image is damaged.")
    _check_kind(tags)
    for offsets, counts in zip(_OFFSETS, _COUNTS, strict=True):
        parts = list(zip(tags.get(offsets, []), tags.get(counts, []), strict=False))
        reader.step(len(parts))
        if any(start + count > reader.size for start, count in parts):
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
    orientation = tags.get(_ORIENTATION, [1])[0]
    return Facts(width, height, orientation if 1 <= orientation <= 8 else 1)


def _check_kind(tags: dict[int, list[int]]) -> None:
    """Raises `Unsupported` if Pillow surely does not read pixels of this kind."""
    compression, bits = tags.get(_COMPRESSION, [1])[0], tags.get(_BITS, [1])
    # Pillow overlooks the bits of samples that there are not.
    bits = bits[: max(1, tags.get(_SAMPLES, [1])[0])]
    known = _READ_BITS if len(bits) == 1 else _READ_BITS_OF_SEVERAL
    is_odd_float = _FLOAT in tags.get(_SAMPLE_FORMAT, []) and set(bits) != {_FLOAT_BITS}
    if compression not in _READ_COMPRESSIONS:
        raise Unsupported(f"A TIFF of compression {compression} cannot be read here. {INSTEAD}")
    if bits[0] not in known or is_odd_float:
        shown = ", ".join(map(str, bits[:4]))
        raise Unsupported(f"A TIFF of {shown} bits a sample cannot be read here. {INSTEAD}")


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
        wanted = tag in _WANTED
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
