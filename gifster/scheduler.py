"""The scheduler: every two seconds it calls the relay, and enqueues recurring jobs that are due.
Several schedulers may run at once.

APScheduler goes by the machine's clock. `Every` and `go_on_when_the_clock_is_set_back` keep it
working when somebody sets that clock.
"""

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Thread

from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.base import BaseTrigger

from gifster.app.cron import next_after
from gifster.app.database import db
from gifster.app.faults import is_database_error
from gifster.app.settings import Recurring as Setting
from gifster.app.settings import Settings
from gifster.jobs import Recurring, enqueue_recurring, forget_others, relay
from gifster.jobs.relay import Clock

logger = logging.getLogger("gifster.scheduler")

LOOK_EVERY_S = 2
#: The recurring jobs that Gifster needs. The settings may move them.
ALWAYS = {"clean_up": Setting(cron="17 * * * *")}


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    # However late: on a busy machine APScheduler would leave out runs that are a second late.
    scheduler = BlockingScheduler(
        timezone="UTC", job_defaults={"max_instances": 1, "misfire_grace_time": None}
    )
    recurring = recurring_jobs(settings)
    with db.connection_context():
        forget_others(recurring)
    every = Every(LOOK_EVERY_S)
    scheduler.add_job(relay_outbox, every, args=[settings.worker.lease_s])
    scheduler.add_job(look_at_the_clock, every, args=[recurring])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.shutdown(wait=False))
    Thread(target=go_on_when_the_clock_is_set_back, args=[scheduler], daemon=True).start()
    logger.info("the scheduler is ready")
    scheduler.start()


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """A trigger that fires a number of seconds after it last fired.

    APScheduler's own `interval` lists every run that it missed. After a clock was set forward by
    years, that list takes minutes and all memory.
    """

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        return now + self._interval


def go_on_when_the_clock_is_set_back(scheduler: BaseScheduler) -> None:
    """Whenever the clock is set back, make all jobs of a running scheduler due; never return.
    Without this they would wait until the clock shows the former time again."""
    clock = Clock()
    while True:
        time.sleep(LOOK_EVERY_S)
        if clock.was_set_back():
            logger.warning("the clock was set back")
            for job in scheduler.get_jobs():
                job.modify(next_run_time=datetime.fromtimestamp(time.time(), UTC))


def recurring_jobs(settings: Settings) -> dict[str, Recurring]:
    """The recurring jobs of the settings, and Gifster's own, by name."""
    return {
        name: Recurring(
            rule=job.cron if job.timezone == "UTC" else f"{job.cron} ({job.timezone})",
            next_after=next_after(job.cron, job.timezone),
            actor=job.actor or name,
            arguments=job.arguments,
            queue=job.queue,
        )
        for name, job in (ALWAYS | settings.recurring).items()
    }


@contextmanager
def connected(task: str) -> Iterator[None]:
    """A connection to the database for one round of a task. If the database is away or locked, the
    log gets one line, and the next round comes soon."""
    try:
        with db.connection_context():
            yield
    except Exception as error:
        if not is_database_error(error):
            raise
        reason = " ".join(str(error).split())
        logger.warning("%s: not now, again in %d s: %s", task, LOOK_EVERY_S, reason)


def look_at_the_clock(recurring: dict[str, Recurring]) -> None:
    """Enqueue the recurring jobs that are due."""
    with connected("recurring jobs"):
        for name in enqueue_recurring(recurring):
            logger.info("enqueued recurring=%s", name)


def relay_outbox(lease_s: float) -> None:
    """Send the jobs that should have left the outbox by now, and those whose moment has come."""
    with connected("relay"):
        relay(lease_s)
