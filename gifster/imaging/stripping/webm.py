"""WebM: elements of metadata become free space of the same size (Matroska, RFC 9559; EBML, RFC
8794).

Tags, attachments, the title and the date are metadata. A file of a live stream, whose segment or
clusters have no known size, is kept from there on.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gifster.imaging import ebml
from gifster.imaging.errors import Truncated
from gifster.imaging.reader import Reader
from gifster.imaging.stripping.pieces import Pieces

#: The ids of elements (RFC 9559, 27): those that contain metadata, and metadata.
_SEGMENT, _INFO = 0x18538067, 0x1549A966
_TAGS, _ATTACHMENTS, _TITLE, _DATE = 0x1254C367, 0x1941A469, 0x7BA9, 0x4461
_UNWANTED = {_TAGS, _ATTACHMENTS, _TITLE, _DATE}
_VOID = b"\xec"
#: Up to so many bytes, the size of an element has one byte; else it has eight here.
_SHORT = 127


class _Element(NamedTuple):
    id: int
    start: int
    end: int


def strip(reader: Reader) -> Pieces:
    """The file with free space for its metadata."""
    pieces, at = Pieces(), 0
    for element in _unwanted(reader):
        pieces.keep(at, element.start)
        size = element.end - element.start
        head = _void(size)
        pieces.add(head)
        pieces.blank(size - len(head))
        at = element.end
    pieces.keep(at, reader.size)
    return pieces


def _void(size: int) -> bytes:
    """The head of an element of free space that takes so many bytes in all."""
    if size - 2 < _SHORT:
        return _VOID + bytes([0x80 | size - 2])
    return _VOID + b"\x01" + (size - 9).to_bytes(7, "big")


def _unwanted(reader: Reader) -> Iterator[_Element]:
    reader.seek(0)
    while reader.tell() < reader.size:
        start = reader.tell()
        element, size = ebml.head(reader)
        if element in (_SEGMENT, _INFO):
            continue
        if size == ebml.UNKNOWN_SIZE:
            return
        end = reader.tell() + size
        if end > reader.size:
            raise Truncated("The file is incomplete: it ends in the middle of the video.")
        if element in _UNWANTED:
            yield _Element(element, start, end)
        reader.seek(end)
