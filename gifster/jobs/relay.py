"""The relay: it sends jobs whose row is still in the outbox although it should be gone by now.

These are the jobs of commits after which the broker was away or the process died (`unsent.py`),
jobs that a broker lost, and jobs whose worker died, so that their lease ran out. The scheduler
calls the relay every few seconds. Two relays may run at once: one of them claims each job, and a
second copy of a job finds the row leased or gone, and is skipped.

The relay claims a batch in one short transaction and sends it after the commit, in one round trip
where the broker can. It puts back what could not be sent. It writes nothing while it reads rows: on
SQLite that fails at once, whatever the busy timeout, if another process has written in between.
"""

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import peewee
from peewee import fn

from gifster.jobs import clock
from gifster.jobs.asking import BrokerUnavailable, ask_again, unavailable
from gifster.jobs.brokers.abilities import abilities, is_redis
from gifster.jobs.groups import release_all
from gifster.jobs.job import (
    NEVER,
    RESEND_AFTER_S,
    Job,
    UnreadableArguments,
    can_be_found,
    outbox_database,
)
from gifster.jobs.lease import LEASE_S
from gifster.jobs.losses import mark
from gifster.jobs.old_schema import explained
from gifster.jobs.per_outbox import PerOutbox
from gifster.jobs.problem import Problem
from gifster.jobs.sending import current_broker, send_each
from gifster.jobs.transactions import transaction
from gifster.jobs.unsent import unsent
from gifster.jobs.watched import set_back_s

if TYPE_CHECKING:
    from dramatiq.brokers.redis import RedisBroker

logger = logging.getLogger("gifster.jobs")

#: How many jobs are claimed or changed at a time, and for how long a call goes on claiming
#: (seconds).
BATCH, ROUND_S = 500, 1.0
#: How long the arguments of claimed jobs may be together, as far as the first few tell.
MOST_CHARACTERS, FIRST_FEW = 4 * 1024 * 1024, 8
#: After so many sendings the pause before the next one no longer doubles.
MOST_DOUBLINGS = 10
_broker_is_away: PerOutbox[Problem] = PerOutbox(lambda: Problem(logger))


def relay(lease_s: float | None = None) -> int:
    """Send the jobs that are due, oldest first, until the broker takes no more. Part of a large
    backlog is left to the next call. Call it outside of any transaction.

    Parameters:
      lease_s: how long the workers' leases hold (seconds); None as `connect()` was told.

    Returns:
      how many jobs were sent.

    Raises:
      NotBound: `Job` is bound to no database.
      OldSchema: the outbox is of an earlier release; says what to do.
      peewee.PeeweeException: the database failed; claimed jobs are due again in a minute.
    """
    outbox_database()
    with explained(Job):
        return _relay(lease_s)


def _relay(lease_s: float | None) -> int:
    broker = current_broker()
    if broker is None:
        return 0
    lease_s = lease_s or abilities(broker).lease_s or LEASE_S
    until = _after_the_clock_was_set(lease_s)
    sent, tried_at = 0, time.monotonic()
    try:
        if is_redis(broker):
            _send_what_was_lost(broker, until)
        for which in unsent(broker):
            if found := _update(which, send_at=until):
                logger.info("jobs=%d were not sent after their commit: they are sent now", found)
        # Jobs of a group that were enqueued for later go as its others do: in `release_all()`.
        now_due = _due(until) & Job.group.is_null(False) & Job.due_at.is_null(False)
        _update(now_due & Job.leased_by.is_null(), held=True, due_at=None, send_at=NEVER)
        if _is_any_due(until):
            ask_again(broker)  # while it is away, claim nothing only to put it back
            while (batch := _claim(until)).jobs:
                outcome = _send(batch)
                sent += outcome.sent
                if outcome.away is not None:
                    raise outcome.away
                if time.monotonic() > tried_at + ROUND_S:
                    break
        sent += release_all()
    except BrokerUnavailable as error:
        _broker_is_away.here.report(f"the relay waits for the broker: {error}")
    else:
        _broker_is_away.here.resolved("the broker answers the relay again", tried_at=tried_at)
    if sent:
        logger.info("relayed jobs=%d", sent)
    return sent


@dataclass(frozen=True)
class _Batch:
    """Jobs as they were when they were claimed, and when they are due again unless `change()`
    changes that (seconds since the epoch)."""

    jobs: list[Job]
    due_again: float

    def change(self, jobs: list[Job], **columns: Any) -> None:
        """Change the rows of some of the jobs, except those that somebody else has by now."""
        if jobs:
            ours = (Job.send_at == self.due_again) & Job.leased_by.is_null()
            _update(ours & Job.id.in_([job.id for job in jobs]), **columns)


