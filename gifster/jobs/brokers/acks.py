"""Acknowledges many messages in one round trip ("group commit").

The threads of a worker finish short jobs faster than each could tell the broker. So a consumer that
fetches more messages takes the acknowledgements of its queue along (`take()`), and one thread sends
those that nobody has taken within `GATHER_S`. No job waits for its acknowledgement. A killed worker
loses those of its last few ms: their messages come again, as any message may whose worker was
killed, and jobs with a row are not done again.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

import redis

from gifster.jobs.adaptive_lock import AdaptiveLock
from gifster.jobs.brokers.refusals import explained, refusal
from gifster.jobs.problem import Problem

logger = logging.getLogger("gifster.jobs")

#: How long after one failure the next attempt is made (seconds).
RETRY_S = 1.0

#: How long the thread waits for a fetch that takes acknowledgements along (seconds).
GATHER_S = 0.001

#: Does for many messages what Dramatiq's script does for one: removes each from the set that this
#: worker has fetched, and deletes it.
_ACK = """
for i = 1, #ARGV do
    if redis.call("srem", KEYS[1], ARGV[i]) > 0 then
        redis.call("hdel", KEYS[2], ARGV[i])
    end
end
"""


class Acks:
    """The acknowledgements of one worker process.

    Parameters:
      client: the Redis client.
      namespace: the prefix of the broker's keys.
      worker_id: the broker's id of this worker process.
    """

    def __init__(self, client: redis.Redis, namespace: str, worker_id: str) -> None:
        self._namespace, self._worker_id = namespace, worker_id
        self._script = client.register_script(_ACK)
        self._changed = AdaptiveLock().condition()
        self._waiting: dict[str, list[str]] = defaultdict(list)
        #: What is under way: with fetches, and by the thread.
        self._carried: dict[str, list[str]] = {}
        self._taken: dict[str, list[str]] = {}
        self._sending = self._failing = self._over = False
        #: Whether the thread waits to be told that there is something to send.
        self._idle = True
        self._thread: threading.Thread | None = None
        self._problem = Problem(logger)

    def add(self, queue: str, message_id: str) -> None:
        """Acknowledge a message of a queue, soon."""
        with self._changed:
            self._waiting[queue].append(message_id)
            if self._idle:
                self._wake()

    def _wake(self) -> None:
        """Have the thread send what waits. If the process may have no more threads now, the next
        message that is done tries again."""
        if not self._over and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, daemon=True, name="acks")
            try:
                self._thread.start()
            except RuntimeError as error:
                logger.warning("jobs that are done are acknowledged later: %s", error)
                return
        self._idle = False
        self._changed.notify_all()

    def take(self, queue: str) -> list[str]:
        """Take the acknowledgements of a queue, to send them with another command. Until
        `taken()` is called, `waiting()` still has them."""
        with self._changed:
            ids = self._waiting.pop(queue, [])
            self._carried[queue] = ids
            return ids

    def taken(self, queue: str, *, sent: bool) -> None:
        """Say what became of the acknowledgements that were taken. If they were not sent, or nobody
        knows, they are sent again."""
        with self._changed:
            ids = self._carried.pop(queue, [])
            if not sent and ids:
                self._put_back({queue: ids})
                self._wake()
            elif self._all_sent:
                self._changed.notify_all()

    def waiting(self, queue: str) -> set[str]:
        """The ids of the messages of a queue that the broker may not know to be done."""
        with self._changed:
            taken = self._taken.get(queue, []) if self._sending else []
            return {*self._waiting.get(queue, []), *self._carried.get(queue, []), *taken}

    def flush(self, timeout_s: float) -> bool:
        """Wait until the broker has all acknowledgements.

        Returns:
          False if that took longer than `timeout_s`, or the broker cannot be reached.
        """
        with self._changed:
            if self._waiting and self._idle:  # the thread could not start
                self._wake()
            self._changed.wait_for(lambda: self._all_sent or self._failing, timeout_s)
            return self._all_sent

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def _all_sent(self) -> bool:
        return not self._waiting and not self._carried and not self._sending

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._over:
                    self._idle = True  # again, if a fetch has taken what woke this thread up
                    self._changed.wait()
                self._idle = False
                if not self._waiting:
                    return
            if not self._over:
                time.sleep(GATHER_S)
            with self._changed:
                taken, self._waiting = self._waiting, defaultdict(list)
                self._taken, self._sending = taken, True
            try:
                self._send(taken)
                self._failing = False
                self._problem.resolved("jobs that are done are acknowledged again")
            except Exception as error:  # noqa: BLE001 whatever it is, none may be lost
                why = f"jobs that are done are not acknowledged: {explained(error)}"
                self._problem.report(why, refusal(error))
                self._failing = True
            with self._changed:
                self._sending = False
                if self._failing:
                    self._put_back(taken)
                self._changed.notify_all()
                if self._failing and self._changed.wait_for(lambda: self._over, RETRY_S):
                    return

    def _put_back(self, taken: Mapping[str, Sequence[str]]) -> None:
        for queue, ids in taken.items():
            self._waiting[queue][:0] = ids

    def _send(self, taken: dict[str, list[str]]) -> None:
        for queue, ids in taken.items():
            keys = [
                f"{self._namespace}:__acks__.{self._worker_id}.{queue}",
                f"{self._namespace}:{queue}.msgs",
            ]
            self._script(keys=keys, args=ids)
