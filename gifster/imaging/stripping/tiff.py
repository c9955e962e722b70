"""TIFF: its metadata is blanked where it is (TIFF 6.0, section 2).

The tags that describe the pixels stay, in directories that are as long as before. What other tags
say becomes zeros: camera, place, author, dates, XMP, IPTC, and EXIF as a whole.
"""

import struct
from collections.abc import Iterator

from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.reader import PART_STEPS, Reader
from gifster.imaging.stripping.pieces import Pieces

#: The bytes of a value, by its type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
#: What decoders need: baseline tags, strips and tiles, compression, colours, profile, JPEG tables.
NEEDED = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 282,
    283, 284, 290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330,
    332, 334, 336, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530,
    531, 532, 34675,
}  # fmt: skip
_SUB_DIRECTORIES = 330
#: Where the parts of the pixels are, and how many bytes each has: strips, tiles, one JPEG.
_PARTS = ((273, 279), (324, 325), (513, 514))
_PLACES = {tag for pair in _PARTS for tag in pair}
#: Tags that point to directories of metadata: EXIF, place, interoperability.
_DIRECTORIES_OF_METADATA = {34665, 34853, 40965}
_ENTRY = 12
_MAX_DIRECTORIES, _MAX_ENTRIES = 10_000, 4_096


def strip(reader: Reader) -> Pieces:
    """The file with blanks for its metadata."""
    return _Walk(reader).pieces()


class _Walk:
    """Goes through the directories of a file."""

    def __init__(self, reader: Reader) -> None:
        reader.seek(0)
        head = reader.read(8)
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
        if order is None:  # such as BigTIFF
            raise Unreadable("The metadata of the TIFF cannot be taken out: save it as a PNG.")
        self._reader, self._order = reader, order
        self._next = [struct.unpack(f"{order}L", head[4:])[0]]
        self._seen: set[int] = set()
        #: New bytes by their offset, and ranges that become zeros.
        self._new: dict[int, bytes] = {}
        self._zeros: list[tuple[int, int]] = []
        #: Ranges that stay, whatever damaged metadata says: header, directories, needed values.
        self._needed: list[tuple[int, int]] = [(0, 8)]

    def pieces(self) -> Pieces:
        while self._next:
            at = self._next.pop()
            if at and at not in self._seen:
                self._seen.add(at)
                if len(self._seen) > _MAX_DIRECTORIES:
                    raise Unreadable("The TIFF is damaged: it has too many directories.")
                try:
                    self._read_directory(at)
                except Truncated:  # browsers and decoders show the first page only
                    if len(self._seen) == 1:
                        raise
        return self._assembled()

    def _read_directory(self, at: int) -> None:
        """Keep the needed entries of a directory, one after the other, and blank the others."""
        reader, order = self._reader, self._order
        reader.seek(at)
        (count,) = struct.unpack(f"{order}H", reader.read(2))
        if count > _MAX_ENTRIES:
            raise Unreadable("The TIFF is damaged: a directory has too many entries.")
        reader.step(PART_STEPS * (count + 1))
        entries = reader.read(_ENTRY * count)
        following = reader.read(min(4, reader.size - reader.tell())).ljust(4, b"\0")
        self._needed.append((at, at + 2 + len(entries) + 4))
        self._next.append(struct.unpack(f"{order}L", following)[0])
        kept, places = [], {}
        for start in range(0, len(entries), _ENTRY):
            entry = entries[start : start + _ENTRY]
            tag, kind, number, value = struct.unpack(f"{order}HHLL", entry)
            size = _SIZES.get(kind, 1) * number
            if size > 4 and value + size > reader.size:
                if tag in NEEDED:
                    raise Truncated("The file is incomplete: it ends in the middle of the image.")
                size = 0
            if tag in NEEDED:
                kept.append(entry)
                if size > 4:
                    self._needed.append((value, value + size))
                if tag in _PLACES:
                    places[tag] = self._integers(entry)
                if tag == _SUB_DIRECTORIES:
                    self._next += self._numbers(value, number) if size > 4 else [value]
            elif tag in _DIRECTORIES_OF_METADATA:
                self._blank_directory(value)
            elif size > 4:
                self._zeros.append((value, value + size))
        for offsets, sizes in _PARTS:
            parts = zip(places.get(offsets, ()), places.get(sizes, ()), strict=False)
            self._needed += [(start, start + size) for start, size in parts]
        if len(kept) < count:
            whole = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + following
            self._new[at] = whole.ljust(len(entries) + 6, b"\0")

    def _blank_directory(self, at: int) -> None:
        """Blank a directory of metadata, and what its entries say. A damaged one is left alone."""
        reader, order = self._reader, self._order
        if at in self._seen or at + 2 > reader.size:
            return
        self._seen.add(at)
        reader.seek(at)
        (count,) = struct.unpack(f"{order}H", reader.read(2))
        end = min(at + 2 + _ENTRY * count + 4, reader.size)
        reader.step(PART_STEPS * (count + 1))
        entries = reader.read(end - at - 2)
        self._zeros.append((at, end))
        for start in range(0, len(entries) - _ENTRY + 1, _ENTRY):
            tag, kind, number, value = struct.unpack_from(f"{order}HHLL", entries, start)
            size = _SIZES.get(kind, 1) * number
            if tag in _DIRECTORIES_OF_METADATA:
                self._blank_directory(value)
            elif size > 4 and value + size <= reader.size:
                self._zeros.append((value, value + size))

    def _numbers(self, at: int, count: int) -> list[int]:
        self._reader.seek(at)
        count = min(count, _MAX_DIRECTORIES)
        return list(struct.unpack(f"{self._order}{count}L", self._reader.read(4 * count)))

    def _integers(self, entry: bytes) -> list[int]:
        """The values of an entry of whole numbers."""
        _, kind, count, value = struct.unpack(f"{self._order}HHLL", entry)
        code, size = {3: "H", 4: "L"}.get(kind, ""), _SIZES.get(kind, 1) * count
        if not code:
            return []
        self._reader.step(count)
        if size > 4:
            self._reader.seek(value)
        values = self._reader.read(size) if size > 4 else entry[8 : 8 + size]
        return list(struct.unpack(f"{self._order}{count}{code}", values))

    def _unneeded(self) -> Iterator[tuple[int, int]]:
        """The ranges that become zeros, without what is needed."""
        needed = sorted(self._needed)
        number = done = 0
        for start, end in sorted(self._zeros):
            at = max(start, done)
            while at < end and number < len(needed):
                begins, ends = needed[number]
                if begins >= end:
                    break
                if at < begins:
                    yield at, begins
                at = max(at, ends)
                number += ends <= end
                if ends > end:
                    break
            if at < end:
                yield at, end
            done = max(done, at, end)

    def _assembled(self) -> Pieces:
        pieces, at = Pieces(), 0
        changes = [(start, start + len(new), new) for start, new in self._new.items()]
        changes += [(start, end, b"") for start, end in self._unneeded()]
        for start, end, new in sorted(changes):
            if end <= at:
                continue
            pieces.keep(at, max(at, start))
            if new and start >= at:
                pieces.add(new)
            else:
                pieces.blank(end - max(at, start))
            at = end
        pieces.keep(at, self._reader.size)
        return pieces
