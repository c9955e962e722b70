"""Files by their path: `/media` from the store's folder, `/static` from the package.

A file is served if its path could be a storage key, no symbolic link is on the way to it, and it is
a regular file. Reading has threads of its own, and takes one piece at a time, so that neither a
slow disk nor a slow client holds up other requests.
"""

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path, PurePath
from typing import Any

import falcon
from falcon.asgi import Request, Response

from gifster.api.adapter import RECEIVE, Receive
from gifster.api.conditional import Validators
from gifster.api.problems import Problem
from gifster.uploads.storage.base import StorageUnavailable, is_key

Read = Callable[..., Awaitable[Any]]

#: Up to so many bytes are sent at once, more in pieces. For a slow client the server keeps about
#: four pieces in memory.
WHOLE_BYTES, PIECE_BYTES = 64 * 1024, 32 * 1024
METHODS = "GET, HEAD, OPTIONS"
UNKNOWN = "application/octet-stream"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: Without O_NONBLOCK, opening a FIFO waits for a writer.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: The path leads nowhere, or to a link, a socket or a device.
_NOT_FOUND = {
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENAMETOOLONG, errno.ENXIO,
    errno.ENODEV,
}  # fmt: skip


class Files:
    """A sink that answers all paths with one prefix.

    Parameters:
      prefix: the paths', such as `/media/`.
      folder: where the files are. It may itself be a symbolic link.
      read: awaits the result of a blocking function in a thread.
      follow_links: whether symbolic links below the folder are followed.
      types: the beginnings of the content types that stay. Files of other types become attachments
        of type `application/octet-stream`. Empty: all types stay.
    """

    def __init__(
        self,
        prefix: str,
        folder: Path,
        read: Read,
        *,
        follow_links: bool = False,
        types: tuple[str, ...] = (),
    ) -> None:
        self._prefix, self._folder, self._read = prefix, folder, read
        self._follow_links, self._types = follow_links, types

    async def __call__(self, req: Request, resp: Response | None, **_: object) -> None:
        if resp is None:
            raise falcon.HTTPNotFound  # for a WebSocket
        if req.method == "OPTIONS":
            resp.set_header("Allow", METHODS)
            return
        key = req.path.removeprefix(self._prefix)
        if not is_key(key):
            raise falcon.HTTPNotFound
        await self._read(self._answer, req, resp, key)

    def _answer(self, req: Request, resp: Response, key: str) -> None:
        """Everything before the first piece, in one trip to a thread."""
        file = _open(self._folder, key, self._follow_links)
        try:
            size, first = self._head(req, resp, key, os.fstat(file.fileno()))
            if req.method == "HEAD" or resp.status_code == 304:
                return
            if size <= WHOLE_BYTES:
                resp.data = os.pread(file.fileno(), size, first)
            else:
                resp.stream = _Stream(file, first, size, self._read, req.scope.get(RECEIVE))
        finally:
            if resp.stream is None:
                file.close()

    def _head(
        self, req: Request, resp: Response, key: str, found: os.stat_result
    ) -> tuple[int, int]:
        """Set status and headers. Returns the size of the content, and where it begins (bytes)."""
        modified = datetime.fromtimestamp(int(found.st_mtime), UTC)
        validators = Validators(f'"{found.st_mtime_ns:x}-{found.st_size:x}"', modified)
        status, size, first = validators.status_for(req), found.st_size, 0
        if status == 412:
            raise Problem(
                412,
                "precondition_failed",
                "The file has changed: If-Match or If-Unmodified-Since names another one.",
            )
        if status == 200 and (part := validators.range_for(req, size)):
            first, last = part
            status, resp.content_range = 206, (first, last, size)
            size = last - first + 1
        resp.status = status
        resp.etag, resp.last_modified = validators.etag, modified
        resp.accept_ranges = "bytes"
        if status != 304:
            resp.content_type = self._type(key, resp.options.static_media_types)
            if self._types and not resp.content_type.startswith(self._types):
                resp.set_header("Content-Disposition", "attachment")
            resp.content_length = size
        return size, first

    def _type(self, key: str, known: dict[str, str]) -> str:
        name = known.get(PurePath(key).suffix.lower(), UNKNOWN)
        return name if not self._types or name.startswith(self._types) else UNKNOWN


def _open(folder: Path, key: str, follow_links: bool) -> FileIO:
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
    if stat.S_ISREG(os.fstat(file).st_mode):
        return FileIO(file)
    os.close(file)
    raise falcon.HTTPNotFound


class _Stream(AsyncIterator[bytes]):
    """The content of an answer, piece by piece, until the client has all of it or has gone.

    The server silently drops pieces for a client that has gone (ASGI 2.3). Without a look at the
    connection, the whole file would be read for a client that left at once.
    """

    def __init__(
        self, file: FileIO, first: int, size: int, read: Read, receive: Receive | None
    ) -> None:
        self._file, self._at, self._left = file, first, size
        self._read, self._receive = read, receive
        self._gone: asyncio.Task[None] | None = None

    async def __anext__(self) -> bytes:
        if self._gone is None and self._receive is not None:
            self._gone = asyncio.create_task(_disconnected(self._receive))
        if not self._left or (self._gone is not None and self._gone.done()):
            raise StopAsyncIteration
        size = min(self._left, PIECE_BYTES)
        piece: bytes = await self._read(os.pread, self._file.fileno(), size, self._at)
        if not piece:  # the file has become shorter
            raise StopAsyncIteration
        self._at, self._left = self._at + len(piece), self._left - len(piece)
        return piece

    async def close(self) -> None:
        """Called by Falcon, however the answer ended."""
        self._file.close()
        if self._gone is not None:
            self._gone.cancel()


async def _disconnected(receive: Receive) -> None:
    """Returns when the client has gone. The request's body is thrown away."""
    while (await receive())["type"] != "http.disconnect":
        pass
