"""Acknowledgements, many in one round trip ("group commit").

A worker's threads are done with short jobs faster than each could tell the broker. So they leave it
to one thread, which takes along all that have come in while its last round trip was under way: no
job waits for an acknowledgement, and what a killed worker leaves untold is a few ms' worth. Those
come again, as any may that a worker was killed over; with an outbox row they are not done again.
"""

import logging
import threading
from collections import defaultdict
from typing import Any

logger = logging.getLogger("gifster.jobs")

#: How long after one failure the next attempt is made (seconds).
RETRY_S = 1.0

#: As Dramatiq's own script does for one message: out of what this worker has fetched, and gone.
_ACK = """
for i = 1, #ARGV do
    if redis.call("srem", KEYS[1], ARGV[i]) > 0 then
        redis.call("hdel", KEYS[2], ARGV[i])
    end
end
"""


class Acks:
    """What one worker process has done and not told the broker yet.

    Parameters:
      client: the Redis client.
      namespace: the broker's.
      worker_id: what the broker calls this worker.
    """

    def __init__(self, client: Any, namespace: str, worker_id: str) -> None:
        self._namespace, self._worker_id = namespace, worker_id
        self._script = client.register_script(_ACK)
        self._changed = threading.Condition()
        self._waiting: dict[str, list[str]] = defaultdict(list)
        self._sending = self._failing = self._over = False
        self._thread: threading.Thread | None = None

    def add(self, queue: str, message_id: str) -> None:
        """Have the broker told that a message of a queue is done."""
        with self._changed:
            self._waiting[queue].append(message_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="acks")
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until the broker knows all.

        Returns:
          False if it did not take them in time, or cannot be reached.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._all_told or self._failing, timeout_s)
            return self._all_told

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def _all_told(self) -> bool:
        return not self._waiting and not self._sending

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._over)
                if not self._waiting:
                    return
                taken, self._waiting = self._waiting, defaultdict(list)
                self._sending = True
            try:
                self._send(taken)
                self._failing = False
            except Exception as error:  # noqa: BLE001 whatever it is, none may be forgotten
                logger.warning(
                    "not acknowledged yet: %d jobs (%r)", sum(map(len, taken.values())), error
                )
                self._failing = True
            with self._changed:
                self._sending = False
                if self._failing:
                    for queue, ids in taken.items():
                        self._waiting[queue][:0] = ids
                self._changed.notify_all()
                if self._failing and self._changed.wait_for(lambda: self._over, RETRY_S):
                    return

    def _send(self, taken: dict[str, list[str]]) -> None:
        for queue, ids in taken.items():
            keys = [
                f"{self._namespace}:__acks__.{self._worker_id}.{queue}",
                f"{self._namespace}:{queue}.msgs",
            ]
            self._script(keys=keys, args=ids)
