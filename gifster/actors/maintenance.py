"""Cleaning up, which the scheduler enqueues every hour."""

import logging
import time
from collections.abc import Callable, Mapping

import dramatiq

from gifster.actors.setup import settings
from gifster.app import file_checks, kept_uploads, library, retention, tokens, trash
from gifster.app.moderation import log, reports
from gifster.app.search import popularity, upkeep
from gifster.app.sign_in import steps
from gifster.jobs.database_errors import Fault, fault_of
from gifster.uploads.resumable import rows as resumable
from gifster.uploads.sweep import Why, sweep

logger = logging.getLogger("gifster.maintenance")

#: A sweep lists every file, and a bucket gives the names of a thousand at a time. Dramatiq's ten
#: minutes would end each one of a library with some millions of files (milliseconds).
LONGEST_MS = 3 * 3600 * 1000
#: How long a job fills the index of the search (seconds).
FILL_S = 200.0

_WORRYING = ("missing", "damaged", "unread")


# Without retries: one small step that fails would repeat a sweep of hours, and the next run tries
# all of it again anyway.
@dramatiq.actor(queue_name="default", max_retries=0, time_limit=LONGEST_MS, outbox_only=True)
def clean_up() -> None:
    """Remove what crashes left behind, the files of forms that nobody sent again, unfinished
    uploads, expired sessions, what has been in the trash for too long, old reports and entries of
    the log of moderation, and what else nobody asks for. Go on with accounts that their users left.
    Read part of the stored files, to check that they are what was stored."""
    # They load what passwords and mails need.
    from gifster.app import accounts  # noqa: PLC0415
    from gifster.app.accounts import leaving  # noqa: PLC0415

    failed: list[Exception] = []

    def step(work: Callable[[], int | None]) -> int:
        """Do a part of the job. If it fails, the others are done all the same."""
        try:
            return work() or 0
        except Exception as error:
            if _concerns_all(error):
                raise
            logger.warning("clean_up goes on after reason=%r", f"{type(error).__name__}: {error}")
            failed.append(error)
            return 0

    days = settings.library.trash_days
    step(_forget_old)
    expired = {
        "kept": step(kept_uploads.forget_expired),
        "tokens": step(tokens.forget_expired_tokens) + step(steps.forget_expired),
        "trash": step(lambda: trash.empty_old(days)) if days else 0,
        "uploads": step(resumable.forget_expired),
    }
    for work in (log.forget_old, reports.forget_closed, accounts.forget_expired, leaving.go_on):
        step(work)
    step(lambda: _sweep(expired))
    if failed:
        raise failed[0]


def _concerns_all(error: Exception) -> bool:
    """Whether the other steps would fail as well: the database is away, say. A damaged page, a lock
    that another process holds, or a statement that takes too long is a matter of one step; and when
    the disk is full, the sweep may make room on it."""
    return fault_of(error) in (Fault.AWAY, Fault.READ_ONLY, Fault.STANDBY)


def _forget_old() -> None:
    counted = retention.forget_old(settings)
    logger.info("forgot %s", " ".join(f"{what}={count}" for what, count in counted.items()))


def _sweep(expired: Mapping[str, int]) -> None:
    """Sweep, read a part of the stored files, and log what was found and what has expired."""
    found = sweep(repair=True)
    if settings.uploads.deep_check_days:
        try:
            file_checks.check_share(settings.uploads.deep_check_days)
        except Exception as error:
            if _concerns_all(error):
                raise
            reason = str(error) or type(error).__name__
            found.leave("stored files", Why.UNREAD, f"their content could not be checked: {reason}")
    found.damaged += [f"{file.storage}:{file.key}" for file in file_checks.damaged()]
    counts = found.counts(all_kinds=True)
    library.keep_findings(counts)
    for left in found.left_alone:
        logger.log(left.level, "sweep left alone %s", left)
    tell = logger.warning if any(counts[kind] for kind in _WORRYING) else logger.info
    tell = logger.error if counts["held_back"] else tell
    gone = [f"expired_{what}={count}" for what, count in expired.items()]
    tell("swept %s", " ".join([*(f"{kind}={count}" for kind, count in counts.items()), *gone]))


@dramatiq.actor(queue_name="default", max_retries=3, outbox_only=True)
def tend_search() -> None:
    """Put GIFs into the index of the search that are not in it, and those in front that are used
    most. A new index is filled for some minutes, and the next job goes on."""
    ends = time.monotonic() + FILL_S
    filled = upkeep.fill(lambda: time.monotonic() > ends)
    left_out, moved = upkeep.add_left_out(), popularity.put_on_shelf()
    popularity.forget_queries()
    logger.info("search filled=%d left_out=%d moved=%d", filled, left_out, moved)
