"""How many jobs were done and how many attempts failed: by the minute, the hour, the day, and in
all.

A worker process counts in memory and adds to the table every `heartbeat.LOOK_S`; one that is killed
takes the counts of its last two seconds with it. (Sidekiq's `Stats::History`, by the day.)
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import peewee
from peewee import EXCLUDED, fn

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
#: For ever.
TOTAL = 0
#: Of each length of time, how many are kept; of the last one, all.
KEPT = {MINUTE_S: 120, HOUR_S: 72, DAY_S: 366}


class Tally(peewee.Model):
    """What one actor did in a span of time that begins then (seconds since the epoch)."""

    span_s = peewee.IntegerField()
    begin = peewee.BigIntegerField()
    queue = peewee.CharField()
    actor = peewee.CharField()
    done = peewee.BigIntegerField(default=0)
    failed = peewee.BigIntegerField(default=0)
    #: What all of it took, failed attempts too.
    ms = peewee.BigIntegerField(default=0)

    class Meta:
        primary_key = peewee.CompositeKey("span_s", "begin", "queue", "actor")


@dataclass(frozen=True)
class Span:
    """What was done, and what failed, in a span of time that begins then (seconds since the
    epoch)."""

    begin: int
    done: int = 0
    failed: int = 0


class Counts:
    """The counts of one process that are not in the table yet."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, str], list[int]] = {}
        self._lock = threading.Lock()

    def add(self, queue: str, actor: str, ms: float, *, failed: bool) -> None:
        """Count an attempt."""
        with self._lock:
            counted = self._counted.setdefault((queue, actor), [0, 0, 0])
            counted[1 if failed else 0] += 1
            counted[2] += round(ms)

    def flush(self) -> None:
        """Add them to the table. Raises what the database does; then they are kept."""
        with self._lock:
            counted, self._counted = self._counted, {}
        if not counted:
            return
        now = int(time.time())
        rows = [
            (span, now - now % span if span else 0, queue, actor, *numbers)
            for span in (TOTAL, *KEPT)
            # In one order for all workers: rows are locked one after the other.
            for (queue, actor), numbers in sorted(counted.items())
        ]
        try:
            (
                Tally.insert_many(rows, list(Tally._meta.sorted_fields))
                .on_conflict(
                    conflict_target=[Tally.span_s, Tally.begin, Tally.queue, Tally.actor],
                    update={
                        column: column + EXCLUDED[column.column_name]
                        for column in (Tally.done, Tally.failed, Tally.ms)
                    },
                )
                .execute()
            )
        except peewee.PeeweeException:
            self._put_back(counted)
            raise

    def _put_back(self, counted: dict[tuple[str, str], list[int]]) -> None:
        with self._lock:
            for key, numbers in counted.items():
                present = self._counted.get(key, [0, 0, 0])
                self._counted[key] = [a + b for a, b in zip(numbers, present, strict=True)]


def history(span_s: int, count: int) -> list[Span]:
    """The last spans of time, oldest first, and those in which nothing happened, too.

    Parameters:
      span_s: how long each is: `MINUTE_S`, `HOUR_S` or `DAY_S`.
      count: how many.
    """
    last = int(time.time()) // span_s * span_s
    first = last - (count - 1) * span_s
    query = Tally.select(Tally.begin, fn.SUM(Tally.done), fn.SUM(Tally.failed)).where(
        Tally.span_s == span_s, Tally.begin >= first
    )
    rows: list[Any] = list(query.group_by(Tally.begin).tuples())
    found = {begin: Span(begin, int(done), int(failed)) for begin, done, failed in rows}
    return [found.get(begin, Span(begin)) for begin in range(first, last + 1, span_s)]


def totals() -> Iterator[Tally]:
    """What each actor has done since the beginning."""
    query = Tally.select().where(Tally.span_s == TOTAL).order_by(Tally.queue, Tally.actor)
    return iter(list(query))  # read before the caller writes anything, who then could not on SQLite


def forget_old() -> None:
    """Delete what nobody looks at any more."""
    now = int(time.time())
    for span, kept in KEPT.items():
        Tally.delete().where(Tally.span_s == span, Tally.begin < now - span * kept).execute()
