"""The states of jobs, and the jobs in each."""

import json
from enum import StrEnum
from typing import Any

from peewee import Case, Expression

from gifster.jobs import clock
from gifster.jobs.job import Job
from gifster.jobs.old_schema import needs


class State(StrEnum):
    """WAITING for a worker; SCHEDULED for a later moment; RETRYING: failed, and waits for its next
    attempt; RUNNING in a worker; DEAD: given up."""

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
    """The state of a job, by its row as it was read."""
    if job.failed_at is not None:
        return State.DEAD
    if job.leased_by is not None:
        return State.RUNNING
    if job.due_at is not None and job.due_at > clock.now(Job._meta.database):
        return State.RETRYING if job.attempts else State.SCHEDULED
    return State.WAITING


def state_in_sql() -> Case:
    """The state of a job as an SQL expression."""
    later = Job.due_at > clock.now(Job._meta.database)
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


@needs(Job)
def find(
    state: State,
    limit: int | None = None,
    offset: int = 0,
    *,
    queue: str = "",
    text: str = "",
) -> list[Job]:
    """The jobs in a state. The oldest comes first; of SCHEDULED and RETRYING the one that is due
    next, of DEAD the one that died last.

    Parameters:
      limit: the most jobs to return; None for all.
      offset: how many jobs to leave out.
      queue: only this queue's jobs; empty for all.
      text: only jobs with this text in their actor, arguments, error or group, in any case (of
        ASCII letters), or with this id; empty for all.
    """
    return list(matching(state, queue=queue, text=text).limit(limit).offset(offset))


def matching(state: State, *, queue: str = "", text: str = "") -> Any:
    """The query of `find()`, without a limit."""
    query = Job.select().where(_is(state)).order_by(ORDER[state], Job.id)
    if queue:
        query = query.where(Job.queue == queue)
    return query.where(_has(text)) if text else query


def _has(text: str) -> Any:
    found = (Job.id == text) | Job.actor.contains(text)
    # Dramatiq's encoder escapes what is not ASCII. The cast keeps the text from being encoded too.
    for written in {text, json.dumps(text)[1:-1]}:
        found |= Job.arguments.cast("TEXT").contains(written)
    return found | Job.error.contains(text) | Job.group.contains(text)


#: What a state's rows have that an index knows, too.
_INDEXED = {State.RUNNING: Job.leased_by.is_null(False), State.DEAD: Job.failed_at.is_null(False)}


def _is(state: State) -> Expression:
    its = state_in_sql() == state.value
    return its & _INDEXED[state] if state in _INDEXED else its
