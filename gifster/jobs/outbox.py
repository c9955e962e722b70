"""The outbox: a job as a row, written in the same transaction as the data it is about.

`enqueue()` inserts the row and, once the transaction has committed, sends the job to the broker.
A rollback takes the job with it. If the broker cannot be reached, or the process dies in between,
the row is still there and the relay (`relay.py`) sends it. When the job has run, `OutboxRows`
(`outbox_rows.py`) deletes the row; a job whose row is gone is not run again. So a job runs at least
once, and an actor must stand being run twice. The pattern: "transactional outbox".

Any application can have the table: `database.bind(jobs.TABLES)`, and `jobs.migrate(database)` when
it starts or in a migration (`schema.py`). `Job` alone is enough for the outbox; the pauses, the
stats and the recurring jobs need the other tables (`heartbeat.py`, `stats.py`, `recurring.py`).
"""

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dramatiq
import dramatiq.broker
import peewee
from dramatiq.errors import ActorNotFound
from peewee import SQL, fn

from gifster.jobs import clock
from gifster.jobs.asking import BrokerUnavailable, NoBroker
from gifster.jobs.brokers.fair import GROUP
from gifster.jobs.identity import identity_of
from gifster.jobs.old_schema import explained, needs
from gifster.jobs.problem import Problem
from gifster.jobs.sending import send_each
from gifster.jobs.statements import Statement, database_values
from gifster.jobs.traceparent import OPTION as TRACEPARENT
from gifster.jobs.traceparent import of_new_job
from gifster.jobs.transactions import (
    Transaction,
    outermost_transaction,
    real_database,
    transaction,
)

logger = logging.getLogger("gifster.jobs")

#: How long after a sending the relay sends a job again whose row is still there (seconds). It
#: doubles with each sending.
RESEND_AFTER_S = 60.0
#: `send_at` of throttled and dead jobs. The relay would read all of them in each round, if they
#: were due (seconds since the epoch: the year 9999).
NEVER = 253_402_300_799.0

#: How the error of a job begins for which no worker had the actor.
WITHOUT_ACTOR = f"{ActorNotFound.__name__}("

#: How many jobs of a group may be with the broker at once, unless `connect()` says otherwise.
MAX_PER_GROUP = 16

#: Of the process, as its broker is.
_broker_is_away = Problem(logger)


class UnreadableArguments(ValueError):
    """A job's arguments cannot be read; the message says why."""


class Unreadable(list[Any]):
    """Stands in for arguments that cannot be read: a list of their text, with the reason."""

    def __init__(self, text: str, why: Exception) -> None:
        super().__init__([text])
        self.why = f"the arguments of the job cannot be read: {why!r}"


if TYPE_CHECKING:
    _Text = peewee.Field[list[Any]]
else:
    _Text = peewee.TextField


class ArgumentsField(_Text):
    """A job's positional arguments, in Dramatiq's encoding (JSON). A row whose arguments cannot be
    read gets an `Unreadable`, so that the other rows can be read all the same."""

    def db_value(self, value: list[Any]) -> str:
        try:
            return dramatiq.get_encoder().encode({"args": value}).decode()
        except TypeError as error:
            raise TypeError(
                f"a job's arguments must be JSON, such as str(id) for a UUID: {error}"
            ) from error

    def python_value(self, value: str) -> list[Any]:
        try:
            return list(dramatiq.get_encoder().decode(value.encode())["args"])
        except Exception as error:  # noqa: BLE001 the application's encoder may raise anything
            return Unreadable(str(value), error)


