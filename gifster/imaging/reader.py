"""Reading a file's structure, window by window, and counting what that costs.

A file may be nothing but structure: millions of parts of a few bytes. So a reader has a number of
steps, and reading ends when they are spent.
"""

import re
from typing import BinaryIO

from gifster.imaging.errors import Truncated

#: How much of a file is in memory at once.
WINDOW_BYTES = 64 * 1024
#: What reading one part costs (a GIF's block, a PNG's chunk, a JPEG's segment, a box), in steps. A
#: step is what it takes to pass over one sub-block of a GIF, some 75 ns of Python.
PART_STEPS = 12


class StepsSpent(Exception):
    """The file has more parts than there are steps to read them."""


class Reader:
    """Reads exactly so many bytes, or raises `Truncated`.

    Parameters:
      file: open for reading, and seekable.
      most_steps: how many steps there are; None is as many as it takes.
    """

    def __init__(self, file: BinaryIO, most_steps: int | None = None) -> None:
        self._file = file
        #: How many bytes the file has.
        self.size = file.seek(0, 2)
        self._counts = most_steps is not None
        self._left = most_steps or 0
        self._window, self._start, self._at = b"", 0, 0

    def step(self, count: int = PART_STEPS) -> None:
        """Count steps.

        Raises:
          StepsSpent: they are more than there were.
        """
        self._left -= count
        if self._left < 0 and self._counts:
            raise StepsSpent

    def tell(self) -> int:
        """Where the next byte is in the file."""
        return self._start + self._at

    def go_to(self, offset: int) -> None:
        """Go on reading there.

        Raises:
          Truncated: the file ends before.
        """
        if offset > self.size:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
        if self._start <= offset <= self._start + len(self._window):
            self._at = offset - self._start
        else:
            self._window, self._start, self._at = b"", offset, 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        end = self._at + count
        if end > len(self._window):
            self._fill(count)
            end = count
        data = self._window[self._at : end]
        self._at = end
        return data

    def skip(self, count: int) -> None:
        """Pass over the next bytes."""
        self.go_to(self.tell() + count)

    def find(self, what: bytes) -> bool:
        """Go to the next place where these bytes are; to the end of the file if there is none.

        Returns:
          whether there is one.
        """
        while self.tell() + len(what) <= self.size:
            if self._at + len(what) > len(self._window):
                self._fill(len(what))
            at = self._window.find(what, self._at)
            if at >= 0:
                self._at = at
                return True
            # It may have begun at the end of the window.
            self._at = max(self._at, len(self._window) - len(what)) + 1
        self.go_to(self.size)
        return False

    def skip_all(self, pattern: "re.Pattern[bytes]") -> None:
        """Pass over all bytes that match a pattern of one byte, repeated."""
        while self._has_more():
            found = pattern.match(self._window, self._at)
            if found is None:
                return
            self._at = found.end()

    def _has_more(self) -> bool:
        """Whether there is a next byte, which is in memory then."""
        if self.tell() >= self.size:
            return False
        if self._at >= len(self._window):
            self._fill(1)
        return True

    def skip_sub_blocks(self) -> None:
        """Pass over pieces that begin with their length in one byte, and over the empty one that is
        the last (GIF89a, 15 and 16); a step each."""
        left = self._left
        while True:
            window, at = self._window, self._at
            try:
                while size := window[at]:
                    at += size + 1
                    left -= 1
            except IndexError:
                self._left = left
                self.step(1)
                self.go_to(self._start + at)
                self._fill(1)
                left = self._left
                continue
            self._at, self._left = at + 1, left
            self.step(1)
            return

    def _fill(self, count: int) -> None:
        """Have so many bytes from here on in memory, or more."""
        offset = self.tell()
        if offset + count > self.size:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
        self._file.seek(offset)
        self._window = self._file.read(max(count, WINDOW_BYTES))
        self._start, self._at = offset, 0
        if len(self._window) < count:  # it was made shorter meanwhile
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
