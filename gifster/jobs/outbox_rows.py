"""Ties each message to its row in the outbox, from the lease to the end of the row.

`trust.py` decides what of a message counts, `lease.py` whether its job may run now, and
`lease_rows.py` has what that changes in the row.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.errors import ActorNotFound, Retry
from dramatiq.middleware import Middleware, MiddlewareError, SkipMessage

from gifster.jobs import clock, lease_rows
from gifster.jobs.brokers.fair import group_of
from gifster.jobs.database_errors import is_database_error, refuses_value
from gifster.jobs.groups import release
from gifster.jobs.job import RESEND_AFTER_S, Job, outbox_database
from gifster.jobs.lease import MAX_DEATHS, Leases, WorkersDied
from gifster.jobs.missing_actors import note_missing_actor, wake_those_without_actor
from gifster.jobs.old_schema import explained, what_lacks
from gifster.jobs.on_dead import tell_application
from gifster.jobs.outbox import send_committed
from gifster.jobs.reasons import reason_of
from gifster.jobs.sending import send_each
from gifster.jobs.transactions import take_new_session
from gifster.jobs.trust import (
    OUTBOX_ONLY,
    UNREAD,
    Refused,
    apply_row,
    count_in,
    retries_of,
    row_made_at,
    row_named_by,
    row_of,
    why_not_taken,
)

logger = logging.getLogger("gifster.jobs")

#: The first pause before a message is tried again of which nobody could read the row, and the
#: longest; it doubles (seconds).
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0


class OutboxUnavailable(MiddlewareError, Retry):
    """The outbox did not answer, so nobody knows what a message is about.

    Parameters:
      times: how often that has happened; each time it waits twice as long.
    """

    def __init__(self, why: Exception, times: int) -> None:
        wait_s = min(FIRST_RETRY_S * 2 ** min(times, 10), LAST_RETRY_S)
        super().__init__(f"the outbox cannot be asked: {why!r}", delay=round(wait_s * 1000))


class OutboxRows(Middleware):
    """Does what the row of a message says (see `trust.py`), and keeps the row up to date.

    The row is leased while the job runs. A message is skipped if its row is gone or another worker
    has leased it, or if it has no row and its actor has the option `outbox_only`. When the job is
    done, its row is deleted. When the retries have run out, or too many workers died over the job,
    the actor's option `on_dead` is called, with the exception and the job's arguments, so that the
    application can record it. Then the row stays, with the reason.

    Parameters:
      lease_s: how long a lease holds without being renewed (seconds).
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._leases = Leases(lease_s)
        #: `job_id`: the job that this thread has leased.
        self._thread = threading.local()

    @property
    def worker(self) -> str:
        """The name that holds this process's leases."""
        return self._leases.worker

    @property
    def actor_options(self) -> set[str]:
        return {"on_dead", OUTBOX_ONLY}

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        self._leases = Leases(self._lease_s)  # after the fork, with a name of its own

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        database = Job._meta.database
        if database is None:
            return
        try:
            with database.connection_context():
                why = what_lacks([Job])
                if why is None:
                    wake_those_without_actor(broker)
        except Exception as error:
            if not is_database_error(error):
                raise
            logger.warning("the outbox cannot be asked: %s", error)
        else:
            if why is not None:  # `migrate()` may still come: jobs are tried again until then
                logger.error("%s", why)

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        # Whatever goes wrong here: only a MiddlewareError keeps Dramatiq from calling the actor.
        try:
            with explained(Job):
                self._take(broker, message)
        except Refused as error:
            logger.warning("%s", error)
            raise SkipMessage(str(error)) from None
        except MiddlewareError:
            raise
        except Exception as error:
            if not is_database_error(error) or refuses_value(error):
                # It may be the message's fault, which stays: the retries have an end.
                raise OutboxUnavailable(error, retries_of(message)) from error
            self._send_again(broker, message, error)

    def _send_again(
        self, broker: dramatiq.Broker, message: MessageProxy, error: Exception
    ) -> NoReturn:
        """Send a message again whose row could not be read: another worker may reach the outbox.
        That is no attempt to run the job, and uses up no retry."""
        times = count_in(message, UNREAD)
        unavailable = OutboxUnavailable(error, times)
        message.options[UNREAD] = times + 1
        try:
            broker.enqueue(message._message, delay=unavailable.delay)
        except Exception:  # noqa: BLE001 Dramatiq tries again
            raise unavailable from error
        logger.warning("sent again job=%s: %s", message.options.get("outbox_id"), unavailable)
        raise SkipMessage(str(unavailable)) from error

    def _take(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        """Lease the row of a message, and apply it to the message."""
        job_id = row_named_by(broker, message)
        if job_id is None:
            return
        died: WorkersDied | None = None
        try:
            job = self._leases.take(
                job_id, message.actor_name, row_made_at(message), retries_of(message)
            )
        except WorkersDied as error:
            died, job = error, error.job
        if job is None:
            if (why := why_not_taken(message, job_id)) is not None:
                raise Refused(message, why)
            raise SkipMessage(f"job {job_id} is done, another worker has it, or it waits for later")
        self._thread.job_id = job_id
        try:
            apply_row(broker, message, job)
        except Refused as error:  # nobody can do it: the row stays, as when the relay finds that
            with self._ending(job_id):
                self._mark_failed(message, error)
            self._let_others_begin(message)
            raise
        if died is not None:
            self._give_up(broker, message, job_id, died)
            self._let_others_begin(message)
            raise SkipMessage(str(died))

    def before_enqueue(
        self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None
    ) -> None:
        job_id = message.options.get("outbox_id")
        if job_id is not None and delay is not None:
            # Another worker may take a retry as soon as it is sent, so the lease ends before that.
            # The retry waits in the broker; the relay must not be quicker.
            due = clock.now(Job._meta.database) + delay / 1000
            message.options["eta"] = round(due * 1000)
            then = {
                "send_at": due + RESEND_AFTER_S,
                "due_at": due,
                "attempts": message.options.get("retries", 0),
            }
            with self._ending(job_id, **then) as held:
                if held:
                    lease_rows.end(job_id, self.worker, **then)

    def before_delay_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        # Dramatiq compares it with the clock of this machine.
        if "outbox_id" in message.options and "eta" in message.options:
            off_ms = round((clock.off_s(Job._meta.database) or 0.0) * 1000)
            message.options["eta"] += off_ms

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
        if exception is None:
            with self._ending(job_id, done=True):
                self._delete(job_id, row_made_at(message))
        elif message.failed:
            self._give_up(broker, message, job_id, exception)
        else:
            with self._ending(job_id) as held:
                Job.update(**reason_of(exception)).where(row_of(message)).execute()
                if held:
                    lease_rows.end(job_id, self.worker)
        self._let_others_begin(message)

    def after_skip_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        # Another middleware may skip a message that is leased already, as Dramatiq's AgeLimit does.
        job_id = message.options.get("outbox_id")
        if job_id is None:
            return
        if not self._has(job_id):
            return
        if message.failed:
            why = SkipMessage("skipped: another middleware refused it")
            self._give_up(broker, message, job_id, why)
        else:
            with self._ending(job_id):
                self._delete(job_id, row_made_at(message))
        self._let_others_begin(message)

    def _delete(self, job_id: str, created_at: float | None) -> None:
        self._leases.commits.run(Job._meta.database, lambda: lease_rows.delete(job_id, created_at))

    def _let_others_begin(self, message: MessageProxy) -> None:
        """Send the jobs that waited for the end of this one: the next throttled job of its group,
        and suspects. If the database does not answer, the relay sends them later."""
        group = group_of(message)
        try:
            if group is not None:
                release(group, message.queue_name)
            if followers := self._leases.followers():
                send_committed(followers)
        except Exception as error:
            if not is_database_error(error):
                raise
            job_id = message.options.get("outbox_id")
            logger.warning("not yet sent: what waits for the end of job=%s: %s", job_id, error)

    def _has(self, job_id: str) -> bool:
        """Whether this thread has leased a job, and not ended that."""
        return getattr(self._thread, "job_id", None) == job_id

    @contextmanager
    def _ending(self, job_id: str, *, done: bool = False, **columns: Any) -> Iterator[bool]:
        """End a lease around the change of its row: whether this thread held it. If the database
        does not answer, the row is changed later."""
        held = self._has(job_id)
        if held:
            self._thread.job_id = None
        lease = self._leases.ending(job_id, done=done, **columns) if held else nullcontext()
        try:
            with lease:
                yield held
        except Exception as error:
            if not is_database_error(error):
                raise
            logger.warning("not yet written: the end of job=%s: %s", job_id, error)

    def after_nack(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        job_id, why = message.options.get("outbox_id"), message._exception
        # A job may raise the same error itself, when it sends to an actor that nobody has.
        is_missing = isinstance(why, ActorNotFound) and message.actor_name not in broker.actors
        if job_id is not None and why is not None and is_missing:
            # A worker of another release may know it: the relay sends it again, later each time.
            with Job._meta.database.connection_context():
                note_missing_actor(job_id, message.actor_name, why)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        # Jobs that did not end within the grace period need not wait until their leases run out.
        database = Job._meta.database
        if database is None:
            return
        try:
            with database.connection_context():
                jobs = self._leases.give_back()
                for job in jobs:
                    logger.warning("handed back job=%s actor=%s", job.id, job.actor)
                send_each([job.message() for job in jobs])  # if that fails, the relay sends them
        except Exception as error:
            if not is_database_error(error):
                raise
            logger.warning("not handed back, so the jobs wait for their leases: %s", error)

    def _give_up(
        self, broker: dramatiq.Broker, message: MessageProxy, job_id: str, exception: BaseException
    ) -> None:
        """Give up the job that this thread has leased. If the database does not answer, the job
        runs again, and is given up then.

        `on_dead` comes before the row says that the job is dead, as in Sidekiq, and while the lease
        is renewed: a process that is killed in between leaves the job to another worker, which
        calls it once more. If `on_dead` itself has killed a worker, it comes afterwards.
        """
        if not self._has(job_id):
            return  # without a lease the row may not be this message's
        afterwards = isinstance(exception, WorkersDied) and exception.job.deaths > MAX_DEATHS
        why: BaseException | None = None
        if not afterwards:
            try:
                # In the session of the job its end might fail each time
                take_new_session(outbox_database())
                if Job.select().where(row_of(message), Job.leased_by == self.worker).exists():
                    tell_application(broker, message, exception)
            except BaseException as error:  # noqa: BLE001 the lease ends all the same
                why = error
        with self._ending(job_id):
            if why is not None:
                raise why
            self._mark_failed(message, exception)
        if afterwards:
            tell_application(broker, message, exception)

    def _mark_failed(self, message: MessageProxy, exception: BaseException) -> None:
        lease_rows.give_up(row_of(message), self.worker, **reason_of(exception))
