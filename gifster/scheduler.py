"""The scheduler: what is done every so often, by APScheduler. Several may run at once."""

import logging
import signal

from apscheduler.schedulers.blocking import BlockingScheduler

from gifster.database import db
from gifster.jobs import relay

logger = logging.getLogger("gifster.scheduler")

RELAY_EVERY_S = 2


def run() -> None:
    """Run until SIGTERM or SIGINT."""
    scheduler = BlockingScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1}
    )
    scheduler.add_job(relay_outbox, "interval", seconds=RELAY_EVERY_S)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.shutdown(wait=False))
    logger.info("the scheduler is ready")
    scheduler.start()


def relay_outbox() -> None:
    """Send the jobs that are still in the outbox when they should not be."""
    with db.connection_context():
        relay()
