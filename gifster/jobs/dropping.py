"""Drops jobs that are not running: one by its id, or all of a state.

The row decides. A worker leases it in one statement, and a drop deletes it in another, so each job
is either run or dropped, on any broker. The message in the broker is only removed where that is
cheap (Redis, `brokers/removal.py`); a worker that gets it skips it, since its row is gone.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import dramatiq.broker

from gifster.jobs import clock
from gifster.jobs.asking import away
from gifster.jobs.brokers.abilities import abilities
from gifster.jobs.dead import NoSuchJob
from gifster.jobs.groups import release
from gifster.jobs.job import Job, outbox_database
from gifster.jobs.old_schema import needs
from gifster.jobs.states import State, after, matching, place_of, state_of
from gifster.jobs.transactions import transaction

logger = logging.getLogger("gifster.jobs")

#: How many jobs one transaction of `clear()` drops.
BATCH = 500


class JobIsRunning(NoSuchJob):
    """A worker runs the job, so it cannot be dropped."""


@needs(Job)
def drop(job_id: str) -> Job:
    """Delete a job that waits, is scheduled or retrying, or is dead, and return it (Sidekiq's
    `JobRecord#delete`). A running job is never stopped.

    Raises:
      JobIsRunning: a worker runs it now.
      NoSuchJob: there is no job with this id; it may be done.
      OldSchema: the outbox is missing or of an earlier release; says what to do.
    """
    with transaction(outbox_database()):
        job: Job | None = _locked(Job.select().where(Job.id == job_id)).first()
        if job is None:
            raise NoSuchJob(f"there is no job {job_id}: it may be done already")
        if state_of(job) is State.RUNNING:
            raise JobIsRunning(
                f"job {job_id} is running in {job.leased_by}: wait until it ends; if it fails, it "
                "can be dropped then"
            )
        _delete([job])
    return job


@needs(Job)
def clear(state: State, *, queue: str = "", text: str = "") -> int:
    """Drop all jobs in a state (Sidekiq's `Queue#clear`, `ScheduledSet#clear`, `RetrySet#clear`,
    `DeadSet#clear`). Jobs that workers begin or that are enqueued meanwhile stay.

    Parameters:
      state: any but RUNNING.
      queue, text: only the jobs that `find()` returns for them.

    Returns:
      how many jobs were dropped.

    Raises:
      ValueError: the state is RUNNING, or is none.
      OldSchema: the outbox is missing or of an earlier release; says what to do.
    """
    if State(state) is State.RUNNING:
        raise ValueError("state running: jobs that run are not dropped; wait until they end")
    now, dropped = clock.now(Job._meta.database), 0
    query = matching(State(state), queue=queue, text=text).where(Job.created_at <= now)
    is_over = False
    while not is_over:  # the relay may have moved some to a place before
        place, is_over = None, True
        while found := after(State(state), place, BATCH, queue=queue, text=text, made_by=now):
            place = place_of(found[-1], State(state))
            with transaction(outbox_database()):
                jobs = list(_locked(query.where(Job.id.in_([job.id for job in found]))))
                _delete(jobs)
            dropped += len(jobs)
            is_over = is_over and not jobs
    return dropped


def _locked(query: Any) -> Any:
    """Lock the rows. A worker that is about to lease one waits, and then finds it gone."""
    return query.for_update() if outbox_database().for_update else query


def _delete(jobs: list[Job]) -> None:
    """Delete the rows, within a transaction; when it has committed, remove the messages, and let
    the jobs go that were throttled because of these."""
    Job.delete().where(Job.id.in_([job.id for job in jobs])).execute()
    states = [state_of(job) for job in jobs]
    with_broker = [
        job
        for job, state in zip(jobs, states, strict=True)
        if state in (State.WAITING, State.RETRYING) and not job.held
    ]
    outbox_database().after_commit(lambda: _free(with_broker))


def _gone(jobs: list[Job]) -> list[Job]:
    """Those whose rows are gone: a savepoint may have been rolled back in a transaction that has
    committed, or a new job may have the key of one."""
    found: Any = Job.select(Job.id).where(Job.id.in_([job.id for job in jobs]))
    there = {job_id for (job_id,) in found.tuples()}
    return [job for job in jobs if job.id not in there]


def _free(jobs: list[Job]) -> None:
    # An error here would look like a failed commit (see `outbox.send_now()`), and none is needed:
    # workers skip the messages, and the relay releases throttled jobs.
    try:
        jobs = _gone(jobs) if jobs else []
        _remove_messages(jobs)
        for group, queue in {(job.group, job.queue) for job in jobs if job.group is not None}:
            release(group, queue)
    except Exception:
        logger.exception("dropped jobs=%d, but not all that depended on them is settled", len(jobs))


def _remove_messages(jobs: Sequence[Job]) -> None:
    """Remove the messages of jobs whose rows are gone from the broker, where it can (Redis). What
    stays there, or is with a worker already, is skipped by the worker."""
    its = abilities(dramatiq.broker.global_broker)
    by_queue: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        by_queue[job.queue].append(job.id)
    try:
        for queue, job_ids in by_queue.items():
            its.remove(queue, job_ids)
    except Exception as error:
        if away(error) is None:
            raise
        logger.warning("the messages of dropped jobs stay in the broker, unread: %s", error)
