"""The scheduler: every two seconds it calls the relay, and enqueues recurring jobs that are due.
Several schedulers may run at once.

The two tasks are those of `gifster.jobs.scheduler`. APScheduler calls them, and goes by the
machine's clock. `Every` and `go_on_when_the_clock_is_set_back` keep it working when somebody sets
that clock.
"""

import logging
import signal
import time
from datetime import UTC, datetime, timedelta
from threading import Thread

from apscheduler.events import EVENT_SCHEDULER_STARTED
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.base import BaseTrigger

from gifster.app.database import db
from gifster.app.settings import Recurring as Setting
from gifster.app.settings import Settings
from gifster.jobs import Recurring, cron, forget_others
from gifster.jobs.clock import Steps
from gifster.jobs.scheduler import LOOK_EVERY_S, look_at_the_clock, relay_outbox
from gifster.jobs.signal_event import SignalEvent

logger = logging.getLogger("gifster.scheduler")

#: The recurring jobs that Gifster needs. The settings may move them.
ALWAYS = {
    "clean_up": Setting(cron="17 * * * *"),
    "tend_search": Setting(cron="*/5 * * * *"),
}


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    # However late: on a busy machine APScheduler would leave out runs that are a second late.
    scheduler = BlockingScheduler(
        timezone="UTC", job_defaults={"max_instances": 1, "misfire_grace_time": None}
    )
    recurring = recurring_jobs(settings)
    with db.connection_context():
        forget_others(recurring)
    # First: it finds out whether somebody has set the clock back.
    relay_outbox(settings.worker.lease_s)
    every = Every(LOOK_EVERY_S)
    scheduler.add_job(relay_outbox, every, args=[settings.worker.lease_s])
    scheduler.add_job(look_at_the_clock, every, args=[recurring])
    over = SignalEvent()
    over.set_at(signal.SIGTERM, signal.SIGINT)
    # In a thread: it takes locks, which a signal may have interrupted.
    stopper = Thread(target=stop_when, args=[over, scheduler], daemon=True)
    scheduler.add_listener(lambda _: stopper.start(), EVENT_SCHEDULER_STARTED)
    Thread(target=go_on_when_the_clock_is_set_back, args=[scheduler], daemon=True).start()
    logger.info("the scheduler is ready")
    scheduler.start()


def stop_when(over: SignalEvent, scheduler: BaseScheduler) -> None:
    """Stop a running scheduler once a signal has set the event. What it does at the moment ends."""
    over.wait()
    scheduler.shutdown(wait=False)


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
    steps = Steps()
    while True:
        time.sleep(LOOK_EVERY_S)
        if steps.step_s() < 0:
            logger.warning("the clock was set back")
            for job in scheduler.get_jobs():
                job.modify(next_run_time=datetime.fromtimestamp(time.time(), UTC))


def recurring_jobs(settings: Settings) -> dict[str, Recurring]:
    """The recurring jobs of the settings, and Gifster's own, by name."""
    return {
        name: cron(
            job.cron, job.actor or name, job.arguments, queue=job.queue, timezone=job.timezone
        )
        for name, job in (ALWAYS | settings.recurring).items()
    }
