"""In which state a job is, and which jobs are in one."""

import time
from enum import StrEnum

from peewee import Case, Expression

from gifster.jobs.outbox import Job


class State(StrEnum):
    """WAITING: for a worker. SCHEDULED: for its moment. RETRYING: it failed, and waits for its next
    attempt. RUNNING: a worker has it in hand. DEAD: it was given up."""

    WAITING = "waiting"
    SCHEDULED = "scheduled"
    RETRYING = "retrying"
    RUNNING = "running"
    DEAD = "dead"


ORDER = {
    State.WAITING: Job.created_at,
    State.SCHEDULED: Job.due_at,
    State.RETRYING: Job.due_at,
    State.RUNNING: Job.started_at,
    State.DEAD: Job.failed_at.desc(),
}


def state_of(job: Job) -> State:
    """The state of a job, as far as the row says that was read."""
    if job.failed_at is not None:
        return State.DEAD
    if job.leased_by is not None:
        return State.RUNNING
    if job.due_at is not None and job.due_at > time.time():
        return State.RETRYING if job.attempts else State.SCHEDULED
    return State.WAITING


def state_in_sql() -> Case:
    """The same as an SQL expression."""
    later = Job.due_at > time.time()
    return Case(
        None,
        [
            (Job.failed_at.is_null(False), State.DEAD.value),
            (Job.leased_by.is_null(False), State.RUNNING.value),
            (later & (Job.attempts > 0), State.RETRYING.value),
            (later, State.SCHEDULED.value),
        ],
        State.WAITING.value,
    )


def find(state: State, limit: int | None = None, offset: int = 0) -> list[Job]:
    """The jobs in a state: what comes first in it (the oldest, the next one due, the last to die)
    stands first.

    Parameters:
      limit: at most so many; None for all.
      offset: how many to leave out.
    """
    query = Job.select().where(_is(state)).order_by(ORDER[state], Job.id)
    return list(query.limit(limit).offset(offset))


def _is(state: State) -> Expression:
    return state_in_sql() == state.value
