"""What keeps the house clean; the scheduler has it done every so often."""

import logging

import dramatiq

from gifster import accounts, library
from gifster.actors import setup  # noqa: F401
from gifster.uploads.sweep import sweep

logger = logging.getLogger("gifster.maintenance")


@dramatiq.actor(queue_name="default", max_retries=3)
def clean_up() -> None:
    """Remove what crashes have left behind, and sessions that are over."""
    found = sweep(repair=True).counts()
    library.keep_findings(found)
    ended = accounts.forget_expired_tokens()
    log = logger.warning if found["missing"] else logger.info
    log("swept %s expired_tokens=%d", " ".join(f"{k}={v}" for k, v in found.items()), ended)
