"""The row of a job, and the message that it becomes."""

import logging
import secrets
import time
from typing import TYPE_CHECKING, Any

import dramatiq
import dramatiq.broker
import peewee
from dramatiq.errors import ActorNotFound
from peewee import SQL

from gifster.jobs import clock
from gifster.jobs.asking import BrokerUnavailable, NoBroker
from gifster.jobs.brokers.fair import GROUP
from gifster.jobs.identity import identity_of
from gifster.jobs.problem import Problem
from gifster.jobs.sending import send_each
from gifster.jobs.traceparent import OPTION as TRACEPARENT
from gifster.jobs.transactions import real_database

logger = logging.getLogger("gifster.jobs")

#: How long after a sending the relay sends a job again whose row is still there (seconds). It
#: doubles with each sending.
RESEND_AFTER_S = 60.0
#: `send_at` of throttled and dead jobs. The relay would read all of them in each round, if they
#: were due (seconds since the epoch: the year 9999).
NEVER = 253_402_300_799.0

#: How the error of a job begins for which a worker of the former release had no actor. A job may
#: raise that error itself, too.
WITHOUT_ACTOR = f"{ActorNotFound.__name__}("

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
    #: Whether the last worker that got the job had not its actor, and gave it back.
    actor_missing = peewee.BooleanField(default=False)
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
        tried_at = time.monotonic()
        try:
            (error,) = send_each([self.message()])
        except UnreadableArguments as unreadable:
            error = unreadable
        return self.is_sent(error, tried_at)

    def is_sent(self, error: Exception | None, tried_at: float) -> bool:
        """Whether the job was sent, if sending it ended with this error; logs the error. A broker
        that takes no job is logged once, not for each.

        Parameters:
          tried_at: when sending it began (`time.monotonic()`).
        """
        if error is None:
            _broker_is_away.resolved("jobs are sent to the broker again", tried_at=tried_at)
        elif isinstance(error, BrokerUnavailable):
            if not isinstance(error, NoBroker):
                _broker_is_away.report(f"jobs wait in the outbox for the broker: {error}")
        else:
            logger.warning("deferred job=%s actor=%s reason=%r", self.id, self.actor, str(error))
        return error is None


# A job is in the index of its state, and in others if it has a group. A query that shall use an
# index says its condition word for word, and compares `held` only where that is one of its columns.
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
Job.add_index(
    Job.group,
    Job.queue,
    Job.actor_missing,
    Job.due_at,
    where=Job.group.is_null(False) & Job.failed_at.is_null() & ~Job.held,
    name="outbox_sent",
)

#: The jobs that wait in the order in which they were enqueued; those that were put off, and have
#: not failed; those that have; and those that were given up. Conditions of indexes.
_FREE = Job.leased_by.is_null() & Job.failed_at.is_null()
AT_ONCE = Job.due_at.is_null() & _FREE
PUT_OFF = Job.due_at.is_null(False) & (Job.attempts == SQL("0")) & _FREE
FAILED = Job.due_at.is_null(False) & (Job.attempts > SQL("0")) & _FREE
DEAD = Job.failed_at.is_null(False)
Job.add_index(
    Job.queue,
    Job.held,
    Job.created_at,
    Job.id,
    Job.due_at,
    Job.leased_by,
    Job.failed_at,
    where=AT_ONCE,
    name="outbox_waiting",
)
Job.add_index(Job.queue, Job.due_at, Job.id, where=PUT_OFF, name="outbox_scheduled")
Job.add_index(Job.queue, Job.due_at, Job.id, Job.attempts, where=FAILED, name="outbox_retrying")
Job.add_index(Job.queue, Job.failed_at, Job.id, where=DEAD, name="outbox_dead_of")


def can_be_found(text: str) -> bool:
    """Whether a row can be found by what its text was read as. A connection that reads damaged text
    at all gives it a type of its own."""
    return type(text) is str


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
