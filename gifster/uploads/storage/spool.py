"""Writes a new file of any storage piece by piece, although most storages take whole files only."""

from pathlib import Path
from typing import Protocol

from gifster.uploads.storage.base import Storage
from gifster.uploads.storage.local import LocalStorage
from gifster.uploads.storage.temporaries import temporary_file


class Writer(Protocol):
    """Writes one file. Its content is at `path` until `commit()` or `abort()`."""

    path: Path

    def write(self, piece: bytes) -> None:
        """Append a piece, of any length."""

    def flush(self) -> None:
        """Make the content so far readable at `path`."""

    def truncate(self, size: int) -> None:
        """Keep only so many bytes. The next piece comes behind them."""

    def commit(self, content_type: str) -> None:
        """Have the storage keep the file, complete and durable."""

    def abort(self) -> None:
        """Leave nothing behind. It does nothing after `commit()`."""


def writer(storage: Storage, key: str) -> Writer:
    """A writer for one new file of a storage."""
    if isinstance(storage, LocalStorage):
        return storage.create(key)
    return Spool(storage, key)


class Spool:
    """Gathers the pieces in a temporary file on this machine, and uploads that file."""

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage, self._key = storage, key
        self._file = temporary_file(delete=False)
        self.path = Path(self._file.name)

    def write(self, piece: bytes) -> None:
        self._file.write(piece)

    def flush(self) -> None:
        self._file.flush()

    def truncate(self, size: int) -> None:
        self._file.truncate(size)
        self._file.seek(size)

    def commit(self, content_type: str) -> None:
        self._file.flush()
        self._storage.upload(self.path, self._key, content_type)
        self.abort()

    def abort(self) -> None:
        try:
            self._file.close()
        finally:  # closing writes what is buffered, for which a full disk has no room
            self.path.unlink(missing_ok=True)
