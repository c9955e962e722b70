"""Gathers the chunks of a body on an event loop, so that threads write pieces of some size.

A quick body is written in large pieces. What has come of a slow one is written soon: thousands of
bodies may trickle in for hours, or just stop, and each would hold a large piece in memory.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gifster.uploads.files.content import HELD_BYTES
from gifster.uploads.to_the_end import to_the_end

#: How much is gathered before a thread writes it, and in how many chunks.
GATHERED_BYTES, MOST_CHUNKS = HELD_BYTES, 64
#: How often it is looked whether a body is slow (seconds): whether fewer bytes than these have come
#: since. And how much of it is worth a thread (bytes).
LOOK_S, QUICK_BYTES, WORTH_BYTES = 0.5, 128 * 1024, 16 * 1024


class Gathered:
    """The chunks of one body that are not written yet. They are not copied together.

    Parameters:
      write: writes some chunks, which come from a slow body if its second argument is True. One
        call follows the other.
    """

    def __init__(self, write: Callable[[list[bytes], bool], Awaitable[None]]) -> None:
        self._write = write
        #: How many bytes there are.
        self.bytes = 0
        self._chunks: list[bytes] = []
        self._came = 0
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def add(self, chunk: bytes) -> None:
        """Add a chunk, and write all of them if there are enough.

        Raises:
          Exception: what `write` has raised.
        """
        self._chunks.append(chunk)
        if len(self._chunks) > MOST_CHUNKS:  # each is an object, however small
            self._chunks = [b"".join(self._chunks)]
        self.bytes += len(chunk)
        self._came += len(chunk)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        if self.bytes >= GATHERED_BYTES:
            await self._written()
            await self._write(self._taken(), False)
        elif self._writing is not None and self._writing.done():
            await self._written()

    async def rest(self) -> list[bytes]:
        """The chunks that are not written, after the last one has come.

        Raises:
          Exception: what `write` has raised.
        """
        self.stop()
        await self._written()
        return self._taken()

    async def given_up(self) -> None:
        """Nothing is written any more once this has returned."""
        self.stop()
        with suppress(Exception):  # the body has failed already
            await self._written()

    def stop(self) -> None:
        """Have no more looks at how slow the body is, until another chunk comes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _written(self) -> None:
        """Wait for the chunks of a slow body that are being written."""
        if self._writing is not None:
            self.stop()  # a look would have others written at the same time
            writing, self._writing = self._writing, None
            try:
                await to_the_end(writing)
            finally:
                if not _went_well(writing):
                    self._taken()  # what came later has nothing to follow

    def _look(self) -> None:
        slow, self._came, self._timer = self._came < QUICK_BYTES, 0, None
        if self.bytes < WORTH_BYTES:
            return  # the next chunk has it looked again
        if slow and (self._writing is None or _went_well(self._writing)):
            self._writing = asyncio.ensure_future(self._write_slowly(self._taken()))
        else:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    async def _write_slowly(self, chunks: list[bytes]) -> None:
        await self._write(chunks, True)

    def _taken(self) -> list[bytes]:
        chunks, self._chunks, self.bytes = self._chunks, [], 0
        return chunks


def _went_well(writing: "asyncio.Task[None]") -> bool:
    return writing.done() and not writing.cancelled() and writing.exception() is None
