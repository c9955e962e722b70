"""Jobs that are due, and those that the broker has got."""

import time

import dramatiq

from gifster import jobs
from gifster.jobs import Job
from tests.jobs.conftest import Outbox


def backlog(count: int, queue: str = "default") -> list[str]:
    """Jobs that are due, the oldest first."""
    now = time.time()
    with jobs.transaction(Job._meta.database):
        return [
            Job.create(actor="work", queue=queue, arguments=[n], send_at=now - count + n).id
            for n in range(count)
        ]


def sent(outbox: Outbox, queue: str = "default") -> list[int]:
    """The numbers of the jobs that are in a queue."""
    ids = outbox.client.lrange(f"dramatiq:{queue}", 0, -1)
    found = outbox.client.hmget(f"dramatiq:{queue}.msgs", ids) if ids else []
    return [dramatiq.Message.decode(data).args[0] for data in found]
