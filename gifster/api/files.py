"""Files by their path: `/media` from the store, `/static` from the package.

A file is served if its path could be a storage key. In a folder, no symbolic link may be on the way
to it, and it must be a regular file; `opened` reads folders without the detour through a storage.
Reading has threads of its own, and takes one piece at a time, so that neither a slow disk nor a
slow client holds up other requests.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path, PurePath
from typing import Any

import falcon
from falcon.asgi import Request, Response

from gifster.api.adapter import RECEIVE, Receive
from gifster.api.opened import Opened, open_below, open_stored
from gifster.api.problems import Problem
from gifster.uploads import StorageUnavailable
from gifster.uploads.storage.base import Storage, is_key

Read = Callable[..., Awaitable[Any]]
#: Raises if a client may not have the file with a key. It is called in a thread.
Check = Callable[[Request, str], None]

#: Up to so many bytes are sent at once, more in pieces. For a slow client the server keeps about
#: four pieces in memory.
WHOLE_BYTES, PIECE_BYTES = 64 * 1024, 32 * 1024
METHODS = "GET, HEAD, OPTIONS"
UNKNOWN = "application/octet-stream"


class Files:
    """A sink that answers all paths with one prefix.

    Parameters:
      prefix: the paths', such as `/media/`.
      source: the folder of the files, which may itself be a symbolic link; or a storage.
      read: awaits the result of a blocking function in a thread.
      follow_links: whether symbolic links below the folder are followed.
      types: the beginnings of the content types that stay. Files of other types become attachments
        of type `application/octet-stream`. Empty: all types stay.
      check: who may have a file; None: everybody.
      away: says why none of the files is there now; empty if that is not so.
    """

    def __init__(  # noqa: PLR0913 options, each with a default
        self,
        prefix: str,
        source: Path | Storage,
        read: Read,
        *,
        follow_links: bool = False,
        types: tuple[str, ...] = (),
        check: Check | None = None,
        away: Callable[[], str] = str,
    ) -> None:
        self._prefix, self._source, self._read = prefix, source, read
        self._follow_links, self._types, self._check = follow_links, types, check
        self._away = away

    async def __call__(self, req: Request, resp: Response | None, **_: object) -> None:
        if resp is None:
            raise falcon.HTTPNotFound  # for a WebSocket
        if req.method == "OPTIONS":
            resp.set_header("Allow", METHODS)
            return
        key = req.path.removeprefix(self._prefix)
        if not is_key(key):
            raise falcon.HTTPNotFound
        await self.answer(req, resp, key)

    async def answer(
        self, req: Request, resp: Response, key: str, known: int | None = None
    ) -> None:
        """Answer with the file under a key, whatever the path.

        Parameters:
          known: its size (bytes), in case the storage does not tell: without one, a client cannot
            tell how far it is, and an answer to HEAD would say that the file is empty.
        """
        await self._read(self._answer, req, resp, key, known)

    def _answer(self, req: Request, resp: Response, key: str, known: int | None) -> None:
        """Everything before the first piece, in one trip to a thread."""
        if self._check is not None:
            self._check(req, key)
        file = self._open(key)
        try:
            size, first = self._head(req, resp, key, file, known)
            if req.method == "HEAD" or resp.status_code == 304:
                return
            if file.size is not None and size is not None and size <= WHOLE_BYTES:
                resp.data = file.read(size, first)
            else:
                resp.stream = _Stream(file, first, size, self._read, req.scope.get(RECEIVE))
        finally:
            if resp.stream is None:
                file.close()

    def _open(self, key: str) -> Opened:
        try:
            if isinstance(self._source, Path):
                return open_below(self._source, key, follow_links=self._follow_links)
            return open_stored(self._source, key)
        except falcon.HTTPNotFound:
            if reason := self._away():
                raise StorageUnavailable(reason) from None
            raise

    def _head(
        self, req: Request, resp: Response, key: str, file: Opened, known: int | None
    ) -> tuple[int | None, int]:
        """Set status and headers. Returns the size of the content, and where it begins (bytes)."""
        validators, first = file.validators, 0
        size = known if file.size is None else file.size
        status = validators.status_for(req)
        if status == 412:
            raise Problem(
                412,
                "precondition_failed",
                "The file has changed: If-Match or If-Unmodified-Since names another one.",
            )
        seekable = status == 200 and file.size is not None
        if seekable and size is not None and (part := validators.range_for(req, size)):
            first, last = part
            status, resp.content_range = 206, (first, last, size)
            size = last - first + 1
        resp.status = status
        resp.etag, resp.last_modified = validators.etag, validators.modified
        resp.accept_ranges = "none" if file.size is None else "bytes"
        if status != 304:
            resp.content_type = self._type(key, resp.options.static_media_types)
            if self._types and not resp.content_type.startswith(self._types):
                resp.set_header("Content-Disposition", "attachment")
            if size is not None:
                resp.content_length = size
        return size, first

    def _type(self, key: str, known: dict[str, str]) -> str:
        name = known.get(PurePath(key).suffix.lower(), UNKNOWN)
        return name if not self._types or name.startswith(self._types) else UNKNOWN


class _Stream(AsyncIterator[bytes]):
    """The content of an answer, piece by piece, until the client has all of it or has gone.

    The server silently drops pieces for a client that has gone (ASGI 2.3). Without a look at the
    connection, the whole file would be read for a client that left at once.
    """

    def __init__(
        self, file: Opened, first: int, size: int | None, read: Read, receive: Receive | None
    ) -> None:
        self._file, self._at, self._left = file, first, size
        self._read, self._receive = read, receive
        self._gone: asyncio.Task[None] | None = None

    async def __anext__(self) -> bytes:
        if self._gone is None and self._receive is not None:
            self._gone = asyncio.create_task(_disconnected(self._receive))
        if self._left == 0 or (self._gone is not None and self._gone.done()):
            raise StopAsyncIteration
        size = PIECE_BYTES if self._left is None else min(self._left, PIECE_BYTES)
        piece: bytes = await self._read(self._file.read, size, self._at)
        if not piece:  # it has become shorter, or its end was not known
            raise StopAsyncIteration
        self._at += len(piece)
        if self._left is not None:
            self._left -= len(piece)
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
