"""What keeps the house clean; the scheduler has it done every so often."""

import logging

import dramatiq

from gifster import accounts, library
from gifster.actors import setup  # noqa: F401
from gifster.uploads.sweep import Why, sweep

logger = logging.getLogger("gifster.maintenance")

_LEVELS = {Why.BRAKE: logging.ERROR, Why.UNREAD: logging.WARNING}


@dramatiq.actor(queue_name="default", max_retries=3)
def clean_up() -> None:
    """Remove what crashes have left behind, and sessions that are over."""
    found = sweep(repair=True)
    counts = found.counts(all_kinds=True)
    library.keep_findings(counts)
    ended = accounts.forget_expired_tokens()
    for left in found.left_alone:
        logger.log(_LEVELS.get(left.why, logging.INFO), "sweep left alone %s", left)
    log = logger.warning if counts["missing"] or counts["unread"] else logger.info
    log = logger.error if counts["held_back"] else log
    log("swept %s expired_tokens=%d", " ".join(f"{k}={v}" for k, v in counts.items()), ended)
