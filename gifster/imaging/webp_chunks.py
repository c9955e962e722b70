"""The structure of a WebP (RFC 9649): chunks, each with its kind and length before it.

Checked as libwebp's demuxer does, which Pillow uses, and which is given whole files in memory, and
keeps a note of each chunk. What is in a picture's data is not looked at.
"""

import struct
from typing import NamedTuple

from gifster.imaging import orientation
from gifster.imaging.delays import Timeline
from gifster.imaging.errors import Unreadable
from gifster.imaging.reader import PART_STEPS, Reader

#: There is more to do for one than in other types.
_CHUNK_STEPS = 2 * PART_STEPS
_HEAD = struct.Struct("<4sI")
_PICTURES = (b"VP8 ", b"VP8L")
_ANIMATION, _ALL_FLAGS = 0x02, 0x3E
#: So much of a picture's data says how large it is.
_PICTURE_HEAD = 10


class Facts(NamedTuple):
    """Width and height as it is to be seen (pixels), and how often an animation plays (0 for ever),
    None where that is not said."""

    width: int
    height: int
    loop: int | None


class _Chunk(NamedTuple):
    kind: bytes
    size: int
    #: Where its content begins, and where the next chunk does.
    start: int
    next: int


def read(reader: Reader, timeline: Timeline) -> Facts:
    """Read the facts of a file, and count its frames.

    Raises:
      Truncated: it ends in the middle.
      Unreadable: its structure is wrong.
      TooManyFrames: it has more than the timeline takes.
      StepsSpent: it has more chunks than the reader has steps.
    """
    return _Walk(reader, timeline).facts()


class _Walk:
    """One pass over the chunks of a file."""

    def __init__(self, reader: Reader, timeline: Timeline) -> None:
        self._reader, self._timeline = reader, timeline
        reader.go_to(4)
        self._end = 8 + int.from_bytes(reader.take(4), "little")
        reader.skip(4)
        self._canvas: tuple[int, int] | None = None
        self._flags = 0
        self._loop: int | None = None
        self._exif: bytes | None = None
        self._has_picture = False

    def facts(self) -> Facts:
        while (chunk := self._next(self._end)) is not None:
            self._look_at(chunk)
            self._leave(chunk, self._end)
        if self._canvas is None or not self._has_picture:
            raise Unreadable("The image is damaged.")
        return Facts(*orientation.upright_size(*self._canvas, self._exif or b""), self._loop)

    def _next(self, end: int) -> _Chunk | None:
        """The head of the chunk here, if there is one before the end."""
        at = self._reader.tell()
        if end - at < _HEAD.size:
            return None
        self._reader.step(_CHUNK_STEPS)
        kind, size = _HEAD.unpack(self._reader.take(_HEAD.size))
        start = at + _HEAD.size
        if start + size > end:
            # Of the file, or only of what it says is its end?
            self._reader.go_to(start + size)
            raise Unreadable("The image is damaged.")
        return _Chunk(kind, size, start, start + size + size % 2)

    def _leave(self, chunk: _Chunk, end: int) -> None:
        """Go to where the next chunk is. Writers differ on whether the padding byte of the last one
        is there."""
        self._reader.go_to(chunk.start + chunk.size)
        self._reader.go_to(min(chunk.next, end, self._reader.size))

    def _look_at(self, chunk: _Chunk) -> None:
        first = self._canvas is None
        if first and chunk.kind == b"VP8X":
            self._begin(chunk)
        elif chunk.kind in _PICTURES:
            self._see_picture(chunk, is_first=first)
        elif first or chunk.kind == b"VP8X":
            raise Unreadable("The image is damaged.")
        elif chunk.kind == b"ANIM":
            if chunk.size < 6:
                raise Unreadable("The image is damaged.")
            self._loop = int.from_bytes(self._reader.take(6)[4:], "little")
        elif chunk.kind == b"ANMF":
            self._see_frame(chunk)
        elif chunk.kind == b"EXIF" and self._exif is None:
            fits = chunk.size <= orientation.MOST_BYTES
            self._exif = self._reader.take(chunk.size) if fits else b""

    def _begin(self, chunk: _Chunk) -> None:
        """7: the extended file header."""
        if chunk.size < 10:
            raise Unreadable("The image is damaged.")
        data = self._reader.take(10)
        self._flags = data[0]
        self._canvas = _triple(data, 4) + 1, _triple(data, 7) + 1
        if self._canvas[0] * self._canvas[1] >= 2**32 or self._flags & ~_ALL_FLAGS:
            raise Unreadable("The image is damaged.")

    def _see_picture(self, chunk: _Chunk, *, is_first: bool) -> None:
        """A picture beside frames, or the only one."""
        if self._flags & _ANIMATION or self._loop is not None or self._has_picture:
            raise Unreadable("The image is damaged.")
        size = self._size(chunk)
        self._canvas = size if is_first else self._canvas
        self._has_picture = True
        if size != self._canvas:
            raise Unreadable("The image is damaged.")

    def _see_frame(self, chunk: _Chunk) -> None:
        """8: a frame, which has chunks of its own."""
        if chunk.size < 16 or self._loop is None:
            raise Unreadable("The image is damaged.")
        self._timeline.add(_triple(self._reader.take(16), 12))
        end = min(chunk.start + chunk.size, self._end)
        while (part := self._next(end)) is not None:
            if part.kind in _PICTURES:
                self._size(part)
                self._has_picture = True
                break
            self._leave(part, end)

    def _size(self, chunk: _Chunk) -> tuple[int, int]:
        """What the head of a picture's data says (RFC 6386, 9.1; RFC 9649, 3.4)."""
        data = self._reader.take(min(chunk.size, _PICTURE_HEAD))
        if chunk.kind == b"VP8L":
            if len(data) < 5 or data[0] != 0x2F or data[4] >> 5:
                raise Unreadable("The image is damaged.")
            bits = int.from_bytes(data[1:5], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        frame = _triple(data, 0) if len(data) == _PICTURE_HEAD else 1
        is_hidden, is_key = not frame & 0x10, not frame & 1
        size = int.from_bytes(data[6:8], "little") & 0x3FFF, _height(data)
        if (
            not is_key or is_hidden or frame >> 1 & 7 > 3 or frame >> 5 >= chunk.size
            or data[3:6] != b"\x9d\x01\x2a" or min(size) < 1
        ):  # fmt: skip
            raise Unreadable("The image is damaged.")
        return size


def _height(data: bytes) -> int:
    return int.from_bytes(data[8:10], "little") & 0x3FFF


def _triple(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")
