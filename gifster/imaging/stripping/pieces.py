"""Pieces: what is kept of a file, as ranges of its bytes and new bytes between them."""

import io
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: How much of a file is copied at a time (bytes).
PIECE_BYTES = 128 * 1024
_ZEROS = bytes(4096)


class Pieces:
    """What is kept of a file, in its order."""

    def __init__(self) -> None:
        #: Ranges of the file (from, to), and new bytes.
        self._parts: list[tuple[int, int] | bytes] = []
        #: Whether nothing is left out or changed; known after `check()`.
        self.are_all = False
        #: Whether EXIF says that the picture is to be turned.
        self.are_turned = False

    def keep(self, start: int, end: int) -> None:
        """Keep the file's bytes from `start` to `end`."""
        last = self._parts[-1] if self._parts else b""
        if isinstance(last, tuple) and last[1] == start:
            self._parts[-1] = (last[0], end)
        elif start < end:
            self._parts.append((start, end))

    def add(self, content: bytes) -> None:
        """Add new bytes."""
        self._parts.append(content)

    def blank(self, count: int) -> None:
        """Add so many zeros."""
        for _ in range(count // len(_ZEROS)):
            self._parts.append(_ZEROS)
        self.add(_ZEROS[: count % len(_ZEROS)])

    def check(self, size: int) -> None:
        """Find out whether these are all bytes of the file, whose size (bytes) this is."""
        self.are_all = self._parts == [(0, size)]

    def keep_rest(self, start: int, end: int) -> None:
        """Forget what is kept behind `start`, and keep everything from there to `end`."""
        while self._parts and isinstance(last := self._parts[-1], tuple) and last[1] > start:
            self._parts.pop()
            self.keep(last[0], start)
            if last[0] < start:
                break
        self.keep(start, end)

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return sum(map(_length, self._parts))

    def after_beginning(self) -> "tuple[int, Pieces]":
        """How many of the file's first bytes stay where they are, and what is kept behind them."""
        rest, size = Pieces(), 0
        rest._parts = self._parts
        if self._parts and isinstance(first := self._parts[0], tuple) and first[0] == 0:
            size, rest._parts = first[1], self._parts[1:]
        return size, rest

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """The content, read from the file, some hundred kilobytes at a time."""
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
                continue
            start, end = part
            file.seek(start)
            while start < end and (piece := file.read(min(PIECE_BYTES, end - start))):
                yield piece
                start += len(piece)

    def write(self, file: BinaryIO, target: Path) -> None:
        """Write the content, read from the file, to a path."""
        with target.open("wb") as copy:
            for piece in self.read(file):
                copy.write(piece)

    def open(self, file: BinaryIO) -> BinaryIO:
        """The content as a file to read, which reads from the given one."""
        return io.BufferedReader(_View(self._parts, file), PIECE_BYTES)


class _View(io.RawIOBase):
    """The parts of a file, one after the other, as a file."""

    def __init__(self, parts: list[tuple[int, int] | bytes], file: BinaryIO) -> None:
        self._parts, self._file, self._at = parts, file, 0
        #: Where each part begins.
        self._starts = [0]
        for part in parts:
            self._starts.append(self._starts[-1] + _length(part))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read into a buffer, up to the end of a part."""
        wanted = memoryview(buffer).cast("B")
        number = bisect_right(self._starts, self._at) - 1
        if number >= len(self._parts):
            return 0
        part, within = self._parts[number], self._at - self._starts[number]
        if isinstance(part, bytes):
            piece = part[within : within + len(wanted)]
        else:
            self._file.seek(part[0] + within)
            piece = self._file.read(min(len(wanted), part[1] - part[0] - within))
        wanted[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _length(part: tuple[int, int] | bytes) -> int:
    return len(part) if isinstance(part, bytes) else part[1] - part[0]
