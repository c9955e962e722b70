"""How many bodies of uploads are read at a time. The others wait in their sockets, where they take
no memory of ours.

A body holds a place until it has been read, but only while it is quick. A slow one, of which
thousands may trickle in for hours, soon gives its place up and is read on without one: it has
little in memory at a time. Clients take turns, so one that sends hundreds of bodies at once, each
just quick enough, keeps nobody else waiting.
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
    """The place of one body, until it is given up."""

    def __init__(self, turns: Turns, whose: str, turn: Turn) -> None:
        self._turns, self._whose, self._turn = turns, whose, turn
        self._given_up = False
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
        if not self._given_up:
            self._given_up = True
            self._turns.leave(self._whose, self._turn)


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
        turn = self._turns.come(whose)
        try:
            await turn
        except BaseException:
            self._turns.leave(whose, turn)
            raise
        place = Place(self._turns, whose, turn)
        try:
            yield place
        finally:
            place.give_up()
