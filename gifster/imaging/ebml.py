"""Read the structure of WebM: elements in elements (EBML, RFC 8794; Matroska, RFC 9559)."""

from collections.abc import Iterator

from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

#: The ids of elements (RFC 9559, 27): those that contain the wanted ones, and these.
_SEGMENT, _TRACKS, _TRACK, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_WIDTH, _HEIGHT = 0xB0, 0xBA
_CLUSTER = 0x1F43B675
_CONTAINERS = {_SEGMENT, _TRACKS, _TRACK, _VIDEO}
#: What a live stream's segment says, whose end was not known.
_UNKNOWN_SIZE = (1 << 56) - 1
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
        elif element not in _CONTAINERS:
            reader.skip(size)
        elif element == _SEGMENT and size != _UNKNOWN_SIZE:
            end = reader.tell()
            reader.skip(size)
            reader.seek(end)
        if (width and height) or element == _CLUSTER:
            break
    return width, height


def _elements(reader: Reader) -> Iterator[tuple[int, int]]:
    """Each element's id, and the size of its content (bytes), which the caller reads or skips."""
    while reader.tell() < reader.size:
        reader.step(PART_STEPS)
        element = _variable(reader, 4, keep_marker=True)
        yield element, _variable(reader, 8, keep_marker=False)


def _variable(reader: Reader, most: int, *, keep_marker: bool) -> int:
    """A number whose first byte says by its leading zeros how long it is (RFC 8794, 4)."""
    first = reader.read(1)[0]
    length = 9 - first.bit_length()
    if length > most:
        raise Unreadable("The file is damaged.")
    head = first if keep_marker else first & ((1 << (8 - length)) - 1)
    return int.from_bytes(bytes([head]) + reader.read(length - 1), "big")


def _number(reader: Reader, size: int) -> int:
    if size > _MAX_NUMBER_BYTES:
        raise Unreadable("The file is damaged.")
    return int.from_bytes(reader.read(size), "big")
