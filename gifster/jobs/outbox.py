"""The outbox: a job as a row, written in the same transaction as the data it is about.

`enqueue()` inserts the row and, once the transaction has committed, sends the job to the broker.
A rollback takes the job with it. If the broker cannot be reached, or the process dies in between,
the row is still there and the relay (`relay.py`) sends it. When the job has run, `OutboxRows`
(`outbox_rows.py`) deletes the row; a job whose row is gone is not run again. So a job runs at least
once, and an actor must stand being run twice. The pattern: "transactional outbox".

Any application can have the table: `database.bind(jobs.TABLES)`, and `jobs.migrate(database)` when
it starts or in a migration (`schema.py`). `Job` alone is enough for the outbox; the pauses, the
stats and the recurring jobs need the other tables (`worker_rows.py`, `stats.py`, `recurring.py`).
"""

import logging
import re
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import dramatiq
import dramatiq.broker
import peewee

from gifster.jobs import clock
from gifster.jobs.group_limits import most_of_group, room_of, sent_of_group
from gifster.jobs.job import NEVER, RESEND_AFTER_S, Job, UnreadableArguments, outbox_database
from gifster.jobs.old_schema import explained, needs
from gifster.jobs.sending import send_each
from gifster.jobs.statements import Statement, database_values
from gifster.jobs.traceparent import of_new_job
from gifster.jobs.transactions import Transaction, outermost_transaction, transaction

logger = logging.getLogger("gifster.jobs")


def name_of(actor: str | dramatiq.Actor[..., Any]) -> str:
    """The name of an actor, which may be given itself; a class-based one (`GenericActor`), too.

    Raises:
      TypeError: it is none, such as a function that was not declared, or a message.
    """
    if isinstance(actor, dramatiq.Message):  # which has a name, too, and arguments of its own
        raise TypeError(
            f"{actor} is a message, which needs no row: send it by broker.enqueue(), or write "
            f"the actor and its arguments, enqueue({actor.actor_name!r}, …)"
        )
    name = actor if isinstance(actor, str) else getattr(actor, "actor_name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"{actor!r} is no actor: declare it by @dramatiq.actor, or write a name")
    return name


#: Dramatiq's rule for the queues of actors.
_QUEUE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]*")


def valid_queue(queue: str) -> str:
    """The name of a queue, if it can be one. No actor can have another one, so no worker would ever
    take its jobs.

    Raises:
      TypeError, ValueError: it cannot.
    """
    if not isinstance(queue, str):
        raise TypeError(f"queue={queue!r} is no name of a queue: write a text")
    if not _QUEUE_NAME.fullmatch(queue):
        raise ValueError(
            f"queue={queue!r} is no name of a queue: begin it with a letter or _, and go on with "
            "letters, digits, and . _ -"
        )
    return queue


def enqueue(  # noqa: PLR0913 options, each with a default
    actor: str | dramatiq.Actor[..., Any],
    *arguments: Any,
    queue: str | None = None,
    unique: str | None = None,
    at: datetime | float | None = None,
    in_s: float | timedelta | None = None,
    group: str | None = None,
) -> Job | None:
    """Write a job into the outbox. It is sent when the current transaction has committed, or at a
    later moment.

    Parameters:
      actor: the Dramatiq actor that runs the job, or its name. By its name, this process need not
        import it.
      arguments: the arguments of the actor; JSON must be able to hold them.
      queue: the queue that the actor listens on. By default the actor's own; for the name of one
        that this process has not declared, `default`.
      unique: a key of 1 to 32 characters; there is one job with this key at a time.
      at: the moment before which the job does not run (an aware datetime, or seconds since the
        epoch). The relay sends it a second or two later (Sidekiq's `perform_at`).
      in_s: the same, in seconds from now (`perform_in`), or as a `timedelta`.
      group: whose job it is, a text of at most 255 characters. Groups share the threads fairly: a
        group with many jobs does not delay the others (see `groups.py`).

    Returns:
      the job; None if there is a job with this key already, which stays as it is.

    Raises:
      TypeError: JSON cannot hold an argument, or `actor` is no actor.
      ValueError: `at` and `in_s` are both given, `at` has no time zone, the moment is none before
        the year 9999, `unique` is empty or too long, or Dramatiq has no queue of such a name.
      NotBound: `Job` is bound to no database.
      OldSchema: the outbox is missing or of an earlier release; says what to do.
    """
    now = clock.now(Job._meta.database)
    due_at = _moment(at, in_s, now)
    later = due_at is not None and due_at > now
    unique = None if unique is None else _key(unique)
    name = name_of(actor)
    queue = _own_queue(actor) if queue is None else valid_queue(queue)
    job = Job(
        actor=name,
        queue=queue,
        arguments=list(arguments),
        send_at=due_at if later else now + RESEND_AFTER_S,
        due_at=due_at if later else None,
        group=None if group is None else str(group),  # also a number or a UUID, as its column does
        traceparent=of_new_job(name, queue),
        **({} if unique is None else {"id": unique}),
    )
    database = outbox_database()
    with explained(Job), transaction(database):
        if not _insert(job, unique, now if group is not None and not later else None):
            return None
        outermost = outermost_transaction(database)
        if isinstance(outermost, Transaction) and unique is None:
            outermost.job_ids.append(job.id)
        if not later and not job.held:
            if isinstance(outermost, Transaction):
                outermost.send_later(job, send_committed)
            else:
                database.after_commit(lambda: send_committed([job]))
    return job


