"""What a consumer has fetched and not handed over, and which of it is next.

Messages of a lower priority number come first. Among equals the group that has the fewest threads
of its queue comes first, then whoever came first. A group that has as many threads as it may have
waits, and lets others by (decision 31). Messages without a group are as a group that has none.
"""

import heapq
import itertools
from typing import Any

import dramatiq

from gifster.jobs.brokers.fair import Turns, group_of

#: How many messages of groups a consumer holds beside what it may prefetch.
MOST_ASIDE = 256


class Fetched:
    """The messages of one queue.

    Parameters:
      queue: its name.
      turns: the threads of this worker process; None if the messages take none.
    """

    def __init__(self, queue: str, turns: Turns | None) -> None:
        self._queue, self._turns = queue, turns
        self._heaps: dict[str | None, list[tuple[int, int, Any]]] = {}
        self._numbers = itertools.count()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, message: dramatiq.Message[Any] | dramatiq.MessageProxy, priority: int) -> None:
        """One more, with its actor's priority."""
        heap = self._heaps.setdefault(group_of(message), [])
        heapq.heappush(heap, (priority, next(self._numbers), message))
        self._count += 1

    @property
    def aside(self) -> int:
        """How many do not count as prefetched: of each group all but the first one, and that one,
        too, if its group has as many threads as it may have. So one group's do not keep another's
        from being fetched."""
        if len(self._heaps) == (None in self._heaps):
            return 0
        every = ((group, len(heap)) for group, heap in self._heaps.items() if group is not None)
        return min(MOST_ASIDE, sum(count - self._may_begin(group) for group, count in every))

    @property
    def any_may_begin(self) -> bool:
        """Whether one of them may have a thread when there is one."""
        return None in self._heaps or any(map(self._may_begin, self._heaps))

    def pop(self) -> Any:
        """Take the next one that may begin. There must be one."""
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
        return message

    def clear(self) -> list[Any]:
        """Take them all, in their order."""
        items = sorted(item for heap in self._heaps.values() for item in heap)
        self._heaps, self._count = {}, 0
        return [message for _, _, message in items]

    def _may_begin(self, group: str | None) -> bool:
        return self._turns is None or self._turns.group_has_room(self._queue, group)

    def _rank(self, group: str | None) -> tuple[int, int, int]:
        priority, number, _ = self._heaps[group][0]
        running = 0 if self._turns is None else self._turns.running_in_group(self._queue, group)
        return priority, running, number
