"""Middleware that every job gets: lines in the log, and a database connection of its own. It also
ends a worker process whose main process died. The outbox has its own (`outbox_rows.py`)."""

import logging
import threading
import time
from typing import Any

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.errors import RateLimitExceeded
from dramatiq.middleware import Interrupt, Middleware

from gifster.jobs.escaping import escaped
from gifster.jobs.job import Job
from gifster.jobs.log_pipe import GatheredLines, gather_lines
from gifster.jobs.parent import end_with_main_process
from gifster.jobs.reasons import shown
from gifster.jobs.transactions import abandon_transaction, stay_connected

logger = logging.getLogger("gifster.jobs")


class JobLog(Middleware):
    """Logs `start` and `done` with the duration in ms, as Sidekiq does; or `fail`, `skip`, or
    `hold` for a job that a rate limit throttles. A worker process writes its lines together (see
    `log_pipe.py`)."""

    def __init__(self) -> None:
        self._thread = _Running()
        self._lines: GatheredLines | None = None

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        self._lines = gather_lines()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if self._lines is not None:
            self._lines.finish()

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        its, running = message._message, self._thread
        running.message, running.text, running.since = its, _describe(its), time.monotonic()
        self._info("start %s", running.text)

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        its, running = message._message, self._thread
        ms = (time.monotonic() - running.since) * 1000
        # It is another one if the outbox row said something else.
        text = running.text if its is running.message else _describe(its)
        running.message = None
        if exception is None:
            self._info("done %s ms=%.0f", text, ms)
        elif is_throttled(message, exception):
            logger.info("hold %s", text)
        else:
            logger.warning(
                "fail %s ms=%.0f retry=%s error=%s",
                text,
                ms,
                "no" if message.failed else "yes",
                shown(exception),
            )

    def after_skip_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        logger.info("skip %s", _describe(message._message))

    def _info(self, text: str, *values: Any) -> None:
        """Do what `logger.info()` does, and write what fills a piece of the pipe."""
        if not logger.isEnabledFor(logging.INFO):
            return
        logger.handle(self._record(text, values))
        if self._lines is not None:
            self._lines.write_pieces()

    def _record(self, text: str, values: tuple[Any, ...]) -> logging.LogRecord:
        """To make a record takes longer than to write it, so this copies the first one of the
        thread."""
        first = self._thread.record
        if first is None or logging.getLogRecordFactory() is not logging.LogRecord:
            where = (__file__, 0, text, values, None, "_info")
            self._thread.record = logger.makeRecord(logger.name, logging.INFO, *where)
            return self._thread.record
        record = logging.LogRecord.__new__(logging.LogRecord)
        now = time.time()
        record.__dict__.update(
            first.__dict__,
            msg=text,
            args=values,
            created=now,
            msecs=now % 1 * 1000 // 1,
            relativeCreated=first.relativeCreated + (now - first.created) * 1000,
        )
        return record


class _Running(threading.local):
    """The job that a thread runs: its message, how the log describes it, and since when; and the
    first record of the log that the thread made."""

    message: dramatiq.Message[Any] | None = None
    text = ""
    since = 0.0
    record: logging.LogRecord | None = None


def is_throttled(message: MessageProxy, exception: BaseException | None) -> bool:
    """Whether a rate limit stopped a job, which is no failure: the job is tried again."""
    return isinstance(exception, RateLimitExceeded) and not message.failed


def _describe(message: dramatiq.Message[Any]) -> str:
    arguments = ",".join(map(str, message.args))[:200] if message.args else ""
    job = message.options.get("outbox_id", "-")
    return escaped(
        f"actor={message.actor_name} queue={message.queue_name} job={job} "
        f"message={message.message_id} args={arguments}"
    )


class DatabaseConnection(Middleware):
    """Opens a connection to the outbox's database for each job, and gives it back to the pool. A
    database that opens one by itself does so when the job first uses it."""

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        database = Job._meta.database
        if database is not None and not database.autoconnect:
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


class TransactionLeftOpen(Interrupt):
    """A job has returned, but not ended the transaction that it began, so it is not done."""


class LeftTransactions(Middleware):
    """Rolls back the transaction that a job has left open, before the outbox's own changes would
    become a part of it: nothing that this thread writes would ever be committed, and its locks
    would stay. A job leaves one if Dramatiq interrupts it in the step that begins or ends it
    (`time_limit`), or if it called `begin()` and no `commit()`. One that has returned has failed:
    the application's `after_process_message` hooks see both its result and its failure.

    It also takes another connection in place of one that a job has closed or broken, or a
    middleware that skips it."""

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if self._tidy_up(message) and exception is None:
            raise TransactionLeftOpen("it began a transaction and did not end it")

    def after_skip_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        self._tidy_up(message)

    def _tidy_up(self, message: MessageProxy) -> bool:
        """Whether there was a transaction."""
        database = Job._meta.database
        if database is None:
            return False
        left = abandon_transaction(database)
        if left:
            logger.error("rolled back what a job left uncommitted: %s", _describe(message._message))
        stay_connected(database)
        return left


class EndWithParent(Middleware):
    """Ends a worker process whose main process was killed with -9, and could not end it."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        end_with_main_process()
