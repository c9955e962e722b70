"""What every job gets: a line in the log at its start and its end, a database connection of its
own, the end of its outbox row; and a worker process that does not outlive its parent."""

import logging
import threading
import time
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware, SkipMessage

from gifster.jobs.outbox import RESEND_AFTER_S, Job
from gifster.jobs.parent import end_with_parent

logger = logging.getLogger("gifster.jobs")

MessageProxy = dramatiq.broker.MessageProxy


class JobLog(Middleware):
    """`start` and `done` (or `fail`, `skip`) with the duration in ms, as Sidekiq logs them."""

    def __init__(self) -> None:
        self._started = threading.local()

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        self._started.at = time.monotonic()
        logger.info("start %s", _describe(message))

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        ms = (time.monotonic() - self._started.at) * 1000
        if exception is None:
            logger.info("done %s ms=%.0f", _describe(message), ms)
        else:
            logger.warning(
                "fail %s ms=%.0f retry=%s error=%r",
                _describe(message),
                ms,
                "no" if message.failed else "yes",
                exception,
            )

    def after_skip_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        logger.info("skip %s", _describe(message))


def _describe(message: MessageProxy) -> str:
    arguments = ",".join(str(argument) for argument in message.args)
    job = message.options.get("outbox_id", "-")
    return (
        f"actor={message.actor_name} queue={message.queue_name} job={job} "
        f"message={message.message_id} args={arguments[:200]}"
    )


class DatabaseConnection(Middleware):
    """A connection of the outbox's database for the time of the job, then back to its pool."""

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        if (database := Job._meta.database) is not None:
            database.connect(reuse_if_open=True)

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self.after_skip_message(broker, message)

    def after_skip_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        database = Job._meta.database
        if database is not None and not database.is_closed():
            database.close()


class OutboxRows(Middleware):
    """Ties a message to its row in the outbox.

    A message whose row is gone has run already and is skipped. The row goes when the job is done.
    When the retries have run out it stays, with the reason, and the actor's `on_failure` option,
    a callable taking the exception and the job's arguments, is called: the data can say so too.
    """

    @property
    def actor_options(self) -> set[str]:
        return {"on_failure"}

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        job_id = message.options.get("outbox_id")
        if job_id is not None and not Job.select().where(Job.id == job_id).exists():
            raise SkipMessage(f"job {job_id} has run already")

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        row = Job.id == message.options.get("outbox_id")
        if exception is None:
            Job.delete().where(row).execute()
        elif message.failed:
            Job.update(failed_at=time.time(), error=repr(exception)).where(row).execute()
            on_failure = broker.get_actor(message.actor_name).options.get("on_failure")
            if on_failure is not None:
                on_failure(exception, *message.args)
        else:
            Job.update(error=repr(exception)).where(row).execute()

    def after_enqueue(
        self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None
    ) -> None:
        job_id = message.options.get("outbox_id")
        if job_id is not None and delay:
            # A retry waits in the broker: the relay must not be quicker than that.
            due = time.time() + delay / 1000 + RESEND_AFTER_S
            Job.update(send_at=due).where(Job.id == job_id).execute()


class EndWithParent(Middleware):
    """Ends a worker process whose main process was killed with -9 and could not tell it."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        end_with_parent()
