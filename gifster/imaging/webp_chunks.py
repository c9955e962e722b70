"""Read the structure of a WebP (RFC 9649): chunks with a kind and a length before them.

The checks are those of libwebp's demuxer, which Pillow uses. That demuxer needs the whole file in
memory, and keeps a record of each chunk. The compressed data of a picture is not checked here.
Browsers do not turn a WebP by its EXIF, so it is not read.
"""

import struct
from typing import NamedTuple

from gifster.imaging.delays import Timeline
from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

#: A chunk takes longer to read than the parts of other formats.
_CHUNK_STEPS = 2 * PART_STEPS
_HEAD = struct.Struct("<4sI")
_PICTURES = (b"VP8 ", b"VP8L")
_ANIMATION, _ALPHA, _ALL_FLAGS = 0x02, 0x10, 0x3E
#: The byte of a lossless picture's data with the bit that hints at transparency (RFC 9649, 3.4).
_HINT_AT, _HINT = 4, 0x10
#: The first bytes of a picture's data contain its size.
_PICTURE_HEAD_BYTES = 10


class Facts(NamedTuple):
    """Width and height of the picture (pixels), and how often an animation plays (0 for
    forever, None for a still)."""

    width: int
    height: int
    loop: int | None


class _Chunk(NamedTuple):
    kind: bytes
    size: int
    #: The offsets of its content and of the next chunk.
    start: int
    next: int


def read(reader: Reader, timeline: Timeline) -> Facts:
    """Read the facts of a file, and add its frames to the timeline.

    Raises:
      Truncated: the file ends in the middle.
      Unreadable: the structure is wrong.
      TooManyFrames: there are more frames than the timeline accepts.
      OutOfSteps: there are more chunks than the reader has steps.
    """
    return _Walk(reader, timeline).facts()


def missing_hint(reader: Reader) -> tuple[int, bytes] | None:
    """Where a file says that it has no transparency, and the byte that says that it may have some.

    Browsers overlook what the header of an animation (2.7.1) and a lossless still (3.4) say of it,
    and show the transparency that there is. libwebp believes it.

    Returns:
      the offset of a byte, and what it should be; None if nothing is to be changed.
    """
    reader.seek(12)
    while reader.size - reader.tell() > _HEAD.size + _HINT_AT:
        reader.step(_CHUNK_STEPS)
        kind, size = _HEAD.unpack(reader.read(_HEAD.size))
        start, content = reader.tell(), reader.read(_HINT_AT + 1)
        if kind == b"VP8X" and content[0] & _ANIMATION:
            return _said(start, content[0], _ALPHA)
        if kind == b"VP8L":
            return _said(start + _HINT_AT, content[_HINT_AT], _HINT)
        reader.seek(min(start + size + size % 2, reader.size))
    return None


def _said(at: int, byte: int, flag: int) -> tuple[int, bytes] | None:
    return None if byte & flag else (at, bytes([byte | flag]))


