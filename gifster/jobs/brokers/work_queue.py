"""Stands in for the work queue of Dramatiq's worker: its threads take their messages straight from
the fair scheduler.

Dramatiq's consumers put each message into a queue, from which a thread gets it. That is a switch of
threads for each message, and a free thread has to wait for the consumer. Here a thread that is done
takes the next message itself, by the weights, and goes on.
"""

import queue
from typing import Any, NamedTuple

from gifster.jobs.adaptive_lock import AdaptiveLock
from gifster.jobs.brokers.fair import FairScheduler


class Taken(NamedTuple):
    """What a thread of Dramatiq's worker expects of its work queue."""

    message: Any


class WorkQueue(queue.PriorityQueue[Any]):
    """The messages that may begin now.

    Parameters:
      scheduler: of the worker.
    """

    def __init__(self, scheduler: FairScheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        # All threads count their messages by it.
        self.mutex = lock = AdaptiveLock()  # type: ignore[assignment]
        self.not_empty, self.not_full, self.all_tasks_done = (lock.condition() for _ in range(3))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next message. What somebody has put here comes first: a message in the queue for
        delayed messages that is not delayed.

        Raises:
          Empty: there is none within `timeout` seconds.
        """
        if self._qsize() or not block:  # a worker that stops gives back only what was put here
            return super().get(block=False)
        message = self._scheduler.next(timeout or 0)
        if message is None:
            raise queue.Empty
        with self.all_tasks_done:
            self.unfinished_tasks += 1
        return Taken(message)
