"""Middleware that every job gets: lines in the log, and a database connection of its own. It also
ends a worker process whose main process died. The outbox has its own (`outbox_rows.py`)."""

import logging
import threading
import time
from typing import Any

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.errors import RateLimitExceeded
from dramatiq.middleware import Middleware

from gifster.jobs.outbox import Job
from gifster.jobs.parent import end_with_parent

logger = logging.getLogger("gifster.jobs")


class JobLog(Middleware):
    """Logs `start` and `done` with the duration in ms, as Sidekiq does; or `fail`, `skip`, or
    `hold` for a job that a rate limit throttles."""

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
        elif is_throttled(message, exception):
            logger.info("hold %s", _describe(message))
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


def is_throttled(message: MessageProxy, exception: BaseException | None) -> bool:
    """Whether a rate limit stopped a job, which is no failure: the job is tried again."""
    return isinstance(exception, RateLimitExceeded) and not message.failed


def _describe(message: MessageProxy) -> str:
    arguments = ",".join(str(argument) for argument in message.args)
    job = message.options.get("outbox_id", "-")
    return (
        f"actor={message.actor_name} queue={message.queue_name} job={job} "
        f"message={message.message_id} args={arguments[:200]}"
    )


class DatabaseConnection(Middleware):
    """Opens a connection to the outbox's database for each job, and gives it back to the pool."""

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


class EndWithParent(Middleware):
    """Ends a worker process whose main process was killed with -9, and could not end it."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        end_with_parent()
