"""The outbox: a job as a row, written in the same transaction as the data it is about.

`enqueue()` inserts the row and, once the transaction has committed, sends the job to the broker.
A rollback takes the job with it. If the broker cannot be reached, or the process dies in between,
the row is still there and the relay (`relay.py`) sends it. When the job has run, `OutboxRows`
(`middleware.py`) deletes the row; a job whose row is gone is not run again. So a job runs at least
once, and an actor must stand being run twice. The pattern: "transactional outbox".

Any application can have the table: `database.bind(jobs.TABLES)`, and
`database.create_tables(jobs.TABLES)` in a migration. `Job` alone is enough for the outbox; the
others (`heartbeat.py`, `tally.py`, `recurring.py`) are what the page and the pauses need.
"""

import logging
import secrets
import time
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import dramatiq
import dramatiq.broker
import peewee

from gifster.jobs.brokers.fair import GROUP
from gifster.jobs.identity import identity_of
from gifster.jobs.sending import NoBroker, send_each

logger = logging.getLogger("gifster.jobs")

#: When the relay sends a job again whose row is still there (seconds); doubles with each sending.
RESEND_AFTER_S = 60.0

#: How many jobs of a group are with the broker at once, unless `connect()` is told otherwise.
MAX_PER_GROUP = 16


class UnreadableArguments(ValueError):
    """A job's arguments are not what `enqueue()` writes; says why."""


class Unreadable(list[Any]):
    """Stands for arguments that cannot be read: a list of their text, and the reason."""

    def __init__(self, text: str, why: Exception) -> None:
        super().__init__([text])
        self.why = f"the arguments of the job cannot be read: {why!r}"


class ArgumentsField(peewee.TextField):
    """A job's positional arguments, in Dramatiq's own encoding (JSON). A row in which they cannot
    be read has an `Unreadable`: it must not keep anybody from reading the others."""

    def db_value(self, value: list[Any]) -> str:
        return dramatiq.get_encoder().encode({"args": value}).decode()

    def python_value(self, value: str) -> list[Any]:
        try:
            return list(dramatiq.get_encoder().decode(value.encode())["args"])
        except Exception as error:  # noqa: BLE001 an encoder of the application's raises anything
            return Unreadable(str(value), error)


class Job(peewee.Model):
    """A job that has not finished. Times are seconds since the epoch."""

    id = peewee.CharField(32, primary_key=True, default=lambda: secrets.token_hex(16))
    actor = peewee.CharField()
    queue = peewee.CharField()
    arguments = ArgumentsField()
    created_at = peewee.DoubleField(default=time.time)
    #: When the relay sends it, if it is still here; of a leased one, when the lease runs out.
    send_at = peewee.DoubleField(index=True)
    #: Not before then: what was enqueued for later, or failed and waits for its next attempt.
    due_at = peewee.DoubleField(null=True)
    #: The worker that has it in hand (see `lease.py`), which of its threads, and since when; and
    #: how many workers died while they had.
    leased_by = peewee.CharField(null=True)
    thread = peewee.CharField(null=True)
    started_at = peewee.DoubleField(null=True)
    deaths = peewee.IntegerField(default=0)
    #: How often it has failed. It counts across all sendings: after a worker's or a broker's death
    #: the retries go on where they were.
    attempts = peewee.IntegerField(default=0)
    #: Whose it is, where jobs are shared out fairly among several (see `groups.py`); and whether it
    #: waits here until fewer of that group are with the broker.
    group = peewee.CharField(null=True, column_name="group_key")
    held = peewee.BooleanField(default=False)
    #: How often the relay has sent it.
    sendings = peewee.IntegerField(default=0)
    #: The last exception, where it came from, and when the retries ran out (null while there is
    #: hope).
    error = peewee.TextField(null=True)
    traceback = peewee.TextField(null=True)
    failed_at = peewee.DoubleField(null=True)

    class Meta:
        table_name = "outbox"

    def message(self) -> dramatiq.Message[Any]:
        """The Dramatiq message for this job. Its actor need not be known in this process.

        Raises:
          UnreadableArguments
        """
        if isinstance(self.arguments, Unreadable):
            raise UnreadableArguments(self.arguments.why)
        whose = identity()
        return dramatiq.Message(
            queue_name=self.queue,
            actor_name=self.actor,
            args=tuple(self.arguments),
            kwargs={},
            options={
                "outbox_id": self.id,
                "retries": self.attempts,
                **({} if whose is None else {"outbox": whose}),
                **({} if self.group is None else {GROUP: self.group}),
            },
        )

    def send(self) -> bool:
        """Send the job to the broker now.

        Returns:
          False if it could not be sent; that is logged, not raised.
        """
        try:
            (error,) = send_each([self.message()])
        except UnreadableArguments as unreadable:
            error = unreadable
        if error is not None and not isinstance(error, NoBroker):
            logger.warning("deferred job=%s actor=%s reason=%r", self.id, self.actor, str(error))
        return error is None


# Jobs without a group are not in it, and pay nothing for it.
Job.add_index(Job.group, Job.held, where=Job.group.is_null(False), name="outbox_group")


def identity() -> str | None:
    """The name of this application's outbox (see `identity.py`); None if it has none."""
    return identity_of(Job._meta.database)


