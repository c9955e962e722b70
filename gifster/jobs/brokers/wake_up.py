"""Wakes the consumers of a worker process when a message arrives, so that they need not poll.

An enqueue publishes the name of its queue, in the same round trip (`redis.py`). One thread of each
worker process listens.
"""

import logging
import threading
from collections import defaultdict

import redis

from gifster.jobs.brokers.refusals import explained
from gifster.jobs.problem import Problem

logger = logging.getLogger("gifster.jobs")

#: How long to wait before the next attempt to listen (seconds).
RECONNECT_S = 2.0


class WakeUp:
    """Listens for new messages, with one connection and one thread.

    Parameters:
      client: the Redis client.
      channel: where the names of queues are published.
    """

    def __init__(self, client: redis.Redis, channel: str) -> None:
        self._client, self._channel = client, channel
        self._events: dict[str, threading.Event] = defaultdict(threading.Event)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        #: Whether a message would be noticed now.
        self.listening = False
        self._problem = Problem(logger)

    def event(self, queue: str) -> threading.Event:
        """An event that is set when something has arrived in a queue."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # it may have failed to start
                self._thread = threading.Thread(target=self._run, daemon=True, name="wake-up")
                self._thread.start()
            return self._events[queue]

    def wake_all(self) -> None:
        """Wake the consumers of all queues."""
        with self._lock:
            for event in self._events.values():
                event.set()

    def stop(self) -> None:
        """Stop listening."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 whatever it is, jobs would be late from now on
                if not self._over.is_set():
                    self._problem.report(f"not woken up, polling instead: {explained(error)}")
            finally:
                self.listening = False
            self._over.wait(RECONNECT_S)

    def _listen(self) -> None:
        with self._client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(self._channel)
            while not self._over.is_set():
                message = pubsub.get_message(timeout=1.0)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self.listening = True
                    self._problem.resolved("woken up again")
                    self.wake_all()  # for everything that arrived while nobody listened
                elif message["type"] == "message":
                    told = self._events.get(message["data"].decode(errors="replace"))
                    if told is not None:
                        told.set()
