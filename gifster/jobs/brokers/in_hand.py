"""The messages that a worker process has fetched from Redis, and puts back if it loses them.

Redis counts a message as fetched until it is acknowledged, and gives it to another worker only when
this one shows no sign of life. A connection that breaks loses messages of a worker that lives: the
answer to a fetch, what a consumer could not give back, and the delayed messages, which Dramatiq
drops. So after a connection broke, the next consumer compares what Redis counts with what is in
hand here, and puts the rest back into the queue. It does so again for some minutes: the last
command of the broken connection may still be under way, and TCP repeats what was lost.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gifster.jobs.brokers.redis import RedisBroker

logger = logging.getLogger("gifster.jobs")

#: The first pause before the comparison is repeated, and the longest; it doubles (seconds). Linux
#: gives up the data of a closed connection after about two minutes.
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 128.0


class InHand:
    """The fetched messages of one worker process, by queue and by their id in Redis."""

    def __init__(self, broker: "RedisBroker") -> None:
        self._broker = broker
        self._ids: dict[str, set[str]] = defaultdict(set)
        #: The queues whose messages may have been lost: when to compare (`time.monotonic()`), and
        #: the pause after that.
        self._unsettled: dict[str, tuple[float, float]] = {}

    def add(self, queue: str, message_id: str) -> None:
        """Count a message as fetched."""
        self._ids[queue].add(message_id)

    def has(self, queue: str, message_id: str) -> bool:
        """Whether a message counts as fetched."""
        return message_id in self._ids.get(queue, ())

    def remove(self, queue: str, message_ids: Iterable[str]) -> None:
        """Count messages no longer: Redis has them back, or was told that they are done."""
        self._ids[queue].difference_update(message_ids)

    def lose(self, queue: str, message_ids: Iterable[str] = ()) -> None:
        """Count messages no longer, whatever Redis says; and compare before the next fetch."""
        self.remove(queue, message_ids)
        self._unsettled[queue] = (0.0, FIRST_PAUSE_S)

    def lose_all(self, queue: str) -> None:
        """Count no message of a queue any longer, and compare before the next fetch."""
        self.lose(queue, list(self._ids[queue]))

    def settle(self, queue: str) -> None:
        """Put back the messages that may have been lost, if it is time to look for them. The thread
        that fetches from the queue calls it.

        Raises:
          redis.RedisError: the next call tries again.
        """
        if queue not in self._unsettled:
            return
        at, pause_s = self._unsettled[queue]
        if time.monotonic() < at:
            return
        counted = self._broker.fetched_ids(queue)
        # In this order: a message is handed to `acks` before it is removed from here.
        lost = counted - self._ids[queue] - self._broker.acks.waiting(queue)
        if lost:
            self._broker.do_requeue(queue, *sorted(lost))
            logger.info("put back queue=%s messages=%d", queue, len(lost))
        if pause_s > LAST_PAUSE_S:
            del self._unsettled[queue]
        else:
            self._unsettled[queue] = (time.monotonic() + pause_s, pause_s * 2)