class _Walk:
    """One pass over the chunks of a file."""

    def __init__(self, reader: Reader, timeline: Timeline) -> None:
        self._reader, self._timeline = reader, timeline
        reader.seek(4)
        self._end = 8 + int.from_bytes(reader.read(4), "little")
        reader.skip(4)
        self._canvas: tuple[int, int] | None = None
        self._flags = 0
        self._loop: int | None = None
        self._has_picture = False

    def facts(self) -> Facts:
        while (chunk := self._next(self._end)) is not None:
            is_first = self._canvas is None
            self._read_chunk(chunk)
            self._go_past(chunk, self._end)
            if is_first and chunk.kind in _PICTURES:
                # Without the extended header it is this picture (2.5, 2.6), but has to be whole.
                if self._end - self._reader.tell() >= _HEAD.size:
                    self._reader.seek(self._end)
                break
        if self._canvas is None or not self._has_picture:
            raise Unreadable("The image is damaged.")
        return Facts(*self._canvas, self._loop)

    def _next(self, end: int) -> _Chunk | None:
        """The head of the next chunk; None at the end."""
        at = self._reader.tell()
        if end - at < _HEAD.size:
            return None
        self._reader.step(_CHUNK_STEPS)
        kind, size = _HEAD.unpack(self._reader.read(_HEAD.size))
        start = at + _HEAD.size
        if start + size > end:
            # If the file itself is too short, it is truncated rather than damaged.
            self._reader.seek(start + size)
            raise Unreadable("The image is damaged.")
        return _Chunk(kind, size, start, start + size + size % 2)

    def _go_past(self, chunk: _Chunk, end: int) -> None:
        """Go to the next chunk. Some encoders leave out the padding byte after the last one."""
        self._reader.seek(chunk.start + chunk.size)
        self._reader.seek(min(chunk.next, end, self._reader.size))

    def _read_chunk(self, chunk: _Chunk) -> None:
        first = self._canvas is None
        if first and chunk.kind == b"VP8X":
            self._read_header(chunk)
        elif chunk.kind in _PICTURES:
            self._read_picture(chunk, is_first=first)
        elif first or chunk.kind == b"VP8X":
            raise Unreadable("The image is damaged.")
        elif chunk.kind == b"ANIM":
            if chunk.size < 6:
                raise Unreadable("The image is damaged.")
            plays = int.from_bytes(self._reader.read(6)[4:], "little")
            self._loop = plays if self._loop is None else self._loop  # the first one counts
        elif chunk.kind == b"ANMF":
            self._read_frame(chunk)

    def _read_header(self, chunk: _Chunk) -> None:
        """Read the extended file header (VP8X)."""
        if chunk.size < 10:
            raise Unreadable("The image is damaged.")
        data = self._reader.read(10)
        self._flags = data[0]
        self._canvas = _uint24(data, 4) + 1, _uint24(data, 7) + 1
        if self._canvas[0] * self._canvas[1] >= 2**32 or self._flags & ~_ALL_FLAGS:
            raise Unreadable("The image is damaged.")

    def _read_picture(self, chunk: _Chunk, *, is_first: bool) -> None:
        """Read the size of a picture that is no frame of an animation."""
        if self._flags & _ANIMATION or self._loop is not None or self._has_picture:
            raise Unreadable("The image is damaged.")
        size = self._size(chunk)
        self._canvas = size if is_first else self._canvas
        self._has_picture = True
        if size != self._canvas:
            raise Unreadable("The image is damaged.")

    def _read_frame(self, chunk: _Chunk) -> None:
        """Read a frame of an animation (ANMF), which has chunks of its own.

        One without a picture is none.
        """
        if chunk.size < 16 or self._loop is None:
            raise Unreadable("The image is damaged.")
        delay_ms = _uint24(self._reader.read(16), 12)
        end = min(chunk.start + chunk.size, self._end)
        while (part := self._next(end)) is not None:
            if part.kind in _PICTURES:
                self._size(part)
                self._has_picture = True
                self._timeline.add(delay_ms)
                break
            self._go_past(part, end)

    def _size(self, chunk: _Chunk) -> tuple[int, int]:
        """The size that a picture's data begins with (RFC 6386, 9.1; RFC 9649, 3.4)."""
        data = self._reader.read(min(chunk.size, _PICTURE_HEAD_BYTES))
        if chunk.kind == b"VP8L":
            if len(data) < 5 or data[0] != 0x2F or data[4] >> 5:
                raise Unreadable("The image is damaged.")
            bits = int.from_bytes(data[1:5], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        frame = _uint24(data, 0) if len(data) == _PICTURE_HEAD_BYTES else 1
        is_hidden, is_key = not frame & 0x10, not frame & 1
        size = _uint14(data, 6), _uint14(data, 8)
        if (
            not is_key or is_hidden or frame >> 1 & 7 > 3 or frame >> 5 >= chunk.size
            or data[3:6] != b"\x9d\x01\x2a" or min(size) < 1
        ):  # fmt: skip
            raise Unreadable("The image is damaged.")
        return size


def _uint14(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little") & 0x3FFF


def _uint24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")
