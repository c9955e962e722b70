"""The fair scheduler: it shares the threads of a worker process among queues, by weight.

Dramatiq puts everything that its consumers fetch into one work queue, first come, first served.
Ours offer what they fetch here, and a thread that is free takes the next job itself, by stride
scheduling (Waldspurger and Weihl, 1995): each job advances its queue's pass by 1/weight, and the
queue with the lowest pass is next. `default = 5, carrierwave = 3` gives 5:3 while both queues have
jobs, as in Sidekiq. A queue without jobs leaves its threads to the others and saves nothing up.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import dramatiq
from dramatiq.broker import MessageProxy

from gifster.jobs.adaptive_lock import AdaptiveLock

AnyMessage = dramatiq.Message[Any] | MessageProxy

#: How long a free thread is kept for a queue that has to fetch its next message first (seconds).
KEEP_S = 0.05
#: How long anything waits in a worker that stops: then it looks whether it is to end (seconds).
STOPPING_S = 0.02

#: The message option that names the group.
GROUP = "group"


@dataclass(frozen=True)
class QueueWeight:
    """The weight of a queue, and its limits within one worker process.

    Parameters:
      weight: of the jobs that start while several queues have jobs, the queue's proportion; 1 or
        more.
      max: the most threads that the queue may use, 1 or more; None for no limit.
      group_max: the most threads of these that one group may use, 1 or more; None for all but one,
        so that one is left for the others.

    Raises:
      ValueError: one of them is less than 1.
    """

    weight: int = 1
    max: int | None = None
    group_max: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} of a queue: use 1 or more")


def group_of(message: AnyMessage) -> str | None:
    """The group of a message; None if it has none."""
    group = message.options.get(GROUP)
    return None if group is None else str(group)


class Offered(Protocol):
    """The fetched messages of one queue (see `fetched.py`)."""

    @property
    def any_may_begin(self) -> bool: ...
    def pop(self) -> Any: ...


@dataclass(frozen=True)
class _Waiting:
    """A queue that fetches nothing until a thread is free: what is set then, and whether it may
    have a message to fetch."""

    told: threading.Event
    wants: Callable[[], bool]


class FairScheduler:
    """Hands the threads of one worker process to its queues.

    Parameters:
      threads: how many threads the process has.
      weights: by queue; a queue that is missing has a weight of 1 and no limit.
    """

    def __init__(self, threads: int, weights: Mapping[str, QueueWeight]) -> None:
        self._threads, self._weights = threads, weights
        #: It also guards the messages that are offered.
        self.lock = AdaptiveLock()
        self._offers = self.lock.condition()
        self._pauses = self.lock.condition()
        self._offered: dict[str, Offered] = {}
        self._passes: dict[str, float] = {}
        self._running: Counter[str] = Counter()
        #: By queue and group.
        self._in_groups: Counter[tuple[str, str]] = Counter()
        #: The queues that have jobs. A queue stays here while it fetches more; otherwise the other
        #: queues would get its turns.
        self._racing: set[str] = set()
        #: The queues that fetch nothing until a thread is free.
        self._want_thread: dict[str, _Waiting] = {}
        #: Those for which one is kept, until they have fetched, and until when at most
        #: (`time.monotonic()`).
        self._kept: dict[str, float] = {}
        self._paused: frozenset[str] = frozenset()
        self._quiet = False
        #: Until when these orders hold (`time.monotonic()`).
        self._ordered_until = math.inf
        #: Whether the worker stops.
        self.stopping = False

    def offer(self, queue: str, messages: Offered, count: int) -> None:
        """Have the threads take the messages of a queue, of which `count` are new."""
        with self.lock:
            self._offered[queue] = messages
            self._race(queue)
            if self._keep_no_longer(queue):  # before those that are as far
                self._passes[queue] = math.nextafter(self._passes[queue], -math.inf)
            self._offers.notify(count)

    def next(self, timeout_s: float) -> Any:
        """Wait until a message may begin, and take a thread for it.

        Returns:
          the message; None if that took longer than `timeout_s`, or the worker stops.
        """
        deadline = None
        with self.lock:
            while self.stopping or (queue := self._next()) is None:
                if self.stopping and deadline is not None:
                    return None  # after a moment
                now = time.monotonic()
                deadline = now + timeout_s if deadline is None else deadline
                if now >= deadline:
                    return None
                self._offers.wait(self.at_most(min([deadline, *self._kept.values()]) - now))
            message = self._offered[queue].pop()
            self.begin(queue, group_of(message))
            self._passes[queue] += 1 / self._weight_of(queue).weight
            return message

    def begin(self, queue: str, group: str | None = None) -> None:
        """Count a thread that a message uses."""
        with self.lock:
            self._running[queue] += 1
            if group is not None:
                self._in_groups[queue, group] += 1

    def done(self, queue: str, group: str | None = None) -> None:
        """Give a thread back. It is about to ask for the next message."""
        with self.lock:
            self._running[queue] -= 1
            if group is not None:
                self._in_groups[queue, group] -= 1
                if self._in_groups[queue, group] <= 0:
                    del self._in_groups[queue, group]
            self.tell_next()

    def has_thread(self, queue: str) -> bool:
        """Whether a thread is free for a queue."""
        with self.lock:
            kept = self._kept_threads() - (queue in self._kept)
            return self._running.total() + kept < self._threads and self._has_room(queue)

    def share_of(self, queue: str) -> float:
        """The weight of a queue, compared with the greatest of those that have jobs: at most 1."""
        with self.lock:
            weight = self._weight_of(queue).weight
            return weight / max(
                [weight, *(self._weight_of(other).weight for other in self._racing)]
            )

    def wait_for_thread(self, queue: str, timeout_s: float, wants: Callable[[], bool]) -> None:
        """Wait until a thread is free for a queue, but no longer than `timeout_s`. If several
        queues wait, the one that is next by the weights goes on alone. It calls `tell_next()` when
        it has offered what it has.

        If it is the queue's turn, the thread is kept for it. Otherwise a thread that becomes free
        would take the next message of a queue that has fetched some already, each time.

        Parameters:
          wants: whether the queue may have a message to fetch.
        """
        waiting = _Waiting(threading.Event(), wants)
        with self.lock:
            self._want_thread[queue] = waiting
            self.tell_next()
        waiting.told.wait(self.at_most(timeout_s))
        with self.lock:
            self._want_thread.pop(queue, None)

    def tell_next(self) -> None:
        """Let the next queue go on that waits for a thread, if one is free."""
        if self._want_thread:
            with self.lock:
                able = [
                    queue
                    for queue, waiting in self._want_thread.items()
                    if waiting.wants() and self.has_thread(queue)
                ]
                if able:
                    queue = min(able, key=lambda queue: (self._passes.get(queue, 0.0), queue))
                    if self._is_its_turn(queue):
                        self._kept[queue] = time.monotonic() + KEEP_S
                    self._want_thread.pop(queue).told.set()

    def stop(self) -> None:
        """Give no thread to any queue from now on, and have those that wait look whether they are
        to end."""
        with self.lock:
            self.stopping = True
            self._offers.notify_all()
            self._pauses.notify_all()
            for waiting in self._want_thread.values():
                waiting.told.set()

    def at_most(self, timeout_s: float) -> float:
        """How long anything may wait that would wait for `timeout_s`."""
        return min(timeout_s, STOPPING_S) if self.stopping else timeout_s

    def running_in(self, queue: str) -> int:
        """How many threads a queue uses."""
        return self._running[queue]

    def running_in_group(self, queue: str, group: str | None) -> int:
        """How many threads a group uses; 0 for no group."""
        return 0 if group is None else self._in_groups.get((queue, group), 0)

    def group_has_room(self, queue: str, group: str | None) -> bool:
        """Whether a group uses fewer threads than it may. Messages without a group have room."""
        running = self.running_in_group(queue, group)
        return running == 0 or running < self._most_of_group(queue)

    @property
    def running(self) -> int:
        """How many threads are taken."""
        return self._running.total()

    def pause(self, queues: Collection[str], *, everything: bool, for_s: float = math.inf) -> None:
        """Give no threads to these queues, or to any queue, until the next call.

        Parameters:
          for_s: how long this holds (seconds). If no other call comes by then, no queue gets a
            thread until one does.
        """
        with self.lock:
            self._paused, self._quiet = frozenset(queues), everything
            self._ordered_until = time.monotonic() + for_s
            self._pauses.notify_all()
            self._offers.notify_all()

    def is_paused(self, queue: str) -> bool:
        """Whether a queue gets no threads now."""
        return self._quiet or queue in self._paused or time.monotonic() >= self._ordered_until

    def wait_while_paused(self, queue: str, timeout_s: float) -> None:
        """Wait until the queue gets threads again, but no longer than `timeout_s`."""
        with self.lock:
            if self.is_paused(queue):
                self._pauses.wait(self.at_most(timeout_s))

    def leave(self, queue: str) -> None:
        """Take the queue out of the race, because it has no jobs."""
        with self.lock:
            self._racing.discard(queue)
            if self._keep_no_longer(queue):
                self._offers.notify()

    def _race(self, queue: str) -> None:
        if queue not in self._racing:
            now = min((self._passes[other] for other in self._racing), default=0.0)
            self._passes[queue] = max(self._passes.get(queue, 0.0), now)
            self._racing.add(queue)

    def _next(self) -> str | None:
        """The queue that is next, of those that have a message that may begin."""
        if self._running.total() + self._kept_threads() >= self._threads:
            return None
        able = self._able()
        for queue in able:
            self._race(queue)
        return min(able, key=lambda queue: (self._passes[queue], queue), default=None)

    def _able(self) -> list[str]:
        """The queues that have a message that may begin."""
        return [
            queue
            for queue, offered in self._offered.items()
            if offered.any_may_begin and self._has_room(queue)
        ]

    def _is_its_turn(self, queue: str) -> bool:
        """Whether a queue that has yet to fetch is next by the weights. One that joins the race is:
        it begins where the others are."""
        if queue not in self._racing:
            return True
        passes = [self._passes.get(other, 0.0) for other in self._able() if other != queue]
        return self._passes[queue] <= min(passes, default=math.inf)

    def _kept_threads(self) -> int:
        """How many threads are kept for queues that fetch."""
        if self._kept:
            now = time.monotonic()
            self._kept = {queue: until for queue, until in self._kept.items() if until > now}
        return len(self._kept)

    def _keep_no_longer(self, queue: str) -> bool:
        return self._kept.pop(queue, None) is not None

    def _has_room(self, queue: str) -> bool:
        limit = self._weight_of(queue).max
        return not self.is_paused(queue) and (limit is None or self._running[queue] < limit)

    def _most_of_group(self, queue: str) -> int:
        weight = self._weight_of(queue)
        if weight.group_max is not None:
            return weight.group_max
        return min(self._threads, weight.max or self._threads) - 1

    def _weight_of(self, queue: str) -> QueueWeight:
        return self._weights.get(queue, QueueWeight())
