"""Read the structure of WebM: elements in elements (EBML, RFC 8794; Matroska, RFC 9559)."""

from collections.abc import Iterator

from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

#: The ids of elements (RFC 9559, 27): those that contain the wanted ones, and these.
_SEGMENT, _TRACKS, _TRACK, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_WIDTH, _HEIGHT = 0xB0, 0xBA
_CLUSTER = 0x1F43B675
_CONTAINERS = {_SEGMENT, _TRACKS, _TRACK, _VIDEO}
#: The size of a live stream's segment or cluster, whose end was not known (RFC 8794, 6.2).
UNKNOWN_SIZE = -1
_MAX_NUMBER_BYTES = 8


def read(reader: Reader) -> tuple[int, int]:
    """Width and height of the first picture track (pixels); 0 if the file does not tell.

    Raises:
      Truncated: the file is shorter than it says.
      Unreadable: the structure is wrong.
      OutOfSteps: there are more elements than the reader has steps.
    """
    width = height = 0
    for element, size in _elements(reader):
        if element == _WIDTH and not width:
            width = _number(reader, size)
        elif element == _HEIGHT and not height:
            height = _number(reader, size)
        elif element == _CLUSTER:
            break
        elif element not in _CONTAINERS:
            if size == UNKNOWN_SIZE:
                raise Unreadable("The file is damaged.")
            reader.skip(size)
        elif element == _SEGMENT and size != UNKNOWN_SIZE:
            end = reader.tell()
            reader.skip(size)
            reader.seek(end)
        if width and height:
            break
    return width, height


def _elements(reader: Reader) -> Iterator[tuple[int, int]]:
    while reader.tell() < reader.size:
        yield head(reader)


def head(reader: Reader) -> tuple[int, int]:
    """The id of the next element, and the size of its content (bytes), which the caller reads or
    skips. The size may be `UNKNOWN_SIZE`.

    Raises:
      Truncated, Unreadable: there is no element.
      OutOfSteps: the reader has no more steps.
    """
    reader.step(PART_STEPS)
    element, _ = _variable(reader, 4)
    size, bits = _variable(reader, 8)
    size &= (1 << bits) - 1
    return element, UNKNOWN_SIZE if size == (1 << bits) - 1 else size


def _variable(reader: Reader, most: int) -> tuple[int, int]:
    """A number whose first byte says by its leading zeros how long it is, with the bit that ends
    these zeros, and how many bits it has behind that one (RFC 8794, 4)."""
    first = reader.read(1)
    length = 9 - first[0].bit_length()
    if length > most:
        raise Unreadable("The file is damaged.")
    return int.from_bytes(first + reader.read(length - 1), "big"), 7 * length


def _number(reader: Reader, size: int) -> int:
    if not 0 <= size <= _MAX_NUMBER_BYTES:
        raise Unreadable("The file is damaged.")
    return int.from_bytes(reader.read(size), "big")
