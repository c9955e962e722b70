"""Workers of Dramatiq's in this process, for the tests of one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq


@contextmanager
def workers(
    broker: dramatiq.Broker | None = None, **defaults: Any
) -> Iterator[Callable[..., dramatiq.Worker]]:
    """Starts workers, and stops them when the block ends.

    Parameters:
      broker: whose jobs they do; by default those of the process's broker when they start.
      defaults: options of all of them.
    """
    started: list[dramatiq.Worker] = []

    def start(threads: int = 2, **options: Any) -> dramatiq.Worker:
        made = dramatiq.Worker(
            broker or dramatiq.get_broker(), worker_threads=threads, **defaults | options
        )
        made.start()
        started.append(made)
        return made

    try:
        yield start
    finally:
        for made in started:
            made.stop()
