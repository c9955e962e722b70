"""Recurring jobs: enqueued once at each of their moments, however many processes look after that.

The next moment of each is a row. Whoever finds it past moves it on and enqueues the job, in one
transaction: another that finds it past at the same time changes nothing. One job makes up for all
moments that went by while nobody looked, or that the clock was set over. When the moments are is
the caller's affair.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import peewee

from gifster.jobs.complaint import Complaint
from gifster.jobs.outbox import enqueue, transaction

logger = logging.getLogger("gifster.jobs")
#: By name: what cannot be enqueued.
_complaints: defaultdict[str, Complaint] = defaultdict(lambda: Complaint(logger))

#: A clock that is set back by less does not make what ran run again: cron(8).
SET_BACK_S = 3 * 3600


class RecurringJob(peewee.Model):
    """When a recurring job is due next, and was last (seconds since the epoch)."""

    #: Also the job's key (`unique`): there is one at a time.
    name = peewee.CharField(32, primary_key=True)
    #: What decides its moments, for people.
    rule = peewee.CharField()
    next_at = peewee.DoubleField()
    last_at = peewee.DoubleField(null=True)

    class Meta:
        table_name = "recurring_job"


@dataclass(frozen=True)
class Recurring:
    """A job to be enqueued again and again.

    Parameters:
      rule: what decides its moments, for people: "17 * * * *".
      next_after: the first of its moments after another one (seconds since the epoch).
      actor, arguments, queue: as `enqueue()`.
    """

    rule: str
    next_after: Callable[[float], float]
    actor: str
    arguments: list[Any] = field(default_factory=list)
    queue: str = "default"


def enqueue_recurring(recurring: Mapping[str, Recurring]) -> list[str]:
    """Enqueue those that are due.

    Parameters:
      recurring: by name.

    Returns:
      the names of those that were. One whose last job has not been done yet is left out this time.
    """
    now = time.time()
    rows = {row.name: row for row in RecurringJob.select()}
    enqueued = []
    for name, job in recurring.items():
        try:
            if _look_at(name, job, rows.get(name), now):
                enqueued.append(name)
        except peewee.PeeweeException:
            raise
        except Exception as error:  # noqa: BLE001 a rule that fails stops no other
            _complaints[name].say(f"not enqueued name={name} rule={job.rule!r}: {error!r}")
        else:
            _complaints[name].over()
    return enqueued


def _look_at(name: str, job: Recurring, row: RecurringJob | None, now: float) -> bool:
    """Whether a job was enqueued; a new one, or one with another rule, gets its next moment."""
    if row is not None and row.rule == job.rule:
        if row.next_at <= now:
            return _enqueue(row, job, now)
        _go_by_the_clock_of_now(row, job, now)
        return False
    RecurringJob.insert(name=name, rule=job.rule, next_at=job.next_after(now)).on_conflict(
        conflict_target=[RecurringJob.name],
        preserve=[RecurringJob.rule, RecurringJob.next_at],
    ).execute()
    return False


def forget_others(names: Mapping[str, Any]) -> None:
    """Delete the rows of recurring jobs that there are no more; for the start of a scheduler."""
    RecurringJob.delete().where(RecurringJob.name.not_in(list(names))).execute()


def recurring_jobs() -> list[RecurringJob]:
    """The recurring jobs, the next one due first."""
    return list(RecurringJob.select().order_by(RecurringJob.next_at, RecurringJob.name))


def _go_by_the_clock_of_now(row: RecurringJob, job: Recurring, now: float) -> None:
    """Move a row's moment to where it belongs, if the clock was set back since it was written. A
    job that ran shortly before that does not run again."""
    if row.last_at is not None and now < row.last_at <= now + SET_BACK_S:
        return
    next_at = job.next_after(now)
    if next_at < row.next_at:
        RecurringJob.update(next_at=next_at).where(_as_read(row)).execute()
        logger.warning("due sooner name=%s: the clock was set back", row.name)


def _enqueue(row: RecurringJob, job: Recurring, now: float) -> bool:
    with transaction(RecurringJob._meta.database):
        moved = (
            RecurringJob.update(next_at=job.next_after(now), last_at=now)
            .where(_as_read(row))
            .execute()
        )
        if not moved:
            return False
        if enqueue(job.actor, *job.arguments, queue=job.queue, unique=row.name) is None:
            logger.warning("not again yet name=%s: the last one is not done", row.name)
            return False
        return True


def _as_read(row: RecurringJob) -> Any:
    return (RecurringJob.name == row.name) & (RecurringJob.next_at == row.next_at)
