"""What every job gets: a line in the log at its start and its end, a database connection of its
own, the end of its outbox row; and a worker process that does not outlive its parent."""

import logging
import threading
import time
import traceback
from typing import Any

import dramatiq
from dramatiq.errors import ActorNotFound, RateLimitExceeded
from dramatiq.middleware import Middleware, MiddlewareError, SkipMessage

from gifster.jobs.brokers.fair import group_of
from gifster.jobs.groups import release
from gifster.jobs.lease import Leases, WorkersDied
from gifster.jobs.obedience import OUTBOX_ONLY, Refused, obey, row_named_by, why_not_taken
from gifster.jobs.outbox import RESEND_AFTER_S, Job
from gifster.jobs.parent import end_with_parent
from gifster.jobs.sending import send_each

logger = logging.getLogger("gifster.jobs")

#: What is kept of an exception's traceback: the innermost frames, and at most so many characters.
TRACEBACK_FRAMES, TRACEBACK_CHARACTERS = 30, 20_000

MessageProxy = dramatiq.broker.MessageProxy


class JobLog(Middleware):
    """`start` and `done` (or `fail`, `skip`, or `hold` by a rate limit) with the duration in ms, as
    Sidekiq logs them."""

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
        elif is_held(message, exception):
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


def is_held(message: MessageProxy, exception: BaseException | None) -> bool:
    """Whether a job was held up by a rate limit, which is no failure, and will be tried again."""
    return isinstance(exception, RateLimitExceeded) and not message.failed


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


class OutboxUnavailable(MiddlewareError):
    """The outbox did not say what a message is about: the job is tried again later."""


class OutboxRows(Middleware):
    """Ties a message to its row in the outbox, which says what is done (see `obedience.py`).

    The row is leased while the job runs. A message whose row is gone, or in another worker's hands,
    is skipped, and so is one without a row if the actor has the option `outbox_only`. The row goes
    when the job is done. When the retries have run out, or too many workers died over it, it stays,
    with the reason, and the actor's `on_dead` option, a callable taking the exception and the job's
    arguments, is called: so the data can say so, too.
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._leases = Leases(lease_s)
        #: `job_id`: what this thread has leased and not let go of.
        self._thread = threading.local()

    @property
    def worker(self) -> str:
        """The name that this process's leases are in."""
        return self._leases.worker

    @property
    def actor_options(self) -> set[str]:
        return {"on_dead", OUTBOX_ONLY}

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        self._leases = Leases(self._lease_s)  # this process's own, after the fork

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        # Only a MiddlewareError keeps the actor from being called, whatever goes wrong here.
        try:
            self._take(broker, message)
        except Refused as error:
            logger.warning("%s", error)
            raise SkipMessage(str(error)) from None
        except MiddlewareError:
            raise
        except Exception as error:
            raise OutboxUnavailable(f"the outbox cannot be asked: {error!r}") from error

    def _take(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        """Lease the row of a message, and have the message say what the row says."""
        job_id = row_named_by(broker, message)
        if job_id is None:
            return
        try:
            job = self._leases.take(job_id, message.actor_name)
        except WorkersDied as error:
            obey(broker, message, error.job)
            self._give_up(broker, message, error)
            raise SkipMessage(str(error)) from None
        if job is None:
            if (why := why_not_taken(message, job_id)) is not None:
                raise Refused(message, why)
            raise SkipMessage(f"job {job_id} is done, or in other hands")
        self._thread.job_id = job_id
        obey(broker, message, job)

    def before_enqueue(
        self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None
    ) -> None:
        job_id = message.options.get("outbox_id")
        if job_id is not None and delay is not None:
            # A retry may be in other hands as soon as it is sent: so the lease ends before that.
            # It waits in the broker: the relay must not be quicker.
            due = time.time() + delay / 1000
            self._let_go(
                job_id,
                send_at=due + RESEND_AFTER_S,
                due_at=due,
                attempts=message.options.get("retries", 0),
            )

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        job_id = message.options.get("outbox_id")
        if job_id is None:
            return
        row = Job.id == job_id
        if exception is None:
            self._forget(job_id)
            Job.delete().where(row).execute()
        elif message.failed:
            if self._forget(job_id):  # else nobody knows whether it is this message's
                self._give_up(broker, message, exception)
        else:
            Job.update(**_why(exception)).where(row).execute()
            self._let_go(job_id)
        _release(message)

    def after_skip_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        # Also skipped by another middleware, as by Dramatiq's AgeLimit, when it was leased already.
        job_id = message.options.get("outbox_id")
        if job_id is None or not self._forget(job_id):
            return
        if message.failed:
            self._give_up(broker, message, SkipMessage("skipped: it is not to be done any more"))
        else:
            Job.delete().where(Job.id == job_id).execute()
        _release(message)

    def _let_go(self, job_id: str, **columns: Any) -> None:
        """End this thread's lease, if it holds it still."""
        if self._forget(job_id):
            mine = (Job.id == job_id) & (Job.leased_by == self.worker)
            Job.update(leased_by=None, **columns).where(mine).execute()

    def _forget(self, job_id: str) -> bool:
        """Stop renewing the lease, if this thread holds it."""
        if getattr(self._thread, "job_id", None) != job_id:
            return False
        self._thread.job_id = None
        self._leases.forget(job_id)
        return True

    def after_nack(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        job_id, why = message.options.get("outbox_id"), message._exception
        if job_id is not None and isinstance(why, ActorNotFound):
            # A worker of another version may know it: the relay sends it again, later each time.
            with Job._meta.database.connection_context():
                its = (Job.id == job_id) & (Job.actor == message.actor_name)
                Job.update(**_why(why)).where(its).execute()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        # Jobs that did not end within the grace period: others need not wait for the leases.
        database = Job._meta.database
        if database is not None:
            with database.connection_context():
                jobs = self._leases.give_back()
                for job in jobs:
                    logger.warning("handed back job=%s actor=%s", job.id, job.actor)
                send_each([job.message() for job in jobs])  # else the relay does

    def _give_up(
        self, broker: dramatiq.Broker, message: MessageProxy, exception: BaseException
    ) -> None:
        row = Job.id == message.options.get("outbox_id")
        Job.update(failed_at=time.time(), leased_by=None, **_why(exception)).where(row).execute()
        on_dead = broker.get_actor(message.actor_name).options.get("on_dead")
        if on_dead is not None:
            on_dead(exception, *message.args)


def _release(message: MessageProxy) -> None:
    """A job is out of the way: let the next one of its group go."""
    group = group_of(message)
    if group is not None:
        release(group, message.queue_name)


def _why(exception: BaseException) -> dict[str, str]:
    """What a row keeps of an exception."""
    lines = traceback.format_exception(exception, limit=-TRACEBACK_FRAMES)
    return {"error": repr(exception), "traceback": "".join(lines)[-TRACEBACK_CHARACTERS:]}


class EndWithParent(Middleware):
    """Ends a worker process whose main process was killed with -9 and could not tell it."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        end_with_parent()
