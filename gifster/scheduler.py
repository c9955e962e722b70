"""The scheduler: what is done every so often, by APScheduler. Several may run at once."""

import logging
import signal

from apscheduler.schedulers.blocking import BlockingScheduler

from gifster.database import db
from gifster.jobs import enqueue, relay

logger = logging.getLogger("gifster.scheduler")

RELAY_EVERY_S = 2
CLEAN_UP_EVERY_MIN = 60


def run(lease_s: float) -> None:
    """Run until SIGTERM or SIGINT.

    Parameters:
      lease_s: how long the workers' leases hold (seconds).
    """
    scheduler = BlockingScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1}
    )
    scheduler.add_job(relay_outbox, "interval", [lease_s], seconds=RELAY_EVERY_S)
    scheduler.add_job(request_clean_up, "interval", minutes=CLEAN_UP_EVERY_MIN, jitter=60)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.shutdown(wait=False))
    logger.info("the scheduler is ready")
    scheduler.start()


def request_clean_up() -> None:
    """Have a worker clean up, once however many schedulers ask for it at the same time."""
    with db.connection_context():
        enqueue("clean_up", unique="clean_up")


def relay_outbox(lease_s: float) -> None:
    """Send the jobs that are still in the outbox when they should not be."""
    with db.connection_context():
        relay(lease_s)
