"""Reading a file's structure."""

from typing import BinaryIO

from gifster.uploads.errors import Truncated

BUFFER_BYTES = 256 * 1024


class Reader:
    """Reads exactly so many bytes, or raises `Truncated`."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def take(self, count: int) -> bytes:
        """The next bytes."""
        data = self.file.read(count)
        if len(data) < count:
            raise Truncated("The file is incomplete: it ends in the middle of the image.")
        return data

    def skip(self, count: int) -> None:
        """Pass over the next bytes."""
        while count > 0:
            count -= len(self.take(min(count, BUFFER_BYTES)))
