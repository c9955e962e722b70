"""A file that a storage keeps under a key: to open, to read, and to copy to this machine.

Stored files, their versions and cached files are such files (`stored.py`, `cache.py`).
"""

import hashlib
import os
import secrets
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from gifster.uploads.config import storage
from gifster.uploads.errors import StoredFileChanged
from gifster.uploads.files.access import PIECE_BYTES, local_copy, open_file


class KeptFile:
    """A file that a storage keeps. The names are those of CarrierWave's `SanitizedFile`.

    If the record's file is replaced or removed, its old files are deleted. A file that is open by
    then can be read to its end.
    """

    storage: str
    key: str
    sha256: str

    def exists(self) -> bool:
        """Whether the file is (still) there."""
        return storage(self.storage).exists(self.key)

    def open(self) -> BinaryIO:
        """The content as an open binary file, at its first byte. Close it, or use `with`.

        Raises:
          FileNotFoundError: the file is gone; says what to do.
          StorageUnavailable, OSError: the storage cannot be used now.
        """
        try:
            return open_file(self.storage, self.key)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"the storage {self.storage!r} has no file {self.key!r}: if the record's file was "
                "replaced or removed, load the record again"
            ) from None

    def read(self) -> bytes:
        """The whole content, in memory. Raises what `open()` raises."""
        with self.open() as file:
            return file.read()

    def on_disk(self) -> AbstractContextManager[Path]:
        """The content as a path on this machine, for a `with` block (Shrine's `tempfile`).

        A file that its storage has on this machine is that path itself, or a link to it: do not
        change it. Any other file is downloaded, once for nested blocks of a thread, and deleted at
        the end. The path has the file's extension, as many libraries go by it.

        Raises:
          FileNotFoundError: the file is gone.
        """
        return local_copy(self.storage, self.key)

    def download(self, to: str | os.PathLike[str]) -> Path:
        """Copy the content to a path on this machine, and check it.

        The copy appears under its name once it is complete. A file of that name is replaced.

        Returns:
          the path.

        Raises:
          StoredFileChanged: the content is not what was stored.
          FileNotFoundError, StorageUnavailable, OSError: as `open()`.
        """
        path = Path(to)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            self._write_to(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def _write_to(self, path: Path) -> None:
        digest = hashlib.sha256()
        with self.open() as source, path.open("xb") as copy:
            while piece := source.read(PIECE_BYTES):
                copy.write(piece)
                digest.update(piece)
        if self.sha256 and digest.hexdigest() != self.sha256:
            raise StoredFileChanged("The file has changed since it was stored.")
