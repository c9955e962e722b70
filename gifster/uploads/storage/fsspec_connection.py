"""Connections to a file system of fsspec. Each belongs to one request or one open file at a time.

Some file systems (SFTP, FTP) have one connection, which two threads must not use at once, and
servers close connections that nobody uses. So connections are kept when a request is done, and a
request that fails on a kept one is tried once more on a new one. A process that was forked opens
its own.
"""

import importlib.util
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from gifster.uploads.storage.base import StorageUnavailable
from gifster.uploads.storage.fsspec_servers import connecting, open_on, prepare

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

#: A file system, and the path of the folder there.
Connection = tuple[Any, str]

READ_BYTES = 256 * 1024
#: What a request says of the file, not of the connection.
_ANSWERS = (FileNotFoundError, NotImplementedError, StorageUnavailable)


class Connections:
    """The connections of this process to one folder.

    Parameters:
      url: of the folder.
      options: fsspec's storage options.
      in_bucket: whether the first part of its path is a bucket.
    """

    def __init__(self, url: str, options: Mapping[str, Any], *, in_bucket: bool) -> None:
        if importlib.util.find_spec("fsspec") is None:
            raise ModuleNotFoundError(
                "FsspecStorage needs fsspec, which is not installed: pip install 'gifster[fsspec]'",
                name="fsspec",
            )
        self._url, self._options, self._in_bucket = url, options, in_bucket
        #: The URL without a password, for messages.
        self.name = re.sub(r"//[^/@]*@", "//", url)
        #: The file systems that no request uses, by process, each with the path of the folder.
        self._idle: dict[int, list[Connection]] = {}

    def use(self, request: Callable[[Any, str], T]) -> T:
        """Make a request, which may be made twice.

        Parameters:
          request: gets the file system, and the path of the folder there.

        Raises:
          FileNotFoundError: there is no such file.
          StorageUnavailable: any other error of the file system.
        """
        result, connection = self.hold(request)
        self.give_back(connection)
        return result

    def hold(self, request: Callable[[Any, str], T]) -> tuple[T, Connection]:
        """Make a request whose result needs the connection, until `give_back()` gets that."""
        kept = self._take()
        if kept is not None:
            try:
                return self._result(kept, request)
            except _ANSWERS:
                raise
            except Exception:  # noqa: BLE001, S110 the server may have closed the connection
                pass
        with self.translated():
            return self._result(self._connect(), request)

    @contextmanager
    def opened(self) -> Iterator[Connection]:
        """A new connection for a `with` block, in which errors are translated. Unlike a request,
        the block is not run again if the server has closed a kept one."""
        with self.translated():
            connection = self._connect()
            yield connection
            self.give_back(connection)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        self._idle.setdefault(os.getpid(), []).append(connection)

    def _result(
        self, connection: Connection, request: Callable[[Any, str], T]
    ) -> tuple[T, Connection]:
        try:
            return request(*connection), connection
        except _ANSWERS as error:
            if self._in_bucket and isinstance(error, FileNotFoundError):
                check_bucket(*connection)
            self.give_back(connection)
            raise

    def _take(self) -> Connection | None:
        try:
            return self._idle.get(os.getpid(), []).pop()
        except IndexError:
            return None

    def _connect(self) -> Connection:
        from fsspec.core import url_to_fs

        options = {**connecting(self._url), **self._options}
        fs, root = url_to_fs(self._url, skip_instance_cache=True, **options)
        # Another process may write at any time, so no listing is true for long.
        fs.dircache.use_listings_cache = False
        prepare(fs)
        return fs, str(root).rstrip("/")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Makes a `StorageUnavailable` of all errors, as each library has its own."""
        try:
            yield
        except (*_ANSWERS, ImportError):
            raise
        except Exception as error:
            what = str(error) or type(error).__name__
            raise StorageUnavailable(f"{self.name}: {what}") from error


def check_bucket(fs: Any, root: str) -> None:
    """A bucket that is not there has no files, but that is no reason to take them for lost."""
    bucket = root.strip("/").partition("/")[0]
    if not fs.exists(bucket):
        raise StorageUnavailable(f"there is no bucket {bucket!r}, or it may not be listed")


def open_file(connections: Connections, key: str) -> BinaryIO:
    """A file for reading.

    Raises:
      FileNotFoundError: there is none.
      StorageUnavailable
    """

    def request(fs: Any, root: str) -> Any:
        try:
            file = open_on(fs, f"{root}/{key}")
        except IsADirectoryError:
            raise FileNotFoundError(key) from None
        if isinstance(file, io.BytesIO):  # fsspec's memory gives all readers the same object
            content = file.getvalue()
            return io.BytesIO(content), len(content)
        size = getattr(file, "size", None)
        return file, size if isinstance(size, int) else fs.info(f"{root}/{key}").get("size")

    (file, size), connection = connections.hold(request)
    content = _Content(key, file, size, connections, connection)
    return cast("BinaryIO", io.BufferedReader(content, READ_BYTES))


class _Content(io.RawIOBase):
    """The content of a file. Its errors become `StorageUnavailable`, and so does an end before the
    size that the file had when it was opened: some servers end the answer when a file is replaced
    or deleted while it is read."""

    def __init__(
        self,
        key: str,
        file: Any,
        size: int | None,
        connections: Connections,
        connection: Connection,
    ) -> None:
        self._key, self._file, self._size = key, file, size
        self._connections, self._connection = connections, connection
        self._failed = False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with self._connections.translated():
                yield
        except StorageUnavailable:
            self._failed = True
            raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._translated():
            # Some return nothing.
            self._file.seek(offset, whence)
            return int(self._file.tell())

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with self._translated():
            data = self._file.read(len(memoryview(buffer)))
            if not data and memoryview(buffer):
                self._check_end()
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def _check_end(self) -> None:
        if self._size is not None and (at := self.tell()) < self._size:
            raise StorageUnavailable(
                f"{self._connections.name}: {self._key} ended after {at:,} of {self._size:,} "
                "bytes; read it again"
            )

    def close(self) -> None:
        # After an error the server may be silent, or still send what was asked for before.
        if not self.closed and not self._failed:
            self._file.close()
            self._connections.give_back(self._connection)
        super().close()
