"""The broker of `stub://`, for tests: Dramatiq's `StubBroker` with our middleware. Its messages are
in the memory of one process, so it has no worker processes."""

import logging
import multiprocessing
import sys
from typing import Any

import dramatiq
from dramatiq.brokers import stub
from dramatiq.common import q_name
from dramatiq.middleware import Middleware

from gifster.jobs.brokers.abilities import Abilities
from gifster.jobs.sending import FOR_TESTS

logger = logging.getLogger("gifster.jobs")

#: The exit status with which a worker process of Dramatiq's makes its main process give up.
CANNOT_START = 2


class StubBroker(Abilities, stub.StubBroker):
    """A broker in memory. Weights, limits and pauses of queues mean nothing to it.

    Parameters:
      options: as for Dramatiq's `StubBroker`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_middleware(_NoWorkerProcesses())

    def enqueue(
        self, message: dramatiq.Message[Any], *, delay: int | None = None
    ) -> dramatiq.Message[Any]:
        """Enqueue a message, also of an actor that this process does not have."""
        self.declare_queue(q_name(message.queue_name))
        return super().enqueue(message, delay=delay)

    @property
    def client(self) -> Any:
        """There is no Redis, which rate limits are made of.

        Raises:
          RuntimeError: says what to do.
        """
        raise RuntimeError(
            "the broker stub:// has no client of Redis: in tests, give rate limits a "
            "dramatiq.rate_limits.backends.StubBackend()"
        )


class _NoWorkerProcesses(Middleware):
    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        if multiprocessing.parent_process() is not None:  # the `dramatiq` command has forked it
            logger.error("%s", FOR_TESTS)
            sys.exit(CANNOT_START)
