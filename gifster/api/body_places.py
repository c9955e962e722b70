"""How many bodies of uploads are read quickly at a time. The others wait in their sockets, where
they take no memory of ours.

A body holds a place until it has been read, but only while it is quick. A slow one, of which
thousands may trickle in for hours, soon gives its place up and is read on without one: it has
little in memory at a time. One that is quick for long, or becomes quick, waits for another turn.
Clients take turns, so one that sends hundreds of bodies at once keeps nobody else waiting.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gifster.api.fair_queue import Turn, Turns

#: How many quick bodies are read at a time. More would make none of them quicker.
PLACES = 32
#: A body whose bytes in so many seconds are fewer than that is slow, and one that takes longer than
#: `MOST_S` altogether gives others a turn.
TICK_S, QUICK_BYTES_A_TICK, MOST_S = 0.25, 64 * 1024, 2.0


class Place:
    """The place of one body, until it is given up; and its further ones."""

    def __init__(self, turns: Turns, whose: str, turn: Turn) -> None:
        self._turns, self._whose = turns, whose
        self._loop = asyncio.get_running_loop()
        #: How much of the body has come (bytes).
        self.received = 0
        self._take(turn)

    def _take(self, turn: Turn) -> None:
        self._turn: Turn | None = turn
        self._until = self._loop.time() + MOST_S
        #: How much had come when the present tick began, and when that was.
        self._before, self._began = self.received, self._loop.time()
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        quick = self.received - self._before >= QUICK_BYTES_A_TICK
        if not quick or self._loop.time() >= self._until:
            self.give_up()
            return
        self._before = self.received
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def must_wait(self) -> bool:
        """Whether the body is too quick to be read on without a place."""
        if self._turn is not None:
            return False
        if self._loop.time() - self._began >= TICK_S:
            self._before, self._began = self.received, self._loop.time()
        return self.received - self._before >= QUICK_BYTES_A_TICK

    async def again(self) -> None:
        """Wait for another turn."""
        self._take(await _turn(self._turns, self._whose))

    def give_up(self) -> None:
        """Let another body be read. It does nothing the second time."""
        self._timer.cancel()
        turn, self._turn = self._turn, None
        if turn is not None:
            self._before, self._began = self.received, self._loop.time()
            self._turns.leave(self._whose, turn)


class Bodies:
    """The places of one web process."""

    def __init__(self, places: int = PLACES) -> None:
        # A client that is alone may have all places.
        self._turns = Turns(places, each=places)

    @asynccontextmanager
    async def place(self, whose: str) -> AsyncIterator[Place]:
        """Wait for a place, and hold it until the block ends, or until the body is slow.

        Parameters:
          whose: the client; clients take turns.
        """
        place = Place(self._turns, whose, await _turn(self._turns, whose))
        try:
            yield place
        finally:
            place.give_up()


async def _turn(turns: Turns, whose: str) -> Turn:
    """A turn that has come."""
    turn = turns.come(whose)
    try:
        await turn
    except BaseException:
        turns.leave(whose, turn)
        raise
    return turn
