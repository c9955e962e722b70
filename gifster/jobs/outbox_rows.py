"""Ties each message to its row in the outbox, from the lease to the end of the row."""

import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn

import dramatiq
import peewee
from dramatiq.broker import MessageProxy
from dramatiq.errors import ActorNotFound, Retry
from dramatiq.middleware import Middleware, MiddlewareError, SkipMessage

from gifster.jobs import clock
from gifster.jobs.brokers.fair import group_of
from gifster.jobs.database_errors import is_database_error
from gifster.jobs.groups import release
from gifster.jobs.job import NEVER, RESEND_AFTER_S, WITHOUT_ACTOR, Job, outbox_database
from gifster.jobs.lease import MAX_DEATHS, Leases, WorkersDied
from gifster.jobs.old_schema import explained, what_lacks
from gifster.jobs.outbox import send_committed
from gifster.jobs.sending import send_each
from gifster.jobs.statements import Statement
from gifster.jobs.transactions import abandon_transaction
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
#: What a row keeps of a traceback: the innermost frames, and at most so many characters.
TRACEBACK_FRAMES, TRACEBACK_CHARACTERS = 30, 20_000


_DELETE = Statement(
    lambda job_id, created_at: Job.delete().where(Job.id == job_id, Job.created_at == created_at)
)
#: For messages of earlier releases, which do not say when their row was made.
_DELETE_ANY = Statement(lambda job_id: Job.delete().where(Job.id == job_id))


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
                    _wake(broker)
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
            if not is_database_error(error) or isinstance(error, peewee.DataError):
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
                    self._free(job_id, **then)

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
                Job.update(**_reason(exception)).where(row_of(message)).execute()
                if held:
                    self._free(job_id)
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
        values = {"job_id": job_id}
        if created_at is None:
            delete = lambda: _DELETE_ANY.execute(**values)  # noqa: E731
        else:
            delete = lambda: _DELETE.execute(**values, created_at=created_at)  # noqa: E731
        self._leases.commits.run(Job._meta.database, delete)

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

    def _free(self, job_id: str, **columns: Any) -> None:
        """End the lease of a row and change it, unless the lease is somebody else's now."""
        mine = (Job.id == job_id) & (Job.leased_by == self.worker)
        Job.update(leased_by=None, **columns).where(mine).execute()

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
                its = (Job.id == job_id) & (Job.actor == message.actor_name)
                Job.update(actor_missing=True, **_reason(why)).where(its).execute()

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
                if Job.select().where(self._is_ours(message)).exists():
                    _tell_application(broker, message, exception)
            except BaseException as error:  # noqa: BLE001 the lease ends all the same
                why = error
        with self._ending(job_id):
            if why is not None:
                raise why
            self._mark_failed(message, exception)
        if afterwards:
            _tell_application(broker, message, exception)

    def _is_ours(self, message: MessageProxy) -> peewee.Expression:
        return row_of(message) & (Job.leased_by == self.worker)

    def _mark_failed(self, message: MessageProxy, exception: BaseException) -> None:
        """Note that a job is given up, unless its lease is somebody else's now."""
        failed = {
            "failed_at": clock.now(Job._meta.database),
            "send_at": NEVER,
            "leased_by": None,
            **_reason(exception),
        }
        Job.update(**failed).where(self._is_ours(message)).execute()


def _tell_application(
    broker: dramatiq.Broker, message: MessageProxy, exception: BaseException
) -> None:
    """Call the actor's `on_dead`, and again if the database failed, as it does in a deadlock."""
    on_dead = broker.get_actor(message.actor_name).options.get("on_dead")
    if on_dead is None:
        return
    for may_try_again in (True, False):
        try:
            on_dead(exception, *message.args)
        except (Exception, SystemExit) as error:
            logger.exception("on_dead failed job=%s", message.options.get("outbox_id"))
            if may_try_again and is_database_error(error):
                continue
        finally:
            # The end of the job would become a part of it.
            if abandon_transaction(outbox_database()):
                job_id = message.options.get("outbox_id")
                logger.error("rolled back what on_dead left uncommitted: job=%s", job_id)
        return


def _wake(broker: dramatiq.Broker) -> None:
    """Have the relay send the jobs now for which no worker had the actor, and this one has it. By
    themselves they would wait as long as they have waited already."""
    now = clock.now(Job._meta.database)
    waiting = Job.leased_by.is_null() & Job.failed_at.is_null() & (Job.send_at > now)
    its = waiting & ~Job.held & Job.due_at.is_null()
    # A worker of the former release says so only by the error.
    its &= Job.actor_missing | Job.error.startswith(WITHOUT_ACTOR)
    its &= Job.actor.in_(list(broker.actors))
    if not Job.select().where(its).exists():
        return
    found = Job.update(send_at=now).where(its & Job.group.is_null()).execute()
    # As many of each group at a time as of its other jobs.
    throttled = {"held": True, "send_at": NEVER, "error": None, "traceback": None}
    throttled["actor_missing"] = False
    found += Job.update(throttled).where(its & Job.group.is_null(False)).execute()
    if found:
        logger.info("jobs=%d waited for a worker that has their actors", found)


def _reason(exception: BaseException) -> dict[str, str]:
    """What a row keeps of an exception."""
    lines = traceback.format_exception(exception, limit=-TRACEBACK_FRAMES)
    return {
        "error": _storable(_shown(exception)[:TRACEBACK_CHARACTERS]),
        "traceback": _storable("".join(lines)[-TRACEBACK_CHARACTERS:]),
    }


def _shown(exception: BaseException) -> str:
    try:
        return repr(exception)
    except Exception as error:  # noqa: BLE001 it is the application's
        return f"{type(exception).__name__}, which cannot be shown: {type(error).__name__}"


def _storable(text: str) -> str:
    """A text as any database takes it. An exception may quote a broken file name (halves of
    surrogate pairs), or bytes of a file, and PostgreSQL takes no NUL. If its row could not be
    written, a job that has failed for good would run again for ever."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
