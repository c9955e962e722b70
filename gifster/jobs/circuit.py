"""Leaves a broker alone while it does not answer, so that few wait for it (a "circuit breaker").

A broker that refuses connections fails at once. One whose machine or network is gone says nothing,
and each attempt waits for its timeout. After the first such attempt nothing is sent: the jobs wait
in the outbox for the relay. A thread asks for the broker meanwhile, and ends when it answers.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakKeyDictionary, ref

import dramatiq

from gifster.jobs.brokers.abilities import connects_each_thread

logger = logging.getLogger("gifster.jobs")

#: An attempt that fails sooner makes nobody wait (seconds).
SLOW_S = 0.5
#: How often the broker is asked for while it does not answer (seconds).
ASK_EVERY_S = 1.0


class Circuit:
    """Whether it makes sense to ask a broker for something. For any number of threads.

    Parameters:
      broker: the broker.
      ask: asks whether it answers; raises an error if it does not.
    """

    def __init__(self, broker: dramatiq.Broker, ask: Callable[[dramatiq.Broker], object]) -> None:
        self._broker, self._ask = ref(broker), ask
        self._why: str | None = None
        #: When an attempt last failed (`time.monotonic()`).
        self._opened_at = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def why_open(self) -> str | None:
        """Why the broker is not asked now; None if it is."""
        if self._why is not None:
            self._watch()  # a process that was forked has the state, and not the thread
        return self._why

    def open(self, why: str) -> None:
        """Ask the broker for nothing until it answers."""
        with self._lock:
            if self._why is None:
                logger.warning("the broker does not answer, and is left alone: %s", why)
            self._why, self._opened_at = why, time.monotonic()
        self._watch()

    def close(self, *, tried_at: float) -> None:
        """Note that the broker answers.

        Parameters:
          tried_at: when it was asked (`time.monotonic()`). An answer to a question from before it
            went away tells nothing.
        """
        with self._lock:
            if tried_at <= self._opened_at:
                return
            if self._why is not None:
                logger.warning("the broker answers again")
            self._why = None

    def _watch(self) -> None:
        """Have the thread ask. If the process may have no more threads now, whoever wants to know
        `why_open` tries again."""
        with self._lock, suppress(RuntimeError):
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._ask_for_it, daemon=True, name="broker-circuit"
                )
                self._thread.start()

    def _ask_for_it(self) -> None:
        while self._why is not None and (broker := self._broker()) is not None:
            time.sleep(ASK_EVERY_S)
            tried_at = time.monotonic()
            try:
                self._ask(broker)
            except Exception as error:  # noqa: BLE001 whatever it is, the broker does not answer
                logger.debug("the broker is still away: %r", error)
            else:
                self.close(tried_at=tried_at)
            finally:
                _leave(broker)
                del broker


def _leave(broker: dramatiq.Broker) -> None:
    """Close the connection that this thread has, where each thread has its own (RabbitMQ)."""
    if connects_each_thread(broker):
        del broker.connection  # type: ignore[attr-defined]


_circuits: "WeakKeyDictionary[dramatiq.Broker, Circuit]" = WeakKeyDictionary()
_lock = threading.Lock()


def circuit_of(broker: dramatiq.Broker, ask: Callable[[dramatiq.Broker], object]) -> Circuit:
    """The circuit of a broker. `ask` is as for `Circuit`."""
    with _lock:
        if broker not in _circuits:
            _circuits[broker] = Circuit(broker, ask)
        return _circuits[broker]