class Job(peewee.Model):
    """A job that has not finished. Times are seconds since the epoch.

    Attributes:
      id: 32 hexadecimal digits, or the job's `unique` key.
      actor, queue: the names of its actor and its queue.
      arguments: the list that its actor is called with.
      created_at: when it was enqueued.
      thread: the thread of the worker process that runs it; null if none does.
      started_at: since when it runs; null if it does not.
      deaths: how many workers died while they ran it.
      held: whether it is throttled: it waits here while too many jobs of its group are sent.
      traceback: of the last exception.
      failed_at: when the job was given up; null until then.
    """

    id = peewee.CharField(32, primary_key=True, default=lambda: secrets.token_hex(16))
    actor = peewee.CharField()
    queue = peewee.CharField()
    arguments = ArgumentsField()
    created_at = peewee.DoubleField(default=lambda: clock.now(Job._meta.database))
    #: When the relay sends the job, if the row is still here; while it is leased, when the lease
    #: runs out; `NEVER` while it is throttled or dead.
    send_at = peewee.DoubleField(index=True)
    #: The job runs no earlier: it was enqueued for later, or it failed and waits to be retried.
    due_at = peewee.DoubleField(null=True)
    #: The worker process that runs the job (see `lease.py`); null if none does.
    leased_by = peewee.CharField(null=True)
    thread = peewee.CharField(null=True)
    started_at = peewee.DoubleField(null=True)
    deaths = peewee.IntegerField(default=0)
    #: How often the job has failed, over all its sendings: when a worker or the broker dies, the
    #: retries go on where they were.
    attempts = peewee.IntegerField(default=0)
    #: The group of the job (see `groups.py`); null if it has none.
    group = peewee.CharField(null=True, column_name="group_key")
    held = peewee.BooleanField(default=False)
    #: How often the relay has sent the job.
    sendings = peewee.IntegerField(default=0)
    #: The last exception; null until the job has failed.
    error = peewee.TextField(null=True)
    traceback = peewee.TextField(null=True)
    failed_at = peewee.DoubleField(null=True)
    #: The trace that the job belongs to (see `traceparent.py`); null if nobody traces.
    traceparent = peewee.CharField(64, null=True)

    class Meta:
        table_name = "outbox"

    def message(self) -> dramatiq.Message[Any]:
        """The Dramatiq message of this job. This process need not know the actor.

        Raises:
          UnreadableArguments: its arguments cannot be read; says why.
        """
        if isinstance(self.arguments, Unreadable):
            raise UnreadableArguments(self.arguments.why)
        whose = identity()
        return dramatiq.Message(
            queue_name=self.queue,
            actor_name=self.actor,
            args=tuple(self.arguments),
            kwargs={},
            message_timestamp=round(self._may_run_since() * 1000),
            options={
                "outbox_id": self.id,
                "outbox_created_at": self.created_at,
                "retries": self.attempts,
                **({} if whose is None else {"outbox": whose}),
                **({} if self.group is None else {GROUP: self.group}),
                **({} if self.traceparent is None else {TRACEPARENT: self.traceparent}),
            },
        )

    def _may_run_since(self) -> float:
        """Since when the job may run, from where Dramatiq's `max_age` counts: the relay may send it
        hours later. A job of a group forgets its moment when its group has no room for it
        (`relay.py`), so it counts as new."""
        return self.due_at or (self.created_at if self.group is None else now())

    def send(self) -> bool:
        """Send the job to the broker now.

        Returns:
          False if it could not be sent; the reason is logged, not raised.
        """
        try:
            (error,) = send_each([self.message()])
        except UnreadableArguments as unreadable:
            error = unreadable
        return self.is_sent(error)

    def is_sent(self, error: Exception | None) -> bool:
        """Whether the job was sent, if sending it ended with this error; logs the error. A broker
        that takes no job is logged once, not for each."""
        if error is None:
            _broker_is_away.resolved("jobs are sent to the broker again")
        elif isinstance(error, BrokerUnavailable):
            if not isinstance(error, NoBroker):
                _broker_is_away.report(f"jobs wait in the outbox for the broker: {error}")
        else:
            logger.warning("deferred job=%s actor=%s reason=%r", self.id, self.actor, str(error))
        return error is None


# A job without a group is in the index of its state only, if there is one: such jobs cost nothing.
# A query that shall use an index says `held` as its condition does, and never compares it.
Job.add_index(Job.group, Job.held, where=Job.group.is_null(False), name="outbox_group")
Job.add_index(
    Job.group, Job.queue, Job.actor, Job.created_at, Job.id, where=Job.held, name="outbox_held"
)
Job.add_index(
    Job.group,
    Job.queue,
    Job.due_at,
    where=Job.group.is_null(False) & Job.failed_at.is_null() & ~Job.held,
    name="outbox_unheld",
)
Job.add_index(Job.send_at, Job.leased_by, where=Job.leased_by.is_null(False), name="outbox_leased")
Job.add_index(Job.failed_at, where=Job.failed_at.is_null(False), name="outbox_dead")


