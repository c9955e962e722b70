"""The relay: sends jobs whose row is still in the outbox when it should be gone by now.

Those are the jobs of commits after which the broker was away or the process died, those that a
broker lost, and those whose worker died, so that their lease ran out. The scheduler calls it every
few seconds. Running it twice at once is safe: a job's second copy finds the row leased or gone, and
is skipped.
"""

import logging
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from gifster.jobs.lease import LEASE_S
from gifster.jobs.outbox import RESEND_AFTER_S, Job

logger = logging.getLogger("gifster.jobs")

BATCH = 500
#: What a clock may be wrong without being set (seconds).
CLOCK_SLACK_S = 5.0


def relay(lease_s: float = LEASE_S) -> int:
    """Send the jobs that are due, oldest first, until the broker refuses one.

    Parameters:
      lease_s: how long the workers' leases hold (seconds).

    Returns:
      how many were sent.
    """
    _after_the_clock_was_set_back(lease_s)
    broker = dramatiq.get_broker()
    if isinstance(broker, RedisBroker):
        _send_all_to_an_empty(broker)
    sent = 0
    due = Job.select().where(Job.send_at <= time.time(), Job.failed_at.is_null())
    for job in due.order_by(Job.send_at).limit(BATCH):
        if not _claim(job):
            continue
        if not job.send():
            Job.update(send_at=job.send_at).where(Job.id == job.id).execute()
            break
        sent += 1
    if sent:
        logger.info("relayed jobs=%d", sent)
    return sent


class Clock:
    """The machine's clock, which somebody may set back while we run."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def was_set_back(self) -> bool:
        """Whether it has been since the last call, by more than `CLOCK_SLACK_S`."""
        before, self._ahead = self._ahead, time.time() - time.monotonic()
        return self._ahead < before - CLOCK_SLACK_S


_clock = Clock()


def _after_the_clock_was_set_back(lease_s: float) -> None:
    """What was due under the clock of before would be late by as much as it was set back. What
    waits is sent again. Leases get what a new one gets: a worker that lives renews it, and one that
    died is not waited for."""
    now = time.time()
    too_long = Job.leased_by.is_null(False) & (Job.send_at > now + lease_s + CLOCK_SLACK_S)
    shortened = Job.update(send_at=now + lease_s).where(too_long).execute()
    if _clock.was_set_back():
        _make_due("the clock was set back")
    elif shortened:
        logger.warning("shortened leases=%d, which ran out too late", shortened)


def _send_all_to_an_empty(broker: RedisBroker) -> None:
    """A broker that has lost our mark has lost everything else, too: it is new, or came back
    without its data. So nothing that it had needs to be waited for."""
    mark = f"{broker.namespace}:outbox"
    try:
        if not broker.client.exists(mark):
            _make_due("the broker was empty")
            broker.client.set(mark, int(time.time()))
    except redis.RedisError as error:
        logger.debug("the broker cannot be asked: %s", error)


def _make_due(why: str) -> None:
    now = time.time()
    scheduled = (Job.attempts == 0) & (Job.due_at > now)  # its moment is still its moment
    waiting = Job.leased_by.is_null() & Job.failed_at.is_null()
    if Job.update(send_at=now).where(waiting, Job.due_at.is_null() | ~scheduled).execute():
        logger.warning("%s: all that waits is sent again", why)


def _claim(job: Job) -> bool:
    """Take a due job for this sending; False if another relay, or a worker, was quicker."""
    if job.leased_by is not None:
        logger.warning("a worker died job=%s actor=%s worker=%s", job.id, job.actor, job.leased_by)
    again = time.time() + RESEND_AFTER_S * 2 ** min(job.sendings, 10)
    unchanged = (Job.id == job.id) & (Job.send_at == job.send_at)
    columns = {"send_at": again, "sendings": Job.sendings + 1}
    if job.leased_by is not None:
        columns |= {"leased_by": None, "deaths": Job.deaths + 1}
    return bool(Job.update(**columns).where(unchanged).execute())