def _own_queue(actor: str | dramatiq.Actor[..., Any]) -> str:
    """The queue of an actor; `default` for the name of one that this process does not know."""
    if not isinstance(actor, str):
        return actor.queue_name
    broker = dramatiq.broker.global_broker
    declared = None if broker is None else broker.actors.get(actor)
    return "default" if declared is None else declared.queue_name


def _key(unique: str) -> str:
    """A key as its row and its messages have it. A worker acts on no other, and SQLite takes any
    length."""
    key = str(unique)  # also of a number
    if not 1 <= len(key) <= Job.id.max_length:
        raise ValueError(
            f"unique={unique!r} has {len(key)} characters: use 1 to {Job.id.max_length}, or a "
            "hash of it"
        )
    return key


def _insert(job: Job, unique: str | None, now: float | None) -> bool:
    """Insert a job.

    Parameters:
      now: the time, if the job is throttled while its group has too many jobs with the broker.

    Returns:
      False if there is a job with its key already.
    """
    if unique is None and now is None:
        _INSERT.execute(**database_values(job))
    elif unique is None:
        values = database_values(job)
        ((held,),) = _INSERT_IN_GROUP.rows(**values, now=now, most=most_of_group())
        job.held = bool(held)
    else:
        if now is not None and room_of(str(job.group), job.queue) <= 0:
            job.held, job.send_at = True, NEVER
        # A dead job with this key stands in nobody's way: this one replaces it.
        Job.delete().where(Job.id == unique, Job.failed_at.is_null(False)).execute()
        # One statement, because two processes that look first both find none and both insert.
        new = Job.insert(**job.__data__)
        new = new.on_conflict(action="nothing", conflict_target=[Job.id])
        return bool(new.as_rowcount().execute())
    return True


@needs(Job)
def is_waiting(actor: str, queue: str, *, but: Sequence[Any] | None = None) -> bool:
    """Whether a job of an actor waits in a queue for a thread, throttled or with the broker. Jobs
    for later, and those that wait to be retried, do not count until their moment has come.

    Parameters:
      but: the arguments of a job that does not count, such as the one that asks.

    Raises:
      NotBound: `Job` is bound to no database.
      OldSchema: the outbox is missing or of an earlier release; says what to do.
    """
    free = Job.leased_by.is_null() & Job.failed_at.is_null()
    due = Job.due_at.is_null() | (Job.due_at <= clock.now(Job._meta.database))
    its = (Job.actor == actor) & (Job.queue == queue)
    if but is not None:
        its &= Job.arguments != peewee.Value(Job.arguments.db_value(list(but)), converter=False)
    return bool(Job.select().where(its & free & due).exists())


def _inserted_in_group(now: Any, most: Any, **values: Any) -> Any:
    """Insert a job, throttled if its group has that many jobs with the broker, and tell whether it
    is."""
    held = sent_of_group(values["group"], values["queue"], now) >= most
    send_at = peewee.Case(None, [(held, NEVER)], values["send_at"])
    return Job.insert({**values, "held": held, "send_at": send_at}).returning(Job.held)


#: One of the two runs with each job that is enqueued.
_INSERT = Statement.inserting(Job)
_INSERT_IN_GROUP = Statement(_inserted_in_group, [*Job._meta.fields, "now", "most"])


def _moment(
    at: datetime | float | None, in_s: float | timedelta | None, now: float
) -> float | None:
    """Seconds since the epoch; None for now."""
    if at is not None and in_s is not None:
        raise ValueError(f"at={at!r} and in_s={in_s!r}: give one of them")
    if isinstance(at, datetime) and at.tzinfo is None:
        raise ValueError(
            f"at={at!r} needs a time zone: take datetime.now(UTC), or call .astimezone()"
        )
    moment = at.timestamp() if isinstance(at, datetime) else at
    if in_s is not None:
        moment = now + (in_s.total_seconds() if isinstance(in_s, timedelta) else in_s)
    if moment is not None and not moment < NEVER:  # NaN is not, either
        given = f"at={at!r}" if in_s is None else f"in_s={in_s!r}"
        raise ValueError(f"{given} is no moment before the year 9999: write seconds, not ms")
    return moment


def send_now(job: Job) -> None:
    """Send a job that was committed. If it cannot be sent, the relay does that soon."""
    send_committed([job])


def send_committed(jobs: Sequence[Job]) -> None:
    """Send jobs that were committed, many in a round trip. Those that cannot be sent are left to
    the relay, which sends them soon. Raises nothing."""
    # When a callback raises, Peewee rolls back and raises, too, although the commit has happened.
    # What goes wrong here must not look like a failed commit; the relay sends the jobs.
    try:
        left = _unsent(jobs)
        if left:
            Job.update(send_at=clock.now(Job._meta.database)).where(Job.id.in_(left)).execute()
    except Exception:
        for job in jobs:
            logger.exception("deferred job=%s actor=%s", job.id, job.actor)


def _unsent(jobs: Sequence[Job]) -> list[str]:
    """Send jobs. Returns the ids of those that were not sent."""
    readable, messages, left = [], [], []
    tried_at = time.monotonic()
    for job in jobs:
        try:
            messages.append(job.message())
        except UnreadableArguments as error:
            job.is_sent(error, tried_at)
            left.append(job.id)
        else:
            readable.append(job)
    errors = send_each(messages)
    return left + [
        job.id
        for job, error in zip(readable, errors, strict=True)
        if not job.is_sent(error, tried_at)
    ]
