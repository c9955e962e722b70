"""Writes one file of a folder in one step.

A write is atomic: a temporary name in the same folder, fsync, rename, fsync of the folder. A crash
leaves the old file, the new file, or a `.tmp` file that nobody reads; never half a file. Without
fsync (`durable=False`) that holds for the crash of a process, not for a crash of the machine.
"""

import os
import re
import secrets
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from gifster.uploads.storage.temporaries import lock

#: The name of a file until it is complete.
HALF_WRITTEN = re.compile(r"\.[0-9a-f]{16}\.tmp")
PIECE_BYTES = 1024 * 1024
#: How much is gathered before it is written (bytes). Pieces of uploads are larger.
BUFFER_BYTES = 8192
#: How much the kernel copies in one call (bytes).
MOST_AT_ONCE = 1 << 30


class LocalWriter:
    """Writes one file. The file exists once the `with` block has ended without an exception;
    otherwise nothing is left behind.

    Parameters:
      path: of the file.
      durable: whether the file is on the disk (fsync) after `commit()`.
      permissions: the file's mode; None leaves it to the umask.
      folders: the highest folder whose mode may be set, and the mode of the folders that are made
        for the file; None leaves it to the umask.
    """

    def __init__(
        self,
        path: Path,
        durable: bool = True,
        *,
        permissions: int | None = None,
        folders: tuple[Path, int | None] = (Path("/"), None),
    ) -> None:
        self._target, self._durable = path, durable
        #: Where the content is until `commit()`.
        self.path = path.with_name(f".{secrets.token_hex(8)}.tmp")
        self._file = _create_below(self.path, durable, permissions, folders)

    def write(self, piece: bytes) -> None:
        """Append. `piece`: any number of bytes."""
        self._file.write(piece)

    def append(self, source: BinaryIO) -> None:
        """Append the rest of an open file. Where the file system shares blocks between files
        (Btrfs, XFS), nothing is copied."""
        self._file.flush()
        if hasattr(os, "copy_file_range"):
            with suppress(OSError):  # not between these file systems
                while os.copy_file_range(source.fileno(), self._file.fileno(), MOST_AT_ONCE):
                    pass
        shutil.copyfileobj(source, self._file, PIECE_BYTES)  # the rest, or all

    def flush(self) -> None:
        """Make the content so far readable at `path`."""
        self._file.flush()

    def truncate(self, size: int) -> None:
        """Keep only so many bytes. The next piece comes behind them."""
        self._file.truncate(size)
        self._file.seek(size)

    def commit(self, content_type: str = "") -> None:
        """Make the file durable, then visible under its name."""
        self._file.flush()
        if self._durable:
            os.fsync(self._file.fileno())
        self._file.close()
        self.path.replace(self._target)
        if self._durable:
            _fsync_name(self._target)

    def abort(self) -> None:
        """Leave nothing behind, unless the file has been committed."""
        try:
            self._file.close()
        finally:  # closing writes what is buffered, for which a full disk has no room
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> "LocalWriter":
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        try:
            if exc_type is None:
                self.commit()
        finally:
            self.abort()  # does nothing after a commit


def link(
    source: Path,
    path: Path,
    durable: bool,
    *,
    permissions: int | None,
    folders: tuple[Path, int | None],
) -> bool:
    """Give a file a second name, in one step. The parameters are those of `LocalWriter`.

    Returns:
      False if that is not possible.
    """
    name = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        _make_folders(path.parent, durable, folders)
        os.link(source, name)
        if permissions is not None:
            name.chmod(permissions)
        os.utime(name)  # so that the sweep takes it for a new file
        if durable:
            with name.open("rb") as file:
                os.fsync(file.fileno())
        name.replace(path)
    except OSError:
        return False
    finally:
        name.unlink(missing_ok=True)  # still there if `path` was the same file already
    if durable:
        _fsync_name(path)
    return True


def _create_below(
    path: Path, durable: bool, permissions: int | None, folders: tuple[Path, int | None]
) -> BinaryIO:
    """Create a file and its folders. Another process may remove an empty folder meanwhile: before
    the file is in it, or while `mkdir()` finds that it exists."""
    tries, missing = 100, False
    while True:
        try:
            if missing:
                _make_folders(path.parent, durable, folders)
            # Without a size of the buffer, `open()` asks whether the file is a terminal.
            opener = partial(_open_with, permissions)
            file = open(path, "xb", BUFFER_BYTES, opener=opener)  # noqa: SIM115
            if lock(file.fileno()):
                return file
            file.close()
        except (FileNotFoundError, FileExistsError):
            tries, missing = tries - 1, True
            if not tries:
                raise


def _open_with(permissions: int | None, path: str, flags: int) -> int:
    """Open a new file, which gets its mode before its content."""
    if permissions is None:
        return os.open(path, flags, 0o666)
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, permissions)
    return descriptor


def _make_folders(folder: Path, durable: bool, folders: tuple[Path, int | None]) -> None:
    if not folder.is_dir():
        _make_folders(folder.parent, durable, folders)
        folder.mkdir(exist_ok=True)
        highest, permissions = folders
        if permissions is not None and folder.is_relative_to(highest):
            folder.chmod(permissions)
        if durable:
            _fsync_folder(folder.parent)


def _fsync_name(path: Path) -> None:
    """Make a new name durable. If its folder is gone, somebody has deleted the file already, and
    with it the folder that became empty."""
    with suppress(FileNotFoundError):
        _fsync_folder(path.parent)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
