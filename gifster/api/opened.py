"""Files that are open to be served: below a folder, or in a storage."""

import errno
import hashlib
import io
import os
import stat
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Protocol

import falcon

from gifster.api.conditional import Validators
from gifster.uploads.storage.base import Storage, StorageUnavailable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: Without O_NONBLOCK, opening a FIFO waits for a writer.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: The path leads nowhere, or to a link, a socket or a device.
_NOT_FOUND = {
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENAMETOOLONG, errno.ENXIO,
    errno.ENODEV,
}  # fmt: skip


class Opened(Protocol):
    """An open file."""

    validators: Validators

    @property
    def size(self) -> int | None:
        """In bytes; None if nobody knows. Then it is read from its beginning to its end."""

    def read(self, size: int, at: int) -> bytes:
        """Up to `size` bytes from the byte `at` on; empty at the end."""

    def close(self) -> None:
        """Close it."""


class LocalFile:
    """A regular file on this machine."""

    def __init__(self, file: FileIO, found: os.stat_result) -> None:
        self._file, self.size = file, found.st_size
        modified = datetime.fromtimestamp(int(found.st_mtime), UTC)
        self.validators = Validators(f'"{found.st_mtime_ns:x}-{found.st_size:x}"', modified)

    def read(self, size: int, at: int) -> bytes:
        return os.pread(self._file.fileno(), size, at)

    def close(self) -> None:
        self._file.close()


class StorageFile:
    """A file of any storage. The content of a key never changes, so the key is its entity tag."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self._file, self._at = file, 0
        seekable = hasattr(file, "seekable") and file.seekable()
        self.size = file.seek(0, io.SEEK_END) if seekable else None
        self._at = self.size or 0
        self.validators = Validators(f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"', None)

    def read(self, size: int, at: int) -> bytes:
        if at != self._at:
            self._file.seek(at)
        piece = self._file.read(size)
        self._at = at + len(piece)
        return piece

    def close(self) -> None:
        self._file.close()


def open_stored(storage: Storage, key: str) -> StorageFile:
    """Open a file of a storage.

    Raises:
      HTTPNotFound: there is no such file.
      StorageUnavailable
    """
    try:
        file = storage.open(key)
    except (FileNotFoundError, IsADirectoryError):
        raise falcon.HTTPNotFound from None
    except OSError as error:
        raise StorageUnavailable(f"{key}: {error.strerror}") from error
    return StorageFile(file, key)


def open_below(folder: Path, key: str, *, follow_links: bool) -> LocalFile:
    """Open a regular file below a folder, segment by segment, so that nobody can swap in a link.

    Raises:
      HTTPNotFound: there is no such file.
      StorageUnavailable: it cannot be opened.
    """
    *folders, name = key.split("/")
    flags = 0 if follow_links else os.O_NOFOLLOW
    try:
        at = os.open(folder, _FOLDER)
        try:
            for segment in folders:
                below = os.open(segment, _FOLDER | flags, dir_fd=at)
                os.close(at)
                at = below
            file = os.open(name, _FILE | flags, dir_fd=at)
        finally:
            os.close(at)
    except OSError as error:
        if error.errno in _NOT_FOUND:
            raise falcon.HTTPNotFound from None
        raise StorageUnavailable(f"{key}: {error.strerror}") from error
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode):
        return LocalFile(FileIO(file), found)
    os.close(file)
    raise falcon.HTTPNotFound
