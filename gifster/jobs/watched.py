"""How long the outbox's clock has been watched: what is deleted for good by its age goes by that.

A machine that starts with a clock years ahead, or whose clock is set so, would find everything old.
So the scheduler notes every minute that it sees the clock (`clock_span`). If the clock is suddenly
much later, nobody knows whether it was set, or the scheduler did not run: a new span begins, and
what lies between is not counted. Thirty days old is what was there for thirty days of these spans.
"""

import logging
import time
from typing import Any

import peewee

from gifster.jobs import clock
from gifster.jobs.old_schema import needs
from gifster.jobs.transactions import transaction

logger = logging.getLogger("gifster.jobs")

#: How often a scheduler notes that it sees the clock, and how long a pause still counts as watched,
#: such as a restart (seconds).
WATCH_S, PAUSE_S = 60.0, 300.0
#: How many spans are kept: a machine that is switched off twice a day has so many in years.
MOST = 5000


class ClockSpan(peewee.Model):
    """A span of time in which the clock was watched (seconds since the epoch). The first one has
    begun before anything."""

    #: When it began; 0 for the first one.
    begin = peewee.DoubleField(primary_key=True)
    #: When the clock was last looked at.
    seen_at = peewee.DoubleField()

    class Meta:
        table_name = "clock_span"


@needs(ClockSpan)
def watch() -> float:
    """Note that the clock is watched. Returns the time that it shows (seconds since the epoch)."""
    database = ClockSpan._meta.database
    now = clock.measured(database)
    newest: ClockSpan | None = _newest_first().first()
    if newest is not None and 0 <= now - newest.seen_at < WATCH_S / 2:
        return now  # somebody else has
    with transaction(database):
        # A clock that is set back shows the same time once more.
        ClockSpan.delete().where(ClockSpan.begin > now).execute()
        newest = _newest_first().first()
        if newest is None or now - newest.seen_at > PAUSE_S:
            begin = 0.0 if newest is None else now
            ClockSpan.insert(begin=begin, seen_at=now).on_conflict_ignore().execute()
            _forget_oldest()
        else:
            ClockSpan.update(seen_at=now).where(ClockSpan.begin == newest.begin).execute()
    if newest is not None and now - newest.seen_at > PAUSE_S:
        logger.warning(
            "nobody has watched the clock for %.0f s, or it was set forward: what is deleted for "
            "good by its age stays as much longer",
            now - newest.seen_at,
        )
    return now


def set_back_s() -> float:
    """How far the clock is behind the latest time that somebody has seen on it (seconds; 0 if it is
    not): it was set back while nobody looked."""
    newest: ClockSpan | None = None
    if ClockSpan._meta.database is not None:
        newest = _newest_first().first()
    return 0.0 if newest is None else max(0.0, newest.seen_at - clock.now(ClockSpan._meta.database))


def moment_before(age_s: float) -> float:
    """The moment since which the clock has been watched for so long (seconds since the epoch).

    Ask it before you delete something for good because of its age: what is older than this moment
    has been there for so long, even if somebody has set the clock meanwhile.

    Parameters:
      age_s: at least 0 (seconds).

    Raises:
      NotBound: the tables are bound to no database.
      OldSchema: the table is missing; says what to do.
    """
    left, now = age_s, watch()
    for number, span in enumerate(_newest_first()):
        end = span.seen_at if number else now
        if end - span.begin >= left:
            return float(end - left)
        left -= end - span.begin
    return 0.0


def _newest_first() -> Any:
    return ClockSpan.select().order_by(ClockSpan.begin.desc())


def _forget_oldest() -> None:
    oldest = _newest_first().offset(MOST).limit(1).first()
    if oldest is not None:
        ClockSpan.delete().where(ClockSpan.begin <= oldest.begin).execute()


class Watch:
    """Calls `watch()` when it is time to."""

    def __init__(self) -> None:
        self._watched_at: float | None = None

    def look(self, *, now: bool) -> None:
        """Note that the clock is watched, if the last time was a minute ago.

        Parameters:
          now: note it in any case.
        """
        is_due = self._watched_at is None or time.monotonic() - self._watched_at >= WATCH_S
        if (now or is_due) and ClockSpan._meta.database is not None:
            watch()
            self._watched_at = time.monotonic()
