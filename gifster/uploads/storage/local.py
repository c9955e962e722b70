"""A folder on this machine as a storage. `local_writer` writes its files, each in one step."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gifster import jobs
from gifster.uploads.storage.base import BaseUrl, check_key, is_key, public_url
from gifster.uploads.storage.local_writer import HALF_WRITTEN, LocalWriter, link
from gifster.uploads.storage.shapes import cache_dir
from gifster.uploads.storage.temporaries import remove_unused

if TYPE_CHECKING:
    from os import _ScandirIterator


#: An empty folder that `delete()` makes before it deletes. It stays when the last file goes.
USED = ".used"


class LocalStorage:
    """Keeps files below the folder `root`.

    Parameters:
      root: the folder. The first upload makes it.
      base_url: comes before a key in `url()`: `/media`, or `https://cdn.example.org`; or a function
        that returns it for a key.
      secret: signs URLs that expire. The server that serves the files must ask `allows()`.
      durable: whether a written file is on the disk (fsync) when `upload()` returns. If not, the
        operating system writes it later.
      permissions: the mode of each file, such as `0o640`, whatever the umask (CarrierWave's
        `permissions`); None leaves it to the umask.
      directory_permissions: likewise the mode of `root` and of each folder below it, such as
        `0o750`. Folders that exist already keep theirs.
    """

    def __init__(  # noqa: PLR0913 options, each with a default
        self,
        root: Path | str,
        base_url: BaseUrl = "",
        secret: str = "",
        *,
        durable: bool = True,
        permissions: int | None = None,
        directory_permissions: int | None = None,
    ) -> None:
        self.root = Path(root).absolute()
        self.base_url = base_url.rstrip("/") if isinstance(base_url, str) else base_url
        self.durable = durable
        self.permissions, self.directory_permissions = permissions, directory_permissions
        self._secret = secret.encode()

    def upload(self, source: Path, key: str, content_type: str) -> None:
        with source.open("rb") as reader, self.create(key) as writer:
            writer.append(reader)

    def create(self, key: str) -> LocalWriter:
        """A writer for a new file whose content comes in pieces."""
        return LocalWriter(
            self.path(key),
            self.durable,
            permissions=self.permissions,
            folders=(self.root, self.directory_permissions),
        )

    def link(self, source: Path, key: str) -> bool:
        """Keep a file of another folder under `key` without copying it: as a second name of the
        same file (a hard link). Nobody may change the file from now on.

        Returns:
          False if that is not possible, such as between two file systems.
        """
        return link(
            source,
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
        if cache_dir(key) is None and path.exists():
            with suppress(OSError):
                (self.root / USED).mkdir()
                if self.directory_permissions is not None:
                    (self.root / USED).chmod(self.directory_permissions)
        path.unlink(missing_ok=True)
        # The next upload needs a cache's folder again, and would wait for the disk once more to
        # make it. There are 256.
        if cache_dir(key) is None:
            _remove_empty_folders(path.parent, self.root)

    @property
    def place(self) -> str:
        """The real path of the folder, links resolved, with a slash at its end."""
        return f"{self.root.resolve().as_posix().rstrip('/')}/"

    def is_present(self) -> bool:
        """Whether the folder is there, with anything in it: not before the first upload, nor
        without its disk. If that was mounted at the folder itself, an empty one is left. A folder
        whose last file was deleted has still `USED`."""
        try:
            with os.scandir(self.root) as entries:
                return next(entries, None) is not None
        except (FileNotFoundError, NotADirectoryError):
            return False

    def walk(
        self, on_link: Callable[[str, str], object] = lambda link, target: None
    ) -> Iterator[tuple[str, float]]:
        """All keys, and when each was last written (seconds since the epoch).

        It does not walk through linked folders.

        Parameters:
          on_link: is called with each symbolic link: its relative path, and the path it leads to.

        Raises:
          OSError: a folder cannot be read.
        """
        for entry in self._entries():
            key = self._key(entry)
            if entry.is_symlink():
                on_link(key, Path(entry.path).resolve().as_posix())
            if is_key(key):
                with suppress(FileNotFoundError):  # deleted meanwhile, or a link that leads nowhere
                    if not entry.is_dir():
                        yield key, entry.stat().st_mtime

    def now(self) -> float | None:
        """The time by the clock of the folder's file system, which may be another machine's; None
        if there is no folder yet, or nobody may write into it."""
        probe = self.root / f".{secrets.token_hex(8)}.tmp"
        try:
            with probe.open("xb") as file:
                probe.unlink()
                return os.fstat(file.fileno()).st_mtime
        except OSError:
            return None

    def half_written(self, before: float, remove: bool) -> Iterator[str]:
        """The keys of files whose writer died. A file that is still being written is locked.

        Parameters:
          before: only files last written before this moment (seconds since the epoch).
          remove: whether to delete them.
        """
        for entry in self._entries():
            if HALF_WRITTEN.fullmatch(entry.name) and not entry.is_symlink():
                with suppress(FileNotFoundError):
                    path = Path(entry.path)
                    if entry.stat().st_mtime < before and remove_unused(path, remove=remove):
                        yield self._key(entry)
                        if remove:
                            _remove_empty_folders(path.parent, self.root)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        """All files and links, one after the other: a folder may have a million entries."""
        folders: list[_ScandirIterator[str]] = []

        def enter(folder: str) -> None:
            with suppress(FileNotFoundError):  # nothing is stored yet, or it is gone
                folders.append(os.scandir(folder))

        try:
            enter(str(self.root))
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
        url = public_url(self.base_url, key)
        if expires_s is None:
            return url
        expires = int(jobs.now()) + expires_s
        return f"{url}?expires={expires}&signature={self._signature(key, expires)}"

    def allows(self, key: str, expires: str, signature: str) -> bool:
        """Whether `url()` has made a URL with these parameters, and it has not expired. The server
        that serves the files asks.

        Parameters:
          key: what comes after the `base_url`.
          expires, signature: the texts of the query's parameters of these names.
        """
        if not is_key(key) or not (expires.isascii() and expires.isdigit() and len(expires) < 16):
            return False
        good = hmac.compare_digest(self._signature(key, int(expires)).encode(), signature.encode())
        return good and int(expires) > jobs.now()

    def _signature(self, key: str, expires: int) -> str:
        if not self._secret:
            raise ValueError("URLs that expire are signed: make the LocalStorage with secret=…")
        return hmac.new(self._secret, f"{expires} {key}".encode(), hashlib.sha256).hexdigest()

    def local_path(self, key: str) -> Path:
        """The real path of a file (see `OnThisMachine`)."""
        return self.path(key).resolve(strict=True)

    def path(self, key: str) -> Path:
        """The path on this machine."""
        return self.root / check_key(key)


def _remove_empty_folders(folder: Path, root: Path) -> None:
    while folder != root:
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone already
            return
        folder = folder.parent