@dataclass(frozen=True)
class _Outcome:
    sent: int
    away: BrokerUnavailable | None


def _due(until: float) -> Any:
    # Throttled jobs go when there is room for their group: in `release_all()`.
    return (Job.send_at <= until) & Job.failed_at.is_null() & ~Job.held


def _is_any_due(until: float) -> bool:
    # Not `exists()`: PostgreSQL makes one plan for all moments, takes every third job for due, and
    # would read all rows until it finds one.
    return bool(list(Job.select(Job.id).where(_due(until)).order_by(Job.send_at).limit(1)))


def _claim(until: float) -> _Batch:
    """Take due jobs for this sending, away from other relays and from workers whose lease ran out.
    If this process dies before it sends them, they are due again in a minute."""
    with transaction(Job._meta.database):
        jobs = _first_due(until)
        again = clock.now(Job._meta.database) + RESEND_AFTER_S
        if jobs:
            Job.update(
                send_at=again,
                sendings=Job.sendings + 1,
                deaths=peewee.Case(None, [(Job.leased_by.is_null(), Job.deaths)], Job.deaths + 1),
                leased_by=None,
            ).where(Job.id.in_([job.id for job in jobs])).execute()
    for job in jobs:
        if job.leased_by is not None:
            died = "a worker died job=%s actor=%s worker=%s"
            logger.warning(died, job.id, job.actor, job.leased_by)
    return _Batch(jobs, again)


