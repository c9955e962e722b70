"""A few threads for work that may take long, shared fairly by the clients that wait for them.

A client that sends forty such requests gets at most two of four threads, and a newcomer's request
is next. When all places are taken, the client with the most of them loses its last one, as a fair
queueing router drops from the longest queue (RFC 7567, 2.1). `context` has one queue for fetching
and one for checking.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager


class TooBusy(Exception):
    """There is no room for another request of this kind now."""


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
        self._free, self._most = threads, most
        self._each = max(1, threads // 2) if each is None else each
        self._running: Counter[str] = Counter()
        #: The waiting requests by client, in the order of their arrival. The clients are in the
        #: order of their arrival or last turn.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

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
        if self._running.total() + self._count() >= self._most:
            self._make_room(whose, refusal)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append(turn)
        self._next()
        try:
            try:
                async with asyncio.timeout(wait_s):
                    await turn
            except TimeoutError:
                raise TooBusy(refusal) from None
            yield self.threads
        finally:
            self._leave(whose, turn)

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _make_room(self, whose: str, refusal: str) -> None:
        """Refuse the last request of the client that has the most, in favour of one that has
        fewer."""
        greediest = max(self._waiting, key=self._had_by, default=whose)
        if self._had_by(greediest) <= self._had_by(whose) + 1:
            raise TooBusy(refusal)
        last = self._waiting[greediest][-1]
        self._forget(greediest, last)
        last.set_exception(TooBusy(refusal))

    def _had_by(self, whose: str) -> int:
        return self._running[whose] + len(self._waiting.get(whose, ()))

    def _next(self) -> None:
        """Give free threads to the clients that have the fewest, in turn."""
        while self._free:
            able = [whose for whose in self._waiting if self._running[whose] < self._each]
            if not able:
                return
            whose = min(able, key=lambda one: self._running[one])
            turns = self._waiting.pop(whose)
            turns.popleft().set_result(None)
            if turns:
                self._waiting[whose] = turns  # at the end
            self._running[whose] += 1
            self._free -= 1

    def _leave(self, whose: str, turn: asyncio.Future[None]) -> None:
        had_a_thread = turn.done() and not turn.cancelled() and turn.exception() is None
        if had_a_thread:
            self._running[whose] -= 1
            if not self._running[whose]:
                del self._running[whose]
            self._free += 1
            self._next()
        else:
            self._forget(whose, turn)

    def _forget(self, whose: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(whose, deque())
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[whose]
