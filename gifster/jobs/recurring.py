"""Recurring jobs: each is enqueued once at each of its moments, however many processes look.

The next moment of each job is a row. The process that finds it past moves it on and enqueues the
job, in one transaction; another process that finds it past at the same time changes nothing. One
job makes up for all moments that passed while nobody looked, or that the clock skipped. `cron()`
and `every()` say when the moments are.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dramatiq
import peewee

from gifster.jobs import clock
from gifster.jobs.database_errors import is_database_error, refuses_value
from gifster.jobs.job import Job
from gifster.jobs.old_schema import needs
from gifster.jobs.outbox import enqueue, name_of, valid_queue
from gifster.jobs.per_outbox import PerOutbox
from gifster.jobs.problem import Problem
from gifster.jobs.sending import current_broker
from gifster.jobs.transactions import transaction
from gifster.jobs.watched import Watch

logger = logging.getLogger("gifster.jobs")
#: By name: a job that cannot be enqueued.
_watch: PerOutbox[Watch] = PerOutbox(Watch)
_problems: PerOutbox[dict[str, Problem]] = PerOutbox(dict)
#: By name: what this process has in mind for a job.
_own: PerOutbox[dict[str, "_Own"]] = PerOutbox(dict)
#: A scheduler writes its rule again after so long, if another one has written its own, but not when
#: that one's moment is so near (seconds).
TAKE_BACK_S, NEAR_S = 60.0, 10.0

#: A clock that is set back by less than this does not repeat a job that ran: cron(8) (seconds).
SET_BACK_S = 3 * 3600


class RecurringJob(peewee.Model):
    """A recurring job, as the schedulers see it.

    Attributes:
      next_at: when it is due next (seconds since the epoch).
      last_at: when it was due last, and somebody looked (seconds since the epoch); null if it never
        was. If its last run was not done then, it was not enqueued.
    """

    #: Also the job's key (`unique`), so there is one at a time.
    name = peewee.CharField(32, primary_key=True)
    #: The rule of its moments, for people to read.
    rule = peewee.CharField()
    next_at = peewee.DoubleField()
    last_at = peewee.DoubleField(null=True)

    class Meta:
        table_name = "recurring_job"


@dataclass(frozen=True)
class Recurring:
    """A job that is enqueued again and again.

    Parameters:
      rule: of its moments, for people to read: "17 * * * *".
      next_after: returns the first of its moments after another one (seconds since the epoch).
      actor, arguments, queue: as for `enqueue()`; a queue of None is the actor's own.
    """

    rule: str
    next_after: Callable[[float], float]
    actor: str
    arguments: list[Any] = field(default_factory=list)
    queue: str | None = "default"


#: The recurring jobs that `declare_recurring()` has been given, by name.
_declared: dict[str, Recurring] = {}


def cron(
    rule: str,
    actor: str | dramatiq.Actor[..., Any],
    arguments: Iterable[Any] = (),
    *,
    queue: str | None = None,
    timezone: str = "UTC",
) -> Recurring:
    """A recurring job by a rule of cron's, as in crontab(5).

    Parameters:
      rule: minute, hour, day of the month, month, day of the week: `0 7 * * mon`; or `@hourly`,
        `@daily`, `@weekly`, `@monthly`, `@yearly`.
      actor, arguments: as for `enqueue()`.
      queue: the queue of the jobs; None for the actor's own.
      timezone: the time zone of the clock, by its name in the IANA database: `Europe/Berlin`.

    Raises:
      ValueError: the rule is invalid or never comes true, there is no such time zone, or no queue
        can have that name; says what is wrong.
      TypeError: `arguments` is a text, not a list.
    """
    from gifster.jobs.cron_rules import next_after  # noqa: PLC0415 cronsim, only for a rule

    shown = rule if timezone == "UTC" else f"{rule} ({timezone})"
    listed = _listed(arguments)
    return Recurring(shown, next_after(rule, timezone), name_of(actor), listed, _named(queue))


def every(
    seconds: int,
    actor: str | dramatiq.Actor[..., Any],
    arguments: Iterable[Any] = (),
    *,
    queue: str | None = None,
) -> Recurring:
    """A recurring job at each multiple of a number of seconds since the epoch.

    Parameters:
      seconds: at least 1. The scheduler looks every two seconds: a shorter interval has one job for
        several moments.
      actor, arguments, queue: as for `cron()`.

    Raises:
      ValueError: `seconds` is less than 1, or no queue can have that name.
      TypeError: `arguments` is a text, not a list.
    """
    if seconds < 1:
        raise ValueError(f"every {seconds} s: use 1 or more")
    return Recurring(
        f"every {seconds} s",
        lambda after: (after // seconds + 1) * seconds,
        name_of(actor),
        _listed(arguments),
        _named(queue),
    )


def _named(queue: str | None) -> str | None:
    return None if queue is None else valid_queue(queue)


def _listed(arguments: Iterable[Any]) -> list[Any]:
    """The arguments of a job as a list. A text would be one argument for each of its characters."""
    if isinstance(arguments, str):
        raise TypeError(f"arguments={arguments!r}: write a list, such as [{arguments!r}]")
    return list(arguments)


def declare_recurring(recurring: Mapping[str, Recurring]) -> None:
    """Have the scheduler of this application enqueue jobs again and again. Call it in the module of
    your actors, as often as you like; `python -m gifster.jobs run` does the rest.

    Parameters:
      recurring: by name, of at most 32 characters. The job's row is found by it.

    Raises:
      ValueError: a name is too long, or another actor's job has it.
    """
    for name, job in recurring.items():
        other = _declared.get(name, job)
        if not 1 <= len(name) <= RecurringJob.name.max_length:
            raise ValueError(f"recurring job {name!r}: use a name of 1 to 32 characters")
        if other.actor != job.actor:
            raise ValueError(
                f"recurring job {name!r} is declared for {other.actor} and for {job.actor}: "
                "rename one of them"
            )
        _declared[name] = job


def declared_recurring() -> dict[str, Recurring]:
    """The recurring jobs that were declared in this process, by name."""
    return dict(_declared)


@needs(RecurringJob)
def enqueue_recurring(recurring: Mapping[str, Recurring]) -> list[str]:
    """Enqueue the recurring jobs that are due. A job that cannot be enqueued stops no other, and
    the log says once why.

    Parameters:
      recurring: by name.

    Returns:
      the names of the jobs that were enqueued. A job whose last run is not done yet is left out.

    Raises:
      OldSchema: the table is missing; says what to do.
      peewee.PeeweeException: the database failed; it may also be an error of its driver.
    """
    now = clock.now(RecurringJob._meta.database)
    rows = {row.name: row for row in RecurringJob.select()}
    # First: a job that is due because the clock was set may delete what is old by that clock.
    _watch.here.look(now=any(row.next_at <= now for row in rows.values()))
    enqueued = []
    for name, job in recurring.items():
        problem = _problems.here.setdefault(name, Problem(logger))
        try:
            if _look_at(name, job, rows.get(name), now):
                enqueued.append(name)
        except Exception as error:
            # The database refuses what this job has, such as a name that is too long.
            if is_database_error(error) and not refuses_value(error):
                raise
            problem.report(f"not enqueued name={name} rule={job.rule!r}: {error!r}")
        else:
            problem.resolved()
    return enqueued


@dataclass
class _Own:
    """The rule that this process has for a job, its next moment by that, and when this process saw
    both in the row (seconds since the epoch)."""

    rule: str
    next_at: float
    wrote_at: float


def _look_at(name: str, job: Recurring, row: RecurringJob | None, now: float) -> bool:
    """Enqueue a job if it is due, and return whether it was. A new job, or one whose rule has
    changed, gets its next moment."""
    own, next_at = _own.here.get(name), job.next_after(now)
    if row is not None and own is not None and row.rule != job.rule == own.rule:
        # A scheduler of another release, which started later, goes by another rule. Each enqueues
        # the job at its own moments: if both wrote the row in each round, none would ever come.
        if own.next_at <= now:
            is_missed = row.last_at is None or row.last_at < own.next_at
            enqueued = is_missed and _enqueue(row, job, now)
            own.next_at = next_at
            return enqueued
        own.next_at = min(own.next_at, next_at)  # the clock may have been set back
        if now - own.wrote_at >= TAKE_BACK_S and abs(row.next_at - now) > NEAR_S:
            # The other one may be gone: nobody else would look after its moments.
            own.wrote_at = now
            mine = {"rule": job.rule, "next_at": own.next_at}
            RecurringJob.update(**mine).where(_as_read(row)).execute()
        return False
    _own.here[name] = _Own(job.rule, next_at, now)
    if row is not None and row.rule == job.rule:
        if row.next_at <= now:
            return _enqueue(row, job, now)
        _follow_the_clock_back(row, job, now)
        return False
    RecurringJob.insert(name=name, rule=job.rule, next_at=job.next_after(now)).on_conflict(
        conflict_target=[RecurringJob.name],
        preserve=[RecurringJob.rule, RecurringJob.next_at],
    ).execute()
    return False


@needs(RecurringJob)
def forget_others(names: Iterable[str]) -> None:
    """Delete the rows of all recurring jobs but these. A scheduler calls it when it starts."""
    RecurringJob.delete().where(RecurringJob.name.not_in(list(names))).execute()


@needs(RecurringJob)
def recurring_jobs() -> list[RecurringJob]:
    """The recurring jobs; the one that is due next comes first."""
    return list(RecurringJob.select().order_by(RecurringJob.next_at, RecurringJob.name))


def _follow_the_clock_back(row: RecurringJob, job: Recurring, now: float) -> None:
    """Move a row's moment back, if the clock was set back since the row was written. A job that ran
    shortly before does not run again."""
    if row.last_at is not None and now < row.last_at <= now + SET_BACK_S:
        return
    next_at = job.next_after(now)
    if next_at < row.next_at:
        RecurringJob.update(next_at=next_at).where(_as_read(row)).execute()
        logger.warning("due sooner name=%s: the clock was set back", row.name)


def _enqueue(row: RecurringJob, job: Recurring, now: float) -> bool:
    with transaction(RecurringJob._meta.database):
        moved = (
            RecurringJob.update(rule=job.rule, next_at=job.next_after(now), last_at=now)
            .where(_as_read(row))
            .execute()
        )
        if not moved:
            return False
        queue = job.queue or queue_of(job.actor)
        if enqueue(job.actor, *job.arguments, queue=queue, unique=row.name) is None:
            said = "it is retried now" if _retry_now(row, job, now) else "not again yet"
            logger.warning("%s name=%s: the last one is not done", said, row.name)
            return False
        return True


def _retry_now(row: RecurringJob, job: Recurring, now: float) -> bool:
    """End the pause of a job that has failed, and whose next moment has come: the pause may be
    days, while the rule says every hour."""
    its = (Job.id == row.name) & (Job.actor == job.actor) & Job.leased_by.is_null()
    waits = its & (Job.attempts > 0) & (Job.due_at > now)
    return bool(Job.update(due_at=None, send_at=now).where(waits).execute())


def queue_of(actor: str) -> str:
    """The queue of an actor that is declared in this process.

    Raises:
      LookupError: there is none; says what to do.
    """
    broker = current_broker()
    known = {} if broker is None else broker.actors
    if actor not in known:
        names = ", ".join(sorted(known)) or "none"
        raise LookupError(
            f"there is no actor {actor!r} in this process (known: {names}): import its module "
            "before the scheduler starts, or say queue="
        )
    return str(known[actor].queue_name)


def _as_read(row: RecurringJob) -> peewee.Expression:
    return (RecurringJob.name == row.name) & (RecurringJob.next_at == row.next_at)
