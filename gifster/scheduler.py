"""The scheduler: what is done every so often, by APScheduler. Several may run at once."""

import logging
import signal

from apscheduler.schedulers.blocking import BlockingScheduler

from gifster.cron import next_after
from gifster.database import db
from gifster.jobs import Recurring, enqueue_recurring, forget_others, relay
from gifster.settings import Recurring as Setting
from gifster.settings import Settings

logger = logging.getLogger("gifster.scheduler")

LOOK_EVERY_S = 2
#: What the house cannot do without. The settings may move it.
ALWAYS = {"clean_up": Setting(cron="17 * * * *")}


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    scheduler = BlockingScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1}
    )
    recurring = recurring_jobs(settings)
    with db.connection_context():
        forget_others(recurring)
    every = {"trigger": "interval", "seconds": LOOK_EVERY_S}
    scheduler.add_job(relay_outbox, args=[settings.worker.lease_s], **every)
    scheduler.add_job(look_at_the_clock, args=[recurring], **every)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.shutdown(wait=False))
    logger.info("the scheduler is ready")
    scheduler.start()


def recurring_jobs(settings: Settings) -> dict[str, Recurring]:
    """The recurring jobs of the settings, and ours, by name."""
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


def look_at_the_clock(recurring: dict[str, Recurring]) -> None:
    """Enqueue the recurring jobs that are due."""
    with db.connection_context():
        for name in enqueue_recurring(recurring):
            logger.info("enqueued recurring=%s", name)


def relay_outbox(lease_s: float) -> None:
    """Send the jobs that are still in the outbox when they should not be, and those whose moment
    has come."""
    with db.connection_context():
        relay(lease_s)
