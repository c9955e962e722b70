"""Whose turn it is: the threads of a worker process are shared among its queues by weight.

Dramatiq puts what its consumers fetch into one work queue, first come, first served. Here a
consumer hands a job over only when a thread is free and it is its queue's turn, by stride
scheduling (Waldspurger and Weihl, 1995): each job advances its queue's pass by 1/weight, and the
lowest pass is next. So `default = 5, carrierwave = 3` is a ratio of 5:3 while both have jobs, as in
Sidekiq; a queue that has none leaves its share to the others, and saves nothing up.
"""

import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import dramatiq
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware

#: The option of a message that names its group.
GROUP = "group"


@dataclass(frozen=True)
class Share:
    """What a queue gets of the threads: its weight among the queues that have jobs, and at most how
    many threads at a time (None: all); and how many of these the jobs of one group get (None: all
    but one, which is there for the others)."""

    weight: int = 1
    max: int | None = None
    group_max: int | None = None


def group_of(message: Any) -> str | None:
    """The group of a message; None if it has none."""
    group = message.options.get(GROUP)
    return None if group is None else str(group)


class Turns:
    """The threads of one worker process.

    Parameters:
      threads: how many there are.
      shares: by queue; a queue that is not named has a weight of 1.
    """

    def __init__(self, threads: int, shares: Mapping[str, Share]) -> None:
        self._threads, self._shares = threads, shares
        self._changed = threading.Condition()
        self._passes: dict[str, float] = {}
        self._running: Counter[str] = Counter()
        #: By queue and group. Only a queue's own consumer begins jobs, so room that it sees stays.
        self._in_groups: Counter[tuple[str, str]] = Counter()
        #: The queues that have jobs. One stays in the race while it fetches more, or between two of
        #: its jobs: would it drop out, the others would have its turns.
        self._racing: set[str] = set()
        self._paused: frozenset[str] = frozenset()
        self._quiet = False

    def take(self, queue: str, timeout_s: float) -> bool:
        """Wait for a thread and the queue's turn, and take both.

        Returns:
          False if that did not come in time.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._race(queue)
            while self._next() != queue:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return False
            self._running[queue] += 1
            self._passes[queue] += 1 / self._share(queue).weight
            if len(self._racing) > 1:
                self._changed.notify_all()
            return True

    def begin(self, queue: str, group: str) -> None:
        """Count the thread that was just taken for a group."""
        with self._changed:
            self._in_groups[queue, group] += 1

    def running_in_group(self, queue: str, group: str | None) -> int:
        """How many threads a group has; 0 for no group."""
        return 0 if group is None else self._in_groups.get((queue, group), 0)

    def group_has_room(self, queue: str, group: str | None) -> bool:
        """Whether a group has fewer threads than it may have. Without a group there is room."""
        running = self.running_in_group(queue, group)
        return running == 0 or running < self._most_of_group(queue)

    @property
    def running(self) -> int:
        """How many threads are taken."""
        return self._running.total()

    def hold(self, paused: Collection[str], *, everything: bool) -> None:
        """Give no more turns to these queues, or to any, until told otherwise."""
        with self._changed:
            self._paused, self._quiet = frozenset(paused), everything
            self._changed.notify_all()

    def held(self, queue: str) -> bool:
        """Whether a queue gets no turns now."""
        return self._quiet or queue in self._paused

    def wait_while_held(self, queue: str, timeout_s: float) -> None:
        """Wait until it gets turns again, but no longer than that."""
        with self._changed:
            self._changed.wait_for(lambda: not self.held(queue), timeout_s)

    def done(self, queue: str, group: str | None = None) -> None:
        """Give the thread back."""
        with self._changed:
            self._running[queue] -= 1
            if group is not None:
                self._in_groups[queue, group] -= 1
                if self._in_groups[queue, group] <= 0:
                    del self._in_groups[queue, group]
            self._changed.notify_all()

    def leave(self, queue: str) -> None:
        """Let the others have the queue's turns, as it has no jobs."""
        with self._changed:
            if queue in self._racing:
                self._racing.discard(queue)
                self._changed.notify_all()

    def _race(self, queue: str) -> None:
        if queue not in self._racing:
            now = min((self._passes[other] for other in self._racing), default=0.0)
            self._passes[queue] = max(self._passes.get(queue, 0.0), now)
            self._racing.add(queue)

    def _next(self) -> str | None:
        if self._running.total() >= self._threads:
            return None
        able = [queue for queue in self._racing if self._has_room(queue)]
        return min(able, key=lambda queue: (self._passes[queue], queue), default=None)

    def _has_room(self, queue: str) -> bool:
        limit = self._share(queue).max
        return not self.held(queue) and (limit is None or self._running[queue] < limit)

    def _most_of_group(self, queue: str) -> int:
        share = self._share(queue)
        if share.group_max is not None:
            return share.group_max
        return min(self._threads, share.max or self._threads) - 1

    def _share(self, queue: str) -> Share:
        return self._shares.get(queue, Share())


def add_turns(broker: dramatiq.Broker, shares: Mapping[str, Share]) -> None:
    """Have a broker know the turns of its worker process as `broker.turns`, before all its other
    middleware looks for them."""
    first = type(broker.middleware[0]) if broker.middleware else None
    broker.add_middleware(_TurnsOfWorker(shares), before=first)


class _TurnsOfWorker(Middleware):
    def __init__(self, shares: Mapping[str, Share]) -> None:
        self._shares = shares

    def before_worker_boot(self, broker: Any, worker: dramatiq.Worker) -> None:
        broker.turns = Turns(worker.worker_threads, self._shares)


class InTurn:
    """A consumer that takes a thread for each message that it hands over, and gives it back when
    the message is done; mixed in before one of Dramatiq's. `turns` is None for one whose messages
    only wait."""

    turns: Turns | None
    queue_name: str

    def ack(self, message: Any) -> None:
        """Done."""
        self._finish(super().ack, message)  # type: ignore[misc]

    def nack(self, message: Any) -> None:
        """Given up."""
        self._finish(super().nack, message)  # type: ignore[misc]

    def _finish(self, finish: Any, message: Any) -> None:
        try:
            finish(message)
        except ConnectionClosed:
            raise  # it is tried again by the same thread, which is not free yet
        except BaseException:
            self._give_thread_back(message)
            raise
        self._give_thread_back(message)

    def _give_thread_back(self, message: Any) -> None:
        if self.turns is not None:
            self.turns.done(self.queue_name, group_of(message))
