"""How the queues are doing, as the outbox knows it."""

import time
from dataclasses import dataclass
from typing import Any

from peewee import SQL, Case, fn

from gifster.jobs.outbox import Job


@dataclass(frozen=True)
class QueueStats:
    """One queue: how many of its jobs wait, are in a worker's hands, or were given up; and how long
    ago the oldest of those that wait was enqueued (seconds)."""

    queue: str
    waiting: int
    running: int
    dead: int
    oldest_s: float


def stats() -> list[QueueStats]:
    """All queues that have jobs, by name."""
    state = Case(
        None,
        [(Job.failed_at.is_null(False), "dead"), (Job.leased_by.is_null(False), "running")],
        "waiting",
    )
    query = Job.select(Job.queue, state, fn.COUNT(SQL("*")), fn.MIN(Job.created_at))
    rows: list[Any] = list(query.group_by(Job.queue, state).tuples())
    counts = {(queue, state): count for queue, state, count, _ in rows}
    oldest = {queue: since for queue, state, _, since in rows if state == "waiting"}
    return [
        QueueStats(
            queue,
            counts.get((queue, "waiting"), 0),
            counts.get((queue, "running"), 0),
            counts.get((queue, "dead"), 0),
            max(0.0, time.time() - oldest[queue]) if queue in oldest else 0.0,
        )
        for queue in sorted({queue for queue, _ in counts})
    ]
