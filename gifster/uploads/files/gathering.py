"""The chunks of a form's part on an event loop, which threads write into the cache, many at a time.

While a thread writes and hashes some, the next ones are gathered.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from gifster.uploads.files.cache import CachedFile, CacheWriter
from gifster.uploads.files.content import HELD_BYTES

#: How much is gathered before a thread writes it, and in how many chunks. It is what `Content`
#: holds at most, so nothing is held for longer.
GATHERED_BYTES, MOST_CHUNKS = HELD_BYTES, 64


class Gathered:
    """The chunks of a part that are not written yet. They are not copied together."""

    def __init__(self) -> None:
        self.bytes = 0
        self._chunks: list[bytes] = []

    def add(self, chunk: bytes) -> int:
        """Add a chunk. Returns how many bytes there are now."""
        self._chunks.append(chunk)
        if len(self._chunks) > MOST_CHUNKS:  # each is an object, however small
            self._chunks = [b"".join(self._chunks)]
        self.bytes += len(chunk)
        return self.bytes

    def taken(self) -> list[bytes]:
        """The chunks. It has none from now on."""
        chunks, self._chunks, self.bytes = self._chunks, [], 0
        return chunks


class Writing:
    """Writes lists of chunks on threads, one after the other.

    Parameters:
      run: awaits a blocking function's result.
    """

    def __init__(self, run: Callable[..., Awaitable[Any]]) -> None:
        self._run = run
        self._is_first = True
        self._task: asyncio.Future[Any] | None = None

    async def begin(self, writer: CacheWriter, chunks: list[bytes]) -> None:
        """Write chunks once those before are written. The first ones are written when it returns:
        they show whether the uploader takes such a file.

        Raises:
          UploadError, OSError: those before could not be written.
        """
        await self.end()
        self._task = asyncio.ensure_future(self._run(write, writer, chunks))
        if self._is_first:
            self._is_first = False
            await self.end()

    async def look(self) -> None:
        """Raise the error of what was written, if there is one by now."""
        if self._task is not None and self._task.done():
            await self.end()

    async def end(self) -> None:
        """Wait until all is written. Raises what `begin()` raises."""
        task, self._task = self._task, None
        if task is not None:
            await task

    async def stop(self) -> None:
        """Wait until nobody writes, however often the request is cancelled. Raises nothing."""
        task, self._task = self._task, None
        if task is None:
            return
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # or asyncio would log that nobody has seen it


def write(writer: CacheWriter, chunks: list[bytes]) -> None:
    """Write some chunks of an upload, and let go of them."""
    for chunk in chunks:
        writer.write(chunk)
    chunks.clear()


def write_last(writer: CacheWriter, chunks: list[bytes]) -> CachedFile | None:
    """Write the last chunks of an upload. Returns what `finish_quickly()` returns."""
    if not chunks:
        writer.write(b"")
    write(writer, chunks)
    return writer.finish_quickly()
