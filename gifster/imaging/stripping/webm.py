"""WebM: elements of metadata become free space of the same size (Matroska, RFC 9559; EBML, RFC
8794).

Tags, attachments, chapters, titles, names of files and of tracks, and the date are metadata. So is
what free space contains, and what is behind the segment. A checksum of what was changed goes, too.
The clusters of a live stream, whose size is not known, are read block by block.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gifster.imaging import ebml
from gifster.imaging.errors import Truncated
from gifster.imaging.reader import Reader
from gifster.imaging.stripping.pieces import Pieces

#: The ids of elements (RFC 9559, 27): those that contain metadata, and metadata.
_SEGMENT, _INFO, _TRACKS, _TRACK, _CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0x1F43B675
_CONTAINERS = {_SEGMENT, _INFO, _TRACKS, _TRACK}
_UNWANTED = {
    0x1254C367, 0x1941A469, 0x1043A770, 0x7BA9, 0x4461,  # tags, attachments, chapters, title, date
    0x73A4, 0x7384, 0x3CB923, 0x3C83AB, 0x3EB923, 0x3E83BB, 0x4444,  # files beside it
    0x536E, 0x258688, 0xBF,  # names of a track and of its codec, checksums
}  # fmt: skip
_FREE, _VOID = 0xEC, b"\xec"
_MAX_FREE_BYTES = 1_000_000
#: Up to so many bytes, the size of an element has one byte; else it has eight here.
_SHORT = 127


class _Element(NamedTuple):
    id: int
    start: int
    end: int


def strip(reader: Reader) -> Pieces:
    """The file with free space for its metadata, up to the end of its segment."""
    pieces, at = Pieces(), 0
    walk = _Walk(reader)
    for element in walk.unwanted():
        pieces.keep(at, element.start)
        size = element.end - element.start
        head = _void(size)
        pieces.add(head)
        pieces.blank(size - len(head))
        at = element.end
    pieces.keep(at, walk.end)
    return pieces


def _void(size: int) -> bytes:
    """The head of an element of free space that takes so many bytes in all."""
    if size - 2 < _SHORT:
        return _VOID + bytes([0x80 | size - 2])
    return _VOID + b"\x01" + (size - 9).to_bytes(7, "big")


class _Walk:
    """Goes through the elements of a file.

    Attributes:
      end: where the segment ends; until it is found, where the file ends.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.end = reader.size

    def unwanted(self) -> Iterator[_Element]:
        """The elements of metadata."""
        reader = self._reader
        reader.seek(0)
        while reader.tell() < self.end:
            start = reader.tell()
            element, size = ebml.head(reader)
            end = reader.tell() + size
            if size != ebml.UNKNOWN_SIZE and end > self.end:
                raise Truncated("The file is incomplete: it ends in the middle of the video.")
            if element == _SEGMENT and size > 0:
                self.end = end
            if element in _CONTAINERS or (element == _CLUSTER and size == ebml.UNKNOWN_SIZE):
                continue
            if size == ebml.UNKNOWN_SIZE:
                return
            if element in _UNWANTED or (element == _FREE and not self._is_blank(size)):
                yield _Element(element, start, end)
            reader.seek(end)

    def _is_blank(self, size: int) -> bool:
        """Whether the next bytes are zeros. A large part is blanked again."""
        return size <= _MAX_FREE_BYTES and not self._reader.read(size).strip(b"\0")
