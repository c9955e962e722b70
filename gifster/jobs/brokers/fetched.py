"""The messages that a consumer has fetched and no thread has taken, and which of them is next.

Messages with a lower priority number come first. Among equals, the group that uses the fewest
threads of the queue comes first, then the oldest message. A group that uses as many threads as it
may waits and lets the others pass (decision 31). Messages without a group count as one group that
uses no thread.
"""

import heapq
import itertools
import threading
import time
from contextlib import nullcontext
from typing import Any

from gifster.jobs.brokers.fair import AnyMessage, FairScheduler, group_of

#: The most messages of groups that a consumer keeps beyond what it may prefetch.
MOST_ASIDE = 256


class Fetched:
    """The fetched messages of one queue.

    Parameters:
      queue: its name.
      scheduler: of this worker process; None if the messages use no thread.
    """

    def __init__(self, queue: str, scheduler: FairScheduler | None) -> None:
        self._queue, self._scheduler = queue, scheduler
        self._heaps: dict[str | None, list[tuple[int, int, AnyMessage]]] = {}
        self._numbers = itertools.count()
        self._count = 0
        #: When the last message was taken by a thread (`time.monotonic()`).
        self.taken_at = 0.0
        self._lock: Any = nullcontext() if scheduler is None else scheduler.lock
        #: What is set as soon as only `_low` messages are left; None if nobody waits for it.
        self._running_low: threading.Event | None = None
        self._low = 0

    def __len__(self) -> int:
        return self._count

    def add(self, message: AnyMessage, priority: int) -> None:
        """Add a message, with the priority of its actor."""
        with self._lock:
            heap = self._heaps.setdefault(group_of(message), [])
            heapq.heappush(heap, (priority, next(self._numbers), message))
            self._count += 1

    @property
    def aside(self) -> int:
        """How many messages do not count as prefetched, so that one group's messages do not keep
        the consumer from fetching another's. Of each group all but the first message are aside;
        the first one is, too, while the group uses as many threads as it may."""
        with self._lock:
            if len(self._heaps) == (None in self._heaps):
                return 0
            every = ((group, len(heap)) for group, heap in self._heaps.items() if group is not None)
            return min(MOST_ASIDE, sum(count - self._may_begin(group) for group, count in every))

    @property
    def any_may_begin(self) -> bool:
        """Whether one of the messages may use a thread as soon as there is one."""
        with self._lock:
            return None in self._heaps or any(map(self._may_begin, self._heaps))

    def pop(self) -> Any:
        """Remove and return the next message that may begin. There must be one. The scheduler
        calls it, under its lock."""
        if len(self._heaps) == 1:
            (group,) = self._heaps
        else:
            able = (group for group in self._heaps if self._may_begin(group))
            group = min(able, key=self._rank)
        heap = self._heaps[group]
        _, _, message = heapq.heappop(heap)
        if not heap:
            del self._heaps[group]
        self._count -= 1
        self.taken_at = time.monotonic()
        self._tell_if_low()
        return message

    def tell_when_low(self, event: threading.Event, low: int) -> None:
        """Set an event once, as soon as only `low` messages are left; those aside do not count."""
        with self._lock:
            self._running_low, self._low = event, low
            self._tell_if_low()

    def _tell_if_low(self) -> None:
        if self._running_low is not None and self._count - self.aside <= self._low:
            self._running_low.set()
            self._running_low = None

    def keep_first(self, count: int) -> list[Any]:
        """Remove and return the last messages, in their order, until at most `count` are left, not
        counting those aside."""
        removed = []
        with self._lock:
            for heap in self._heaps.values():
                heap.sort()  # a sorted list is a heap
            while self._count and self._count - self.aside > count:
                group = max(self._heaps, key=lambda group: self._heaps[group][-1][:2])
                removed.append(self._heaps[group].pop())
                if not self._heaps[group]:
                    del self._heaps[group]
                self._count -= 1
        return [message for _, _, message in reversed(removed)]

    def clear(self) -> list[Any]:
        """Remove and return all messages, in their order."""
        with self._lock:
            items = sorted(item for heap in self._heaps.values() for item in heap)
            self._heaps, self._count = {}, 0
        return [message for _, _, message in items]

    def _may_begin(self, group: str | None) -> bool:
        return self._scheduler is None or self._scheduler.group_has_room(self._queue, group)

    def _rank(self, group: str | None) -> tuple[int, int, int]:
        priority, number, _ = self._heaps[group][0]
        scheduler = self._scheduler
        running = 0 if scheduler is None else scheduler.running_in_group(self._queue, group)
        return priority, running, number
