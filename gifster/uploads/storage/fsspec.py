"""Any file system that fsspec knows as a storage: Google Cloud Storage, Azure, SFTP, WebDAV, …

    pip install 'gifster[fsspec]' gcsfs
    FsspecStorage("gs://my-bucket/gifs")

fsspec is loaded with the first request, and the library of the file system by fsspec.
`fsspec_connection` opens and keeps the connections, and `fsspec_servers` knows how servers differ.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO

from gifster.uploads.storage.base import (
    BaseUrl,
    StorageUnavailable,
    check_key,
    is_key,
    public_url,
)
from gifster.uploads.storage.fsspec_connection import Connections, check_bucket, open_file
from gifster.uploads.storage.fsspec_servers import (
    OBJECT_STORAGES,
    WRITTEN_AT,
    headers,
    make_folder,
    protocol_of,
    remove,
    rename,
    seconds,
    send,
    warn_if_untried,
)
from gifster.uploads.storage.local_writer import HALF_WRITTEN

#: fsspec's names of the file system of this machine.
LOCAL = ("file", "local")
#: The options of a file system that say where its files are.
WHERE = ("host", "port", "account_name", "endpoint_url", "client_kwargs")


class FsspecStorage:
    """Keeps files in a file system of fsspec.

    An upload to an object storage appears when it is complete. In any other file system it is
    written under a temporary name and renamed; how safe that is depends on the file system. No
    written file is synced to a disk (fsync): that is the server's business. Folders stay when they
    become empty. Clients cannot write into it directly (`presign`).

    Parameters:
      url: the folder of all files, with the protocol: `gs://bucket/gifs`, `sftp://host/srv/gifs`.
      options: for the file system, such as credentials; fsspec calls them storage options, and also
        reads them from its own configuration.
      base_url: comes before a key in `url()`, or returns what does for a key. Without it, the file
        system must sign URLs (`fs.sign`), as object storages can.
      expires_s: how long a signed URL is valid, unless `url()` is told otherwise (seconds).
      upload_options: for each upload, in the words of the file system's `put_file()`.
      atomic: whether a file appears only when it is complete. None knows it of object storages,
        and warns if no server of this protocol was tried (docs/storages.md).
    """

    def __init__(  # noqa: PLR0913 options, each with a default
        self,
        url: str,
        *,
        options: Mapping[str, Any] | None = None,
        base_url: BaseUrl = "",
        expires_s: int = 3600,
        upload_options: Mapping[str, Any] | None = None,
        atomic: bool | None = None,
    ) -> None:
        self._options = dict(options or {})
        self.base_url, self.expires_s = base_url, expires_s
        protocol = url.partition("://")[0].rpartition("::")[2]
        if atomic is None:
            warn_if_untried(protocol if "://" in url else "file")
        self._is_objects = protocol in OBJECT_STORAGES
        self._atomic = self._is_objects if atomic is None else atomic
        self._upload_options = dict(upload_options or {})
        self._connections = Connections(url, self._options, in_bucket=self._is_objects)

    def upload(self, source: Path, key: str, content_type: str, **options: Any) -> None:
        """Keep a copy of a file (see `Storage`).

        Parameters:
          options: for `put_file()` of the file system, beside `upload_options`.
        """
        check_key(key)
        size = source.stat().st_size

        def of(fs: Any) -> dict[str, Any]:
            return headers(fs, content_type) | self._upload_options | options

        self._connections.use(lambda fs, root: self._put(fs, f"{root}/{key}", source, size, of(fs)))

    def open(self, key: str) -> BinaryIO:
        """The content, which can also be read from the middle on: only that part is fetched."""
        return open_file(self._connections, check_key(key))

    def exists(self, key: str) -> bool:
        check_key(key)
        try:
            # Not `isfile()` nor `exists()`: they return False if the server is away, too.
            found = self._connections.use(lambda fs, root: fs.info(f"{root}/{key}"))
        except FileNotFoundError:
            return False
        return bool(found["type"] == "file")

    def delete(self, key: str) -> None:
        check_key(key)
        with suppress(FileNotFoundError):
            self._remove(key)

    def url(self, key: str, expires_s: int | None = None, **options: Any) -> str:
        """The URL of a file for a browser (see `Storage`).

        Parameters:
          options: for `sign()` of the file system.
        """
        check_key(key)
        if self.base_url and expires_s is None and not options:
            return public_url(self.base_url, key)
        seconds = self.expires_s if expires_s is None else expires_s
        try:
            signed: str = self._connections.use(
                lambda fs, root: fs.sign(f"{root}/{key}", expiration=seconds, **options)
            )
        except NotImplementedError:
            raise ValueError(
                f"{self._connections.name} cannot sign URLs: set base_url, and ask for URLs that "
                "do not expire"
            ) from None
        return signed

    def local_path(self, key: str) -> Path | None:
        """The path of a file, if the file system is this machine's (see `OnThisMachine`)."""
        protocol, root = self._connections.use(lambda fs, root: (protocol_of(fs), root))
        return Path(root, check_key(key)).resolve(strict=True) if protocol in LOCAL else None

    @property
    def place(self) -> str:
        """The protocol, the server and the folder."""
        protocol, root = self._connections.use(lambda fs, root: (protocol_of(fs), root))
        if protocol in LOCAL:
            return f"{Path(root).resolve().as_posix().rstrip('/')}/"
        where = {name: self._options[name] for name in WHERE if name in self._options}
        server = sha256(repr(sorted(where.items())).encode()).hexdigest()[:16] if where else ""
        url = self._connections.name if protocol not in OBJECT_STORAGES else root
        return f"{protocol}{server}:{url.strip('/')}/"

    def walk(self) -> Iterator[tuple[str, float]]:
        for key, info in self._entries():
            if is_key(key):
                yield key, self._written_at(info)

    def now(self) -> float | None:
        """The time by the server's clock: it is asked when it has written a file; None if it cannot
        be asked."""
        name = f".{secrets.token_hex(8)}.tmp"

        def written_at(fs: Any, root: str) -> float:
            with NamedTemporaryFile() as file:
                if not self._is_objects:
                    make_folder(fs, root)
                send(fs, Path(file.name), f"{root}/{name}", {})
            try:
                return self._written_at(fs.info(f"{root}/{name}"))
            finally:
                remove(fs, f"{root}/{name}")

        try:
            told: float = self._connections.use(written_at)
        except (OSError, StorageUnavailable):
            return None
        return told

    def half_written(self, before: float, remove: bool) -> Iterator[str]:
        if self._atomic:
            return
        half = [
            name
            for name, info in self._entries()
            if HALF_WRITTEN.fullmatch(name.rpartition("/")[2]) and self._written_at(info) < before
        ]
        for name in half:
            yield name
            if remove:
                with suppress(FileNotFoundError):
                    self._remove(name)

    def _remove(self, name: str) -> None:
        self._connections.use(lambda fs, root: remove(fs, f"{root}/{name}"))

    def _put(self, fs: Any, path: str, source: Path, size: int, options: Mapping[str, Any]) -> None:
        """Write one file, under a temporary name if others could see a half of it."""
        folder = path.rpartition("/")[0]
        at = path if self._atomic else f"{folder}/.{secrets.token_hex(8)}.tmp"
        try:
            if not self._is_objects:
                make_folder(fs, folder)
            send(fs, source, at, options)
            _check_size(fs, at, size)
            if at != path:
                rename(fs, at, path)
        except BaseException as error:
            # Without a temporary name, a file that is not cut is whole: another writer's, which
            # has the same content, and which a row may name already.
            if at != path or isinstance(error, StorageUnavailable):
                with suppress(Exception):
                    fs.rm_file(at)
            raise

    def _entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All files below the folder. An object storage lists them at once, another one folder
        after folder."""
        with self._connections.opened() as (fs, root):
            below = len(root) + 1
            if self._is_objects:
                check_bucket(fs, root)
                for path, info in fs.find(root, detail=True).items():
                    yield path[below:], info
                return
            for folder, _, files in fs.walk(root, detail=True, on_error=_unless_gone):
                for name, info in files.items():
                    yield f"{folder}/{name}"[below:], info

    def _written_at(self, info: dict[str, Any]) -> float:
        at = next((info[name] for name in WRITTEN_AT if info.get(name)), None)
        if at is None:
            at = self._connections.use(lambda fs, root: fs.modified(info["name"]))
        return seconds(at)


def _check_size(fs: Any, path: str, size: int) -> None:
    """Some servers keep what has arrived of a file when the connection breaks."""
    if (kept := fs.info(path)["size"]) != size:
        raise StorageUnavailable(f"the server was sent {size:,} bytes and keeps {kept:,} in {path}")


def _unless_gone(error: Exception) -> None:
    """A folder may be deleted while it is listed; any other error means that files are missing."""
    if not isinstance(error, FileNotFoundError):
        raise error
