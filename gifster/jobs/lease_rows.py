"""What a lease changes in the row of its job: one function for each change.

Each says in its condition what the row has to be before, so two processes cannot both make one.
`lease.py` has the states, and what a process knows of its own leases. The relay ends the leases of
other processes (`relay.py`).
"""

import functools
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import peewee

from gifster.jobs import clock
from gifster.jobs.job import NEVER, RESEND_AFTER_S, Job
from gifster.jobs.statements import Statement

logger = logging.getLogger("gifster.jobs")

#: The columns that describe the work.
_WORK: Sequence[Any] = (Job.id, Job.actor, Job.arguments, Job.attempts, Job.deaths)


@dataclass(frozen=True)
class Lease:
    """A lease that this process has, or may have.

    Parameters:
      job_id: the id of the row.
      taken_at: as the row has it (`started_at`).
      history: the history of the database in which it was taken (see `timelines.py`).
      deaths: how many workers had died over the job before; 0 if nobody knows.
      lost: it ran out, and the row is somebody else's by now.
      done: the job is done, so its row shall go.
      then: otherwise, the row's columns as they shall be when it ends.
      since: when it was taken, by a clock that nobody can set (`time.monotonic()`).
    """

    job_id: str
    taken_at: float
    history: str | None
    deaths: int = 0
    lost: bool = False
    done: bool = False
    then: Mapping[str, Any] | None = None
    since: float = field(default_factory=time.monotonic)


def take(**values: Any) -> Sequence[Any] | None:
    """Lease a job that is free, if its row has what is asked for.

    Parameters:
      values: `job_id`, `worker`, `thread`, `now`, `lease_s`, and what is asked for: an `actor`,
        when the row was made (`created_at`), and after how many `retries` the message was sent.

    Returns:
      the columns of the row for `job_of()`; None if it is not leased.
    """
    asked = [name for name in ("actor", "created_at", "retries") if name in values]
    if not _take_statement(*asked).execute(**values).rowcount:
        return None
    return _READ.row(job_id=values["job_id"])


@functools.cache
def _take_statement(*asked: str) -> Statement:
    def make(**value: Any) -> Any:
        its = [
            _is_its_turn(value["now"], value[name])
            if name == "retries"
            else getattr(Job, name) == value[name]
            for name in asked
        ]
        until = clock.in_sql(Job._meta.database, value["now"], value["lease_s"])
        return Job.update(
            leased_by=value["worker"],
            thread=value["thread"],
            started_at=value["now"],
            send_at=until,
            held=False,  # the relay may have throttled a job whose message still came
            actor_missing=False,
        ).where(Job.id == value["job_id"], Job.failed_at.is_null(), Job.leased_by.is_null(), *its)

    return Statement(make, ["job_id", *asked, "worker", "thread", "now", "lease_s"])


def _is_its_turn(now: Any, retries: Any) -> Any:
    """Whether a message that was sent after so many retries may run a job. The broker may have
    several messages of a job that waited for long. The first of them that fails has the job wait
    for its retry, which has a message of its own; the others come too early."""
    return Job.due_at.is_null() | (Job.due_at <= now) | (Job.attempts <= retries)


_READ = Statement(lambda job_id: Job.select(*_WORK).where(Job.id == job_id))


def job_of(row: Sequence[Any]) -> Job:
    """A job of the columns that describe the work, as the database has them."""
    return Job(**{its.name: its.python_value(value) for its, value in zip(_WORK, row, strict=True)})


def renew(job_ids: Collection[str], worker: str, lease_s: float) -> set[str]:
    """Give leases their whole time anew. Returns those that are not this worker's any more."""
    ours = Job.id.in_(list(job_ids)) & (Job.leased_by == worker)
    database = Job._meta.database
    until = clock.in_sql(database, clock.now(database), lease_s)
    if not job_ids or Job.update(send_at=until).where(ours).execute() == len(job_ids):
        return set()
    return set(job_ids) - {job.id for job in Job.select(Job.id).where(ours)}


