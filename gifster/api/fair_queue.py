"""Places that clients share fairly: a few threads for work that may take long (`FairQueue`), and
the turns themselves (`Turns`).

A client that sends forty such requests gets at most two of four threads, and a newcomer's request
is next. When all places are taken, the client with the most of them loses its last one, as a fair
queueing router drops from the longest queue (RFC 7567, 2.1). `context` has one queue for fetching
and one for checking; the bodies of uploads take turns too (`body_places`).
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

Turn = asyncio.Future[None]


class TooBusy(Exception):
    """There is no room for another request of this kind now."""


class Turns:
    """Places, and the clients that wait for them. A free place goes to the client that has the
    fewest; of several, to the one whose last turn is longest ago. All calls come from one event
    loop.

    Parameters:
      places: how many there are.
      each: how many one client gets at most.
    """

    def __init__(self, places: int, each: int) -> None:
        self._free, self._each = places, each
        self._running: Counter[str] = Counter()
        #: The waiting requests by client, in the order of their arrival. The clients are in the
        #: order of their arrival or last turn.
        self._waiting: dict[str, deque[Turn]] = {}

    def come(self, whose: str) -> Turn:
        """A turn, which is done once it has a place. `leave()` must follow, whatever comes."""
        turn: Turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append(turn)
        self._next()
        return turn

    def leave(self, whose: str, turn: Turn) -> None:
        """Give up a turn's place, or its waiting for one."""
        had_a_place = turn.done() and not turn.cancelled() and turn.exception() is None
        if had_a_place:
            self._running[whose] -= 1
            if not self._running[whose]:
                del self._running[whose]
            self._free += 1
            self._next()
        else:
            self._forget(whose, turn)

    def count(self) -> int:
        """How many requests have a place or wait for one."""
        return self._running.total() + sum(map(len, self._waiting.values()))

    def had_by(self, whose: str) -> int:
        """How many of them are one client's."""
        return self._running[whose] + len(self._waiting.get(whose, ()))

    def greediest(self, default: str) -> str:
        """The waiting client that has the most of them; `default` if none waits."""
        return max(self._waiting, key=self.had_by, default=default)

    def refuse_last(self, whose: str, error: Exception) -> None:
        """Have the last turn that a client waits for raise an error."""
        last = self._waiting[whose][-1]
        self._forget(whose, last)
        last.set_exception(error)

    def _next(self) -> None:
        """Give free places to the clients that have the fewest, in turn."""
        while self._free:
            able = [whose for whose in self._waiting if self._running[whose] < self._each]
            if not able:
                return
            whose = min(able, key=lambda one: self._running[one])
            turns = self._waiting.pop(whose)
            turn = turns.popleft()
            if turns:
                self._waiting[whose] = turns  # at the end
            if turn.cancelled():
                continue  # it has not left yet
            turn.set_result(None)
            self._running[whose] += 1
            self._free -= 1

    def _forget(self, whose: str, turn: Turn) -> None:
        turns = self._waiting.get(whose, deque())
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[whose]


class FairQueue:
    """Threads, and the requests that wait for them. All calls come from one event loop.

    Parameters:
      threads: how many there are.
      most: how many requests may run or wait at once.
      name: the prefix of the threads' names.
      each: how many threads one client gets at most; by default half of them.
    """

    def __init__(self, threads: int, most: int, name: str, each: int | None = None) -> None:
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = most
        self._turns = Turns(threads, max(1, threads // 2) if each is None else each)

    @asynccontextmanager
    async def place(
        self, refusal: str, whose: str, wait_s: float
    ) -> AsyncIterator[ThreadPoolExecutor]:
        """Wait for this request's turn, then hold a thread for as long as the block lasts.

        Parameters:
          refusal: a sentence for a client that gets no place.
          whose: the client.
          wait_s: how long to wait (seconds).

        Raises:
          TooBusy: the turn did not come in time, or all places are taken.
        """
        if self._turns.count() >= self._most:
            self._make_room(whose, refusal)
        turn = self._turns.come(whose)
        try:
            try:
                async with asyncio.timeout(wait_s):
                    await turn
            except TimeoutError:
                raise TooBusy(refusal) from None
            yield self.threads
        finally:
            self._turns.leave(whose, turn)

    def _make_room(self, whose: str, refusal: str) -> None:
        """Refuse the last request of the client that has the most, in favour of one that has
        fewer."""
        greediest = self._turns.greediest(whose)
        if self._turns.had_by(greediest) <= self._turns.had_by(whose) + 1:
            raise TooBusy(refusal)
        self._turns.refuse_last(greediest, TooBusy(refusal))
