"""What a scheduler does every few seconds: it calls the relay, and enqueues the recurring jobs that
are due. Several may run at once, on several machines: each job is enqueued once.

`run()` is a scheduler by itself; `python -m gifster.jobs run` starts it beside the workers. If an
application has a clock of its own, that calls `relay_outbox()` and `look_at_the_clock()`.
"""

import logging
import signal
from collections.abc import Callable, Mapping

from gifster.jobs.database_errors import is_database_error
from gifster.jobs.job import outbox_database
from gifster.jobs.recurring import (
    Recurring,
    declared_recurring,
    enqueue_recurring,
    forget_others,
    queue_of,
)
from gifster.jobs.relay import relay
from gifster.jobs.signal_event import SignalEvent

logger = logging.getLogger("gifster.scheduler")

#: How often a scheduler looks (seconds).
LOOK_EVERY_S = 2


def run() -> None:
    """Relay jobs and enqueue the declared recurring jobs until SIGTERM or SIGINT.

    Raises:
      LookupError: a recurring job names an actor that is not declared here.
      NotBound: the outbox has no database.
    """
    recurring = declared_recurring()
    for job in recurring.values():
        if job.queue is None:
            queue_of(job.actor)  # a mistyped name is told now, not in the night
    over = SignalEvent()
    over.set_at(signal.SIGTERM, signal.SIGINT)
    one_round("recurring jobs", lambda: forget_others(recurring))
    logger.info("the scheduler is ready")
    while True:
        _survive(relay_outbox)
        _survive(lambda: look_at_the_clock(recurring))
        # It waits by a clock that nobody can set.
        if over.wait(LOOK_EVERY_S):
            return


def relay_outbox(lease_s: float | None = None) -> None:
    """Send the jobs that should have left the outbox by now, and those whose moment has come.

    Parameters:
      lease_s: as for `relay()`.
    """
    one_round("relay", lambda: relay(lease_s))


def look_at_the_clock(recurring: Mapping[str, Recurring]) -> None:
    """Enqueue the recurring jobs that are due."""

    def enqueue() -> None:
        for name in enqueue_recurring(recurring):
            logger.info("enqueued recurring=%s", name)

    one_round("recurring jobs", enqueue)


def one_round(task: str, work: Callable[[], object]) -> None:
    """Do one round of a task, with a connection to the outbox's database. If the database is away,
    locked, or of an earlier release, the log gets one line, and the next round comes soon."""
    try:
        with outbox_database().connection_context():
            work()
    except Exception as error:
        if not is_database_error(error):
            raise
        reason = " ".join(str(error).split())
        logger.warning("%s: not now, again in %d s: %s", task, LOOK_EVERY_S, reason)


def _survive(task: Callable[[], None]) -> None:
    """Do one round of a task. A bug in it stops neither the other task nor the next round."""
    try:
        task()
    except Exception:
        logger.exception("a round of the scheduler has failed")
