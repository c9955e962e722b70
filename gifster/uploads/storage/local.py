"""A folder on this machine as a storage.

Writes are atomic: a temporary name in the same folder, fsync, rename, fsync of the folder. So a
crash leaves the old file, the new file, or a `.tmp` file that nobody reads; never half a file.
Without fsync (`durable=False`) that holds for the crash of a process, not for that of the machine.
"""

import hashlib
import hmac
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from gifster.uploads.storage.base import check_key, is_key

#: What `LocalWriter` calls a file until it is complete.
_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{16}\.tmp")


class LocalStorage:
    """Keeps files below `root`.

    Parameters:
      root: the folder; it is made when the first file comes.
      base_url: what comes before a key in `url()`: `/media`, or `https://cdn.example.org`.
      secret: what URLs that expire are signed with. Whoever serves the files asks `allows()`.
      durable: whether a file is on the disk when it has been written; else it is when the operating
        system thinks fit.
      permissions: the mode of each file, such as `0o640`, whatever the umask (CarrierWave's
        `permissions`); None leaves it to the umask.
      directory_permissions: likewise the mode of `root` and of each folder below it, such as
        `0o750`. Folders that are there already stay as they are.
    """

    def __init__(  # noqa: PLR0913 options, each with a default
        self,
        root: Path | str,
        base_url: str = "",
        secret: str = "",
        *,
        durable: bool = True,
        permissions: int | None = None,
        directory_permissions: int | None = None,
    ) -> None:
        self.root = Path(root).absolute()
        self.base_url = base_url.rstrip("/")
        self.durable = durable
        self.permissions, self.directory_permissions = permissions, directory_permissions
        self._secret = secret.encode()

    def upload(self, source: Path, key: str, content_type: str) -> None:
        with source.open("rb") as reader, self.create(key) as writer:
            shutil.copyfileobj(reader, writer, 1024 * 1024)

    def create(self, key: str) -> "LocalWriter":
        """A writer for a new file, for content that comes in pieces."""
        return LocalWriter(
            self.path(key),
            self.durable,
            permissions=self.permissions,
            folders=(self.root, self.directory_permissions),
        )

    def open(self, key: str) -> BinaryIO:
        return self.path(key).open("rb")

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def delete(self, key: str) -> None:
        path = self.path(key)
        path.unlink(missing_ok=True)
        _remove_empty_folders(path.parent, self.root)

    @property
    def place(self) -> str:
        """What the folder is really called, with a slash at its end."""
        return f"{self.root.resolve().as_posix().rstrip('/')}/"

    def walk(
        self, on_link: Callable[[str, str], object] = lambda link, target: None
    ) -> Iterator[tuple[str, float]]:
        """All keys, and when each was last written (seconds since the epoch).

        Linked folders are not walked through. A folder that may not be read is an `OSError`.

        Parameters:
          on_link: is told of each symbolic link, by its relative path, and what it leads to.
        """
        for entry in self._entries():
            key = self._key(entry)
            if entry.is_symlink():
                on_link(key, Path(entry.path).resolve().as_posix())
            if is_key(key):
                with suppress(FileNotFoundError):  # deleted meanwhile, or a link that leads nowhere
                    if not entry.is_dir():
                        yield key, entry.stat().st_mtime

    def half_written(self, before: float, remove: bool) -> Iterator[str]:
        """Files whose writer died, and last wrote before that moment.

        Parameters:
          remove: whether they go.
        """
        for entry in self._entries():
            if _HALF_WRITTEN.fullmatch(entry.name) and not entry.is_symlink():
                with suppress(FileNotFoundError):
                    if entry.stat().st_mtime < before:
                        yield self._key(entry)
                        if remove:
                            path = Path(entry.path)
                            path.unlink()
                            _remove_empty_folders(path.parent, self.root)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        """What is no folder, one after the other: a folder may have a million entries."""
        folders: list[Any] = []

        def enter(folder: Path | str) -> None:
            with suppress(FileNotFoundError):  # nothing was stored yet, or it was removed meanwhile
                folders.append(os.scandir(folder))

        try:
            enter(self.root)
            while folders:
                for entry in folders[-1]:
                    if not entry.is_dir(follow_symlinks=False):
                        yield entry
                    elif is_key(entry.name):  # not `lost+found`, which nobody may read
                        enter(entry.path)
                        break
                else:
                    folders.pop().close()
        finally:
            for folder in folders:
                folder.close()

    def _key(self, entry: os.DirEntry[str]) -> str:
        return entry.path[len(str(self.root)) :].lstrip("/")

    def url(self, key: str, expires_s: int | None = None) -> str:
        url = f"{self.base_url}/{check_key(key)}"
        if expires_s is None:
            return url
        expires = int(time.time()) + expires_s
        return f"{url}?expires={expires}&signature={self._signature(key, expires)}"

    def allows(self, key: str, expires: str, signature: str) -> bool:
        """Whether `url()` gave out a URL with these two parameters, and it is still good."""
        if not is_key(key) or not (expires.isascii() and expires.isdigit() and len(expires) < 16):
            return False
        good = hmac.compare_digest(self._signature(key, int(expires)).encode(), signature.encode())
        return good and int(expires) > time.time()

    def _signature(self, key: str, expires: int) -> str:
        if not self._secret:
            raise ValueError("URLs that expire need a LocalStorage(…, secret=…)")
        return hmac.new(self._secret, f"{expires} {key}".encode(), hashlib.sha256).hexdigest()

    def path(self, key: str) -> Path:
        """The path on this machine."""
        return self.root / check_key(key)


class LocalWriter:
    """Writes one file of a `LocalStorage`: it is there when the `with` block ends well, and leaves
    nothing behind when it does not.

    Parameters:
      path: of the file.
      durable: whether it is on the disk when it has been committed.
      permissions: the file's mode; None leaves it to the umask.
      folders: the mode of the folders that are made for it, and the highest that gets it.
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

    def flush(self) -> None:
        """Let what has been written be read at `path`."""
        self._file.flush()

    def commit(self, content_type: str = "") -> None:
        """Make the file durable, then visible under its name."""
        self._file.flush()
        if self._durable:
            os.fsync(self._file.fileno())
        self._file.close()
        self.path.replace(self._target)
        if self._durable:
            _fsync_folder(self._target.parent)

    def abort(self) -> None:
        """Leave nothing behind of what has not been committed."""
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
            self.abort()  # of a committed file there is nothing left to remove


def _create_below(
    path: Path, durable: bool, permissions: int | None, folders: tuple[Path, int | None]
) -> BinaryIO:
    """Create a file, and its folders. Another process may remove an empty folder in between."""
    for _ in range(100):
        try:
            _make_folders(path.parent, durable, folders)
            return open(path, "xb", opener=partial(_open_with, permissions))
        except FileNotFoundError:
            continue
    raise FileNotFoundError(path)


def _open_with(permissions: int | None, path: str, flags: int) -> int:
    """Open a new file that has its mode before it has content."""
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


def _remove_empty_folders(folder: Path, root: Path) -> None:
    while folder != root:
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone already
            return
        folder = folder.parent


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
