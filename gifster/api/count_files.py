"""The files in which the processes of a web server count together, which survive a full disk.

`prometheus_client` maps its files into memory. A process that touches a page of such a file for
which the disk has no room dies by SIGBUS, and so does each one that is started in its place. Here
the counts are in memory, and each change is written, too. What cannot be written is written with
the next change that can.
"""

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import multiprocess, values
from prometheus_client.mmap_dict import MmapedDict

#: A file begins with the number of its used bytes, and padding.
_USED, _HEAD_BYTES = struct.Struct("i"), 8


class _Written(bytearray):
    """Bytes whose changes go into a file, too, as far as it can be written.

    Parameters:
      path: the file. It is opened when there is something to write.
      content: what it has.
    """

    def __init__(self, path: str, content: bytes) -> None:
        super().__init__(content)
        self._path = path
        self._file, self._is_whole = -1, False

    def __setitem__(self, place: slice, content: bytes) -> None:  # type: ignore[override]
        super().__setitem__(place, content)
        try:
            if self._is_whole:
                self._write(place.start, place.stop)
                return
            if self._file < 0:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            self._write(_HEAD_BYTES, len(self))
            self._write(0, _HEAD_BYTES)  # last: it tells how much there is to read
            self._is_whole = True
        except OSError:
            self._is_whole = False

    def _write(self, start: int, stop: int) -> None:
        if os.pwrite(self._file, self[start:stop], start) < stop - start:
            raise OSError("the disk is full")

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._file)
        self._file, self._is_whole = -1, False


class CountFile(MmapedDict):
    """A `MmapedDict` that maps nothing.

    Parameters:
      filename: the file. An earlier process with the same id may have written it.
    """

    def __init__(self, filename: str) -> None:
        content = bytes(_HEAD_BYTES)
        with suppress(OSError):
            content = Path(filename).read_bytes() or content
        self._m = _Written(filename, content)  # type: ignore[assignment]
        self._capacity = sys.maxsize  # a bytearray grows by itself
        self._used = max(_HEAD_BYTES, *_USED.unpack_from(content))
        self._positions = {key: place for key, _, _, place in self._read_all_values()}  # type: ignore[no-untyped-call]

    @staticmethod
    def read_all_values_from_file(filename: str) -> Iterator[tuple[str, float, float, int]]:
        """As `MmapedDict` does; nothing of a file into which nothing could be written yet."""
        if Path(filename).stat().st_size < _HEAD_BYTES:
            return iter(())
        read: Iterator[tuple[str, float, float, int]]
        read = MmapedDict.read_all_values_from_file(filename)  # type: ignore[no-untyped-call]
        return read

    def close(self) -> None:
        self._m.close()


def use_count_files() -> None:
    """Have `prometheus_client` count in these files, in the folder that its environment variable
    names. Call it before anything is counted."""
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
    values.MmapedDict = CountFile  # type: ignore[assignment, attr-defined]
    multiprocess.MmapedDict = CountFile  # type: ignore[assignment, attr-defined]
