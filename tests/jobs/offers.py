"""Messages for a scheduler, without a broker."""

import dramatiq

from gifster.jobs.brokers.fair import FairScheduler
from gifster.jobs.brokers.fetched import Fetched


def offer(scheduler: FairScheduler, queue: str, count: int) -> None:
    """Offer a scheduler new messages of a queue."""
    fetched = Fetched(queue, scheduler)
    for _ in range(count):
        fetched.add(dramatiq.Message(queue, "work", (), {}, {}), 0)
    scheduler.offer(queue, fetched, count)
