"""How the queues are doing, as the outbox knows it."""

import time
from dataclasses import dataclass
from typing import Any

from peewee import SQL, fn

from gifster.jobs.outbox import Job
from gifster.jobs.states import State, state_in_sql


@dataclass(frozen=True)
class QueueStats:
    """One queue: how many of its jobs are in each state (see `states.State`), and how long the one
    that waits longest for a worker has (seconds)."""

    queue: str
    waiting: int
    scheduled: int
    retrying: int
    running: int
    dead: int
    oldest_s: float


def stats() -> list[QueueStats]:
    """All queues that have jobs, by name."""
    state = state_in_sql()
    # One that was put off waits since it is due.
    since = fn.MIN(fn.COALESCE(Job.due_at, Job.created_at))
    query = Job.select(Job.queue, state, fn.COUNT(SQL("*")), since)
    rows: list[Any] = list(query.group_by(Job.queue, SQL("2")).tuples())
    counts = {(queue, state): count for queue, state, count, _ in rows}
    oldest = {queue: since for queue, state, _, since in rows if state == State.WAITING}
    return [
        QueueStats(
            queue=queue,
            **{state.value: counts.get((queue, state.value), 0) for state in State},
            oldest_s=max(0.0, time.time() - oldest[queue]) if queue in oldest else 0.0,
        )
        for queue in sorted({queue for queue, _ in counts})
    ]