def identity() -> str | None:
    """The name of this application's outbox (see `identity.py`); None if it has no name."""
    return identity_of(Job._meta.database)


def now() -> float:
    """The time by the clock that all processes of this outbox share (seconds since the epoch):
    PostgreSQL's; with SQLite, or without a database, the machine's."""
    return clock.now(Job._meta.database)


def outbox_database() -> peewee.Database:
    """The database that the outbox is bound to.

    Raises:
      NotBound: `Job` is bound to no database.
    """
    return real_database(Job._meta.database)


def name_of(actor: str | dramatiq.Actor[..., Any]) -> str:
    """The name of an actor, which may be given itself; a class-based one (`GenericActor`), too.

    Raises:
      TypeError: it is none, such as a function that was not declared.
    """
    name = actor if isinstance(actor, str) else getattr(actor, "actor_name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"{actor!r} is no actor: declare it by @dramatiq.actor, or write a name")
    return name


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
        the year 9999, or `unique` is empty or too long.
      NotBound: `Job` is bound to no database.
      OldSchema: the outbox is missing or of an earlier release; says what to do.
    """
    now = clock.now(Job._meta.database)
    due_at = _moment(at, in_s, now)
    later = due_at is not None and due_at > now
    unique = None if unique is None else _key(unique)
    name = name_of(actor)
    queue = _own_queue(actor) if queue is None else queue
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


def room_of(group: str, queue: str) -> int:
    """How many more jobs of a group may go to a queue now. Each queue counts alone, so a paused
    queue does not throttle the others. Jobs that wait for their moment or a retry do not count."""
    ((sent,),) = _SENT.rows(group=group, queue=queue, now=clock.now(Job._meta.database))
    return most_of_group() - int(sent)


def sent_of_group(group: Any, queue: Any, now: Any) -> Any:
    """How many jobs of a group and a queue are with the broker, in SQL."""
    sent = Job.alias("sent")
    its = (sent.group == group) & (sent.queue == queue) & ~sent.held & sent.failed_at.is_null()
    # One that no worker could take is not there: it is sent again now and then, and a group with an
    # actor that nobody has would never get to its other jobs.
    has_actor = sent.error.is_null() | ~sent.error.startswith(WITHOUT_ACTOR)
    its &= has_actor | sent.leased_by.is_null(False)
    count = sent.select(fn.COUNT(SQL("*"))).where(its)
    # Two counts, because of an `OR` the databases would read the jobs for later as well.
    at_once, by_now = count.where(sent.due_at.is_null()), count.where(sent.due_at <= now)
    return peewee.Expression(at_once, peewee.OP.ADD, by_now)


def _inserted_in_group(now: Any, most: Any, **values: Any) -> Any:
    """Insert a job, throttled if its group has that many jobs with the broker, and tell whether it
    is."""
    held = sent_of_group(values["group"], values["queue"], now) >= most
    send_at = peewee.Case(None, [(held, NEVER)], values["send_at"])
    return Job.insert({**values, "held": held, "send_at": send_at}).returning(Job.held)


#: One of the last two runs with each job that is enqueued.
_SENT = Statement(lambda group, queue, now: Job.select(sent_of_group(group, queue, now)).from_())
_INSERT = Statement.inserting(Job)
_INSERT_IN_GROUP = Statement(_inserted_in_group, [*Job._meta.fields, "now", "most"])


def most_of_group() -> int:
    """How many jobs of a group may be with the broker at once, as `connect()` set it."""
    return int(getattr(dramatiq.broker.global_broker, "max_per_group", None) or MAX_PER_GROUP)


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
    for job in jobs:
        try:
            messages.append(job.message())
        except UnreadableArguments as error:
            job.is_sent(error)
            left.append(job.id)
        else:
            readable.append(job)
    errors = send_each(messages)
    return left + [
        job.id for job, error in zip(readable, errors, strict=True) if not job.is_sent(error)
    ]
