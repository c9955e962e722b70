"""How many bodies of uploads are read at a time. The others wait in their sockets, where they take
no memory of ours.

A body holds a place until it has been read, but only while it is quick. A slow one, of which
thousands may trickle in for hours, soon gives its place up and is read on without one: it has
little in memory at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: How many quick bodies are read at a time. More would make none of them quicker.
PLACES = 32
#: A body whose bytes in so many seconds are fewer than that is slow, and one that takes longer than
#: `MOST_S` altogether gives others a turn.
TICK_S, QUICK_BYTES_A_TICK, MOST_S = 0.25, 64 * 1024, 2.0


class Place:
    """The place of one body, until it is given up."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free: asyncio.Semaphore | None = free
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + MOST_S
        self._before = 0
        #: How much of the body has come (bytes).
        self.received = 0
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        quick = self.received - self._before >= QUICK_BYTES_A_TICK
        if not quick or self._loop.time() >= self._until:
            self.give_up()
            return
        self._before = self.received
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def give_up(self) -> None:
        """Let another body be read. It does nothing the second time."""
        self._timer.cancel()
        if self._free is not None:
            self._free.release()
            self._free = None


class Bodies:
    """The places of one web process."""

    def __init__(self, places: int = PLACES) -> None:
        self._free = asyncio.Semaphore(places)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """Wait for a place, and hold it until the block ends, or until the body is slow."""
        await self._free.acquire()
        place = Place(self._free)
        try:
            yield place
        finally:
            place.give_up()