def _first_due(until: float) -> list[Job]:
    """The due jobs that are claimed next, locked. They are in memory several times while they are
    sent, so these are fewer than `BATCH` if their arguments are large."""
    jobs: list[Job] = []
    seen, size, most = 0, 0, FIRST_FEW
    characters = fn.LENGTH(Job.arguments).coerce(False).alias("characters")
    while most > 0:
        others = Job.id.not_in([job.id for job in jobs])
        query: Any = Job.select(Job, characters).where(_due(until) & others)
        found = list(_skip_locked(query.order_by(Job.send_at).limit(most)))
        jobs += [job for job in found if can_be_found(job.id)]
        seen += len(found)
        size += sum(job.characters for job in found if can_be_found(job.id))
        if len(found) < most:
            break
        # Those that follow may be larger than those before.
        most = min(BATCH - seen, 8 * seen, (MOST_CHARACTERS - size) * seen // max(size, 1))
    return jobs


def _send(batch: _Batch) -> _Outcome:
    """Send the claimed jobs, and put back those that could not be sent."""
    messages = []
    for job in batch.jobs:
        try:
            messages.append((job, job.message()))
        except UnreadableArguments as error:
            logger.warning("given up job=%s actor=%s: %s", job.id, job.actor, error)
            now = clock.now(Job._meta.database)
            batch.change([job], failed_at=now, send_at=NEVER, error=repr(error))
    outcomes = send_each([message for _, message in messages])
    sent, unsent, away = [], [], None
    for (job, _), outcome in zip(messages, outcomes, strict=True):
        if outcome is None:
            sent.append(job)
        elif isinstance(outcome, BrokerUnavailable):
            unsent.append(job)
            away = outcome
        else:  # only this job: it is sent again in a minute, and until then the row says why
            logger.warning("deferred job=%s actor=%s reason=%r", job.id, job.actor, str(outcome))
            why = f"{type(outcome).__name__}({str(outcome)!r})"
            batch.change([job], error=why, sendings=Job.sendings - 1)
    batch.change([job for job in sent if job.sendings], send_at=_next_sending(batch))
    # They keep their order, and come before all jobs that were not claimed.
    batch.change(unsent, send_at=batch.jobs[0].send_at, sendings=Job.sendings - 1)
    return _Outcome(len(sent), away)


def _next_sending(batch: _Batch) -> peewee.Case:
    """When a sent job is sent again if its row is still there: one minute after the first sending,
    then after two, four, and so on."""
    now = batch.due_again - RESEND_AFTER_S
    moments = [(n + 1, now + RESEND_AFTER_S * 2**n) for n in range(MOST_DOUBLINGS)]
    return peewee.Case(Job.sendings, moments, now + RESEND_AFTER_S * 2**MOST_DOUBLINGS)


def _update(which: peewee.Expression, **columns: Any) -> int:
    """Change rows and return how many. They are changed in batches, so that nobody waits until very
    many are. If there are none, nothing is locked."""
    found: Any = Job.select(Job.id).where(which).tuples()
    ids = [job_id for (job_id,) in found if can_be_found(job_id)]
    changed = 0
    for start in range(0, len(ids), BATCH):
        still = which & Job.id.in_(ids[start : start + BATCH])
        these = Job.id.in_(_skip_locked(Job.select(Job.id).where(still)))
        changed += int(Job.update(**columns).where(these).execute())
    return changed


def _skip_locked(query: Any) -> Any:
    """Leave out the rows that another transaction has locked, where the database can tell. So the
    relay waits for nobody, and takes part in no deadlock."""
    return query.for_update(skip_locked=True) if Job._meta.database.for_update else query


class _Clock:
    """The outbox's clock, which somebody may set."""

    def __init__(self) -> None:
        self._steps: clock.Steps | None = None

    def step_s(self) -> float:
        """By how much it was set since the last call, or for the first one since somebody watched
        it (seconds; negative: back)."""
        if self._steps is not None:
            return self._steps.step_s()
        self._steps = clock.Steps(lambda: clock.measured(Job._meta.database))
        back = set_back_s()
        return -back if back > clock.SLACK_S else 0.0


_clock: PerOutbox[_Clock] = PerOutbox(_Clock)


def _after_the_clock_was_set(lease_s: float) -> float:
    """The time, by which this round goes.

    If the clock was set forward, all leases seem to have run out: give each its whole time anew, in
    which a living worker renews it. If it was set back, send all waiting jobs again, because by
    their rows they would be late by as much; and shorten each lease to the length of a new one."""
    step, now = _clock.here.step_s(), clock.now(Job._meta.database)
    leased = Job.leased_by.is_null(False)
    too_long = leased & (Job.send_at > now + lease_s + clock.SLACK_S)
    changed = _update(too_long, send_at=now + lease_s)
    if step > 0:
        changed += _update(leased & (Job.send_at < now + lease_s), send_at=now + lease_s)
    if step:
        way = "forward" if step > 0 else "back"
        logger.warning(
            "the clock was set %s by %.0f s: leases=%d begin anew", way, abs(step), changed
        )
    elif changed:
        logger.warning("shortened leases=%d, which would have run out too late", changed)
    if step < 0:
        _make_due(now, "the clock was set back")
    return now


def _send_what_was_lost(broker: "RedisBroker", now: float) -> None:
    """Send the waiting jobs again that the broker has lost, and put those back into their queue
    that it has lost in itself."""
    ask_again(broker)  # while it takes nothing, every round would find the same
    loss = mark.here.look(broker)
    if loss is not None:
        _make_due(now, loss.why, loss.level, sent_since=loss.since)
    mark.here.leave(broker)
    for queue in sorted(broker.get_declared_queues()):
        try:
            count = abilities(broker).mend(queue)
        except Exception as error:
            raise unavailable(error) from error
        if count:
            logger.warning("put back queue=%s messages=%d: the broker had evicted it", queue, count)


def _make_due(
    now: float, why: str, level: int = logging.WARNING, *, sent_since: float | None = None
) -> None:
    """Send the waiting jobs now, whose sending had another moment. Log how many there are.

    Parameters:
      sent_since: leave out those that were sent once, before this moment; None for all.
    """
    scheduled = (Job.attempts == 0) & (Job.due_at > now)  # its moment is still its moment
    waiting = Job.leased_by.is_null() & Job.failed_at.is_null() & ~Job.held
    which = waiting & (Job.due_at.is_null() | ~scheduled) & (Job.send_at > now)
    if sent_since is not None:
        # Neither retried nor relayed: then `send_at` is a minute after it was handed to its sender.
        once = (Job.sendings == 0) & (Job.attempts == 0) & (Job.deaths == 0) & Job.due_at.is_null()
        which &= ~(once & (Job.send_at < sent_since - clock.SLACK_S + RESEND_AFTER_S))
    changed = _update(which, send_at=now)
    # Wait for the rows that another transaction had locked, one by one: nobody does it later.
    rest: Any = Job.select(Job.id).where(which).tuples()
    for job_id in [job_id for (job_id,) in rest if can_be_found(job_id)]:
        changed += Job.update(send_at=now).where(which & (Job.id == job_id)).execute()
    if changed:
        logger.log(level, "%s: jobs=%d that wait are sent again", why, changed)