def enqueue(  # noqa: PLR0913 options, each with a default
    actor: str,
    *arguments: Any,
    queue: str = "default",
    unique: str | None = None,
    at: datetime | float | None = None,
    in_s: float | None = None,
    group: str | None = None,
) -> Job | None:
    """Write a job into the outbox; it is sent when the current transaction has committed, or at a
    later moment.

    Parameters:
      actor: the name of the Dramatiq actor that will run it.
      arguments: what the actor is called with; all must go into JSON.
      queue: the queue that the actor listens on.
      unique: a key of at most 32 characters, of which there is one job at a time.
      at: not before this moment (an aware datetime, or seconds since the epoch); the relay sends it
        then, a second or two late (Sidekiq's `perform_at`).
      in_s: likewise, so many seconds from now (`perform_in`).
      group: whose job it is, a text of at most 255 characters. Groups share the threads fairly: one
        with many jobs does not hold up the others (see `groups.py`).

    Returns:
      the job; None if there is one of that key already, which is left as it is.

    Raises:
      ValueError: both `at` and `in_s`, or a datetime without a time zone.
    """
    now, due_at = time.time(), _moment(at, in_s)
    later = due_at is not None and due_at > now
    job = Job(
        actor=actor,
        queue=queue,
        arguments=list(arguments),
        send_at=due_at if later else now + RESEND_AFTER_S,
        due_at=due_at if later else None,
        group=group,
        **({} if unique is None else {"id": unique}),
    )
    with transaction(Job._meta.database):
        job.held = group is not None and not later and room_of(group, queue) <= 0
        if unique is not None:
            # A dead one is in nobody's way, and about to be done after all.
            Job.delete().where(Job.id == unique, Job.failed_at.is_null(False)).execute()
            # In one statement: of two that look first, both would find none, and both insert.
            new = Job.insert(**job.__data__)
            new = new.on_conflict(action="nothing", conflict_target=[Job.id])
            if not new.as_rowcount().execute():
                return None
        else:
            job.save(force_insert=True)
        if not later and not job.held:
            Job._meta.database.after_commit(lambda: send_now(job))
    return job


def is_held(held: bool) -> Any:
    """Whether a job is held, in SQL; as a comparison, for which databases use the index."""
    return Job.held == held


def room_of(group: str, queue: str) -> int:
    """How many more jobs of a group may go to a queue now: a paused queue holds up no other. Jobs
    that wait for their moment or their next attempt do not count."""
    active = Job.failed_at.is_null() & (Job.due_at.is_null() | (Job.due_at <= time.time()))
    its = (Job.group == group) & (Job.queue == queue)
    sent = Job.select().where(its & is_held(False) & active)
    return most_of_group() - int(sent.count())


def most_of_group() -> int:
    """How many jobs of a group may be with the broker at once, as `connect()` was told."""
    return int(getattr(dramatiq.broker.global_broker, "max_per_group", MAX_PER_GROUP))


def _moment(at: datetime | float | None, in_s: float | None) -> float | None:
    """Seconds since the epoch; None for now."""
    if at is not None and in_s is not None:
        raise ValueError("at and in_s: one of them")
    if in_s is not None:
        return time.time() + in_s
    if not isinstance(at, datetime):
        return at
    if at.tzinfo is None:
        raise ValueError("at needs a time zone: datetime.now(UTC), or .astimezone()")
    return at.timestamp()


def send_now(job: Job) -> None:
    """Send a job that was committed; if that cannot be, have the relay do it soon."""
    # Peewee rolls back and raises if a callback does, although the commit has happened: whatever
    # goes wrong here must not look like a failure of what was committed. The relay is there.
    try:
        if not job.send():
            Job.update(send_at=time.time()).where(Job.id == job.id).execute()
    except Exception:
        logger.exception("deferred job=%s actor=%s", job.id, job.actor)


def transaction(database: peewee.Database | peewee.DatabaseProxy) -> AbstractContextManager[Any]:
    """A transaction that is going to write.

    On SQLite it takes the write lock at its start: a transaction that reads first and writes later
    would fail with "database is locked" as soon as another process wrote in between, without
    waiting for the busy timeout. Within a transaction it is a savepoint.
    """
    if isinstance(database, peewee.DatabaseProxy):
        database = database.obj
    if database.in_transaction():
        return _Savepoint(database)
    immediate = ["IMMEDIATE"] if isinstance(database, peewee.SqliteDatabase) else []
    return _Transaction(database, *immediate)


class _Transaction(peewee._transaction):
    """Peewee's transaction, which ends in order when the database has ended it already.

    SQLite ends it by itself if its disk is full, and so does a server that goes away. The error
    that led here is raised then, not the one of the second attempt to roll back. And the callbacks
    of the commit are forgotten: else the next transaction of this thread would call them.
    """

    def rollback(self, begin: bool = True) -> None:
        try:
            super().rollback(begin)
        except peewee.PeeweeException as error:
            self.db._clear_commit_callbacks()
            if begin:
                raise
            logger.debug("rolled back already: %s", error)


class _Savepoint(peewee._savepoint):
    """The same for a savepoint, which goes with its transaction."""

    def rollback(self, begin: bool = True) -> None:
        try:
            super().rollback(begin)
        except peewee.PeeweeException as error:
            if begin:
                raise
            logger.debug("rolled back already: %s", error)