def put_off(job_id: str, worker: str, until: float) -> None:
    """End a lease that was just taken; the relay sends the job at that moment."""
    end(job_id, worker, send_at=until)


def follow(put_off: Mapping[str, float]) -> list[Job]:
    """Have jobs that were put off until these moments count as sent, except those that others have
    had meanwhile. Returns them; the caller sends them."""
    waiting = Job.leased_by.is_null() & Job.failed_at.is_null()
    ours = Job.id.in_(list(put_off)) & Job.send_at.in_(list(put_off.values())) & waiting
    found = {job.id: job for job in Job.select().where(ours)}
    Job.update(send_at=clock.now(Job._meta.database) + RESEND_AFTER_S).where(
        Job.id.in_(list(found)) & waiting
    ).execute()
    return [found[job_id] for job_id in put_off if job_id in found]


def end(job_id: str, worker: str, **columns: Any) -> None:
    """End a lease and change the row, unless the lease is somebody else's now."""
    mine = (Job.id == job_id) & (Job.leased_by == worker)
    Job.update(leased_by=None, **columns).where(mine).execute()


_DELETE = Statement(
    lambda job_id, created_at: Job.delete().where(Job.id == job_id, Job.created_at == created_at)
)
#: For messages of earlier releases, which do not say when their row was made.
_DELETE_ANY = Statement(lambda job_id: Job.delete().where(Job.id == job_id))


def delete(job_id: str, created_at: float | None) -> None:
    """Delete the row of a job that is done, whoever has leased it by now."""
    if created_at is None:
        _DELETE_ANY.execute(job_id=job_id)
    else:
        _DELETE.execute(job_id=job_id, created_at=created_at)


def give_up(which: peewee.Expression, worker: str, **reason: Any) -> None:
    """Note that a job is dead, and why, unless its lease is somebody else's now."""
    failed = {"failed_at": clock.now(Job._meta.database), "send_at": NEVER, "leased_by": None}
    Job.update(**failed, **reason).where(which & (Job.leased_by == worker)).execute()


def give_back(job_ids: Collection[str], worker: str) -> list[Job]:
    """End leases of jobs that are not done. Returns the jobs, which are due now."""
    mine = Job.id.in_(list(job_ids)) & (Job.leased_by == worker)
    jobs = list(Job.select().where(mine))
    Job.update(leased_by=None, send_at=clock.now(Job._meta.database)).where(mine).execute()
    return jobs


def settle(lease: Lease, worker: str, history: str) -> None:
    """End a lease that the database may still have, as it should have been. A job that is done does
    not run again, as long as the database has all that was committed before.

    Parameters:
      history: the present history of the database.
    """
    its = (Job.id == lease.job_id) & (Job.started_at == lease.taken_at)
    now = clock.now(Job._meta.database)
    then = {"send_at": now, **(lease.then or {}), "leased_by": None}
    if then.get("due_at", now) < now:  # a worker may have skipped the retry: it was leased
        then["send_at"] = now
    if lease.done and lease.history == history:
        # Also if it ran out, as long as nobody has begun the job again.
        change: Any = Job.delete().where(its)
    else:
        change = Job.update(then).where(its & (Job.leased_by == worker))
    if not change.execute():
        take_back_death(lease, worker)


def take_back_death(lease: Lease, worker: str) -> None:
    """Correct what was counted as a death of this worker when its lease ran out (decision 83). If
    nobody knows whether it had the lease, it gives in doubt the job another try."""
    counted = (Job.deaths > lease.deaths) & (Job.started_at >= lease.taken_at)
    its = (Job.id == lease.job_id) & Job.failed_at.is_null()
    if Job.update(deaths=Job.deaths - 1).where(its & counted).execute():
        logger.info("a worker lives after all job=%s worker=%s", lease.job_id, worker)
