"""Read the structure of a file window by window, in a bounded number of steps.

A hostile file may be nothing but structure: millions of parts of a few bytes each. So every part
costs steps, and reading ends when the reader runs out of them.
"""

import re
from typing import BinaryIO

from gifster.imaging.errors import Truncated

#: How much of a file is in memory at a time. Each read gives Python's lock up. From 128 KiB on, the
#: C library may ask the system for each window anew, which takes as long as reading it.
WINDOW_BYTES = 120 * 1024
#: The price of one part (a GIF's block, a PNG's chunk, a JPEG's segment, a box), in steps. One step
#: is the time to skip one sub-block of a GIF, some 75 ns of Python.
PART_STEPS = 12


#: Sub-blocks of 255 bytes, of which GIFs mostly consist: 16 at a time, as that is quicker, then the
#: rest. Being possessive, it never goes back.
_FULL_SUB_BLOCKS = re.compile(rb"(?s:(?:\xff.{255}){16})*+(?s:\xff.{255})*+")


class OutOfSteps(Exception):
    """The file has more parts than the reader has steps for."""


class Reader:
    """Reads exactly the bytes that are asked for, or raises `Truncated`.

    Parameters:
      file: open for reading, and seekable.
      max_steps: how many steps there are; None means any number.
    """

    def __init__(self, file: BinaryIO, max_steps: int | None = None) -> None:
        self._file = file
        #: The size of the file (bytes).
        self.size = file.seek(0, 2)
        self._counts = max_steps is not None
        self._left = max_steps or 0
        self._window, self._start, self._at = b"", 0, 0

    def step(self, count: int = PART_STEPS) -> None:
        """Spend steps.

        Raises:
          OutOfSteps: there were fewer.
        """
        self._left -= count
        if self._left < 0 and self._counts:
            raise OutOfSteps

    def part(self, steps: int = PART_STEPS) -> None:
        """Say that a part begins at the next byte, and spend its steps.

        Raises:
          OutOfSteps: there were fewer.
        """
        self.step(steps)

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._start + self._at

    def seek(self, offset: int) -> None:
        """Go to an offset.

        Raises:
          Truncated: the file is shorter.
        """
        if offset > self.size:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
        if self._start <= offset <= self._start + len(self._window):
            self._at = offset - self._start
        else:
            self._window, self._start, self._at = b"", offset, 0

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._at + count
        if end > len(self._window):
            self._fill(count)
            end = count
        data = self._window[self._at : end]
        self._at = end
        return data

    def skip(self, count: int) -> None:
        """Skip the next `count` bytes."""
        self.seek(self.tell() + count)

    def find(self, wanted: bytes) -> bool:
        """Go to the next occurrence of some bytes, or to the end of the file.

        Returns:
          whether they occur.
        """
        return self.find_match(re.compile(re.escape(wanted)), len(wanted))

    def find_match(self, pattern: "re.Pattern[bytes]", length: int) -> bool:
        """Go to the next match of a pattern, or to the end of the file.

        Parameters:
          length: of what matches (bytes).

        Returns:
          whether there is a match.
        """
        while self.tell() + length <= self.size:
            if self._at + length > len(self._window):
                self._fill(length)
            found = pattern.search(self._window, self._at)
            if found is not None:
                self._at = found.start()
                return True
            # It may begin at the end of the window.
            self._at = max(self._at, len(self._window) - length) + 1
        self.seek(self.size)
        return False

    def skip_matching(self, pattern: "re.Pattern[bytes]") -> None:
        """Skip all bytes that match a pattern: one byte, repeated."""
        while self._has_more():
            found = pattern.match(self._window, self._at)
            if found is None:
                return
            self._at = found.end()

    def _has_more(self) -> bool:
        """Whether there is a next byte; if so, load it into the window."""
        if self.tell() >= self.size:
            return False
        if self._at >= len(self._window):
            self._fill(1)
        return True

    def skip_sub_blocks(self) -> None:
        """Skip sub-blocks, which begin with their length in one byte, including the empty last one
        (GIF89a, 15 and 16). Each costs a step."""
        left = self._left
        while True:
            window, at = self._window, self._at
            if (found := _FULL_SUB_BLOCKS.match(window, at)) is not None:
                left -= (found.end() - at) // 256
                at = found.end()
            try:
                while size := window[at]:
                    at += size + 1
                    left -= 1
            except IndexError:
                self._left = left
                self.step(1)
                self.seek(self._start + at)
                self._fill(1)
                left = self._left
                continue
            self._at, self._left = at + 1, left
            self.step(1)
            return

    def _fill(self, count: int) -> None:
        """Load at least `count` bytes from here on into the window."""
        offset = self.tell()
        if offset + count > self.size:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
        self._file.seek(offset)
        self._window = self._file.read(max(count, WINDOW_BYTES))
        self._start, self._at = offset, 0
        if len(self._window) < count:  # it was truncated meanwhile
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
