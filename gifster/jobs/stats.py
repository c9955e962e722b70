"""Stats: the state of each queue now, and what was done in the past (Sidekiq's `Stats` and
`Stats::History`).

The state of the queues is read from the outbox. What was done is counted by the worker processes:
each counts in memory and adds its counts to the table every `heartbeat.LOOK_S`. A killed process
takes the counts of its last two seconds with it.
"""

import functools
import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import peewee
from peewee import EXCLUDED, SQL, fn

from gifster.jobs import clock
from gifster.jobs.adaptive_lock import AdaptiveLock
from gifster.jobs.job import Job
from gifster.jobs.old_schema import needs
from gifster.jobs.statements import Statement
from gifster.jobs.states import PARTS, State

#: The span of a minute, for `history()` (seconds).
MINUTE_S = 60
#: The span of an hour (seconds).
HOUR_S = 3600
#: The span of a day (seconds).
DAY_S = 86_400
#: The length of the span that never ends.
TOTAL = 0
#: By length of span: how many spans are kept.
KEPT = {MINUTE_S: 120, HOUR_S: 72, DAY_S: 366}


@dataclass(frozen=True)
class QueueStats:
    """The state of one queue: how many of its jobs are in each state (see `State`).

    Attributes:
      queue: its name.
      waiting, scheduled, retrying, running, dead: the number of jobs in this state.
      oldest_s: how long the oldest job has waited for a worker (seconds); 0 if none waits.
    """

    queue: str
    waiting: int
    scheduled: int
    retrying: int
    running: int
    dead: int
    oldest_s: float


@dataclass(frozen=True)
class Span:
    """How many jobs were done and how many attempts failed in a span of time. `begin` is in seconds
    since the epoch."""

    begin: int
    done: int = 0
    failed: int = 0


class ActorStats(peewee.Model):
    """How many jobs of one actor were done, and how many attempts failed, in a span of time.

    Attributes:
      span_s: the length of the span: `MINUTE_S`, `HOUR_S` or `DAY_S`; 0 for all time.
      begin: its beginning (seconds since the epoch).
      queue, actor: whose jobs these are.
      done: how many jobs were done.
      failed: how many attempts failed.
    """

    span_s = peewee.IntegerField()
    begin = peewee.BigIntegerField()
    queue = peewee.CharField()
    actor = peewee.CharField()
    done = peewee.BigIntegerField(default=0)
    failed = peewee.BigIntegerField(default=0)
    #: How long all attempts took together, failed ones too (milliseconds).
    ms = peewee.BigIntegerField(default=0)

    class Meta:
        table_name = "tally"
        primary_key = peewee.CompositeKey("span_s", "begin", "queue", "actor")


#: A number that no count reaches.
_ALL = 2**62


@needs(Job)
def stats(at_most: int | None = None) -> list[QueueStats]:
    """The state of all queues that have jobs, by name.

    Parameters:
      at_most: how far to count the jobs of a queue in a state, for a page that is shown every few
        seconds. A number that has reached it means "at least"; None counts all.
    """
    now = clock.now(Job._meta.database)
    counts: Counter[tuple[str, str]] = Counter()
    oldest: dict[str, float] = {}
    for state, queue, count, since in _COUNTED.rows(now=now, at_most=at_most or _ALL):
        counts[queue, state] += count
        if state == State.WAITING and since is not None:
            oldest[queue] = min(since, oldest.get(queue, since))
    return [
        QueueStats(
            queue=queue,
            **{state.value: counts[queue, state.value] for state in State},
            oldest_s=max(0.0, now - oldest.get(queue, now)),
        )
        for queue in sorted({queue for queue, _ in +counts})
    ]


def _counted(now: Any, at_most: Any) -> Any:
    """How many jobs each queue has in each part of a state, and the first one's moment: as one
    query, as a job may go from one state to another meanwhile."""
    queries: list[Any] = []
    tables: list[Any] = []
    for state, parts in PARTS.items():
        for part in parts:
            found = part.each_queue(f"queues_{len(tables)}")
            its = part.its(now) & (Job.queue == found.c.queue)
            some = Job.select(SQL("1")).where(its).limit(at_most)
            count = peewee.Select([some], [fn.COUNT(SQL("*"))])
            first = Job.select(fn.MIN(part.since)).where(its)
            row = [peewee.Value(state.value), found.c.queue, count, first]
            there = found.c.queue.is_null(False)
            queries.append(Job.alias("other").select(*row).from_(found).where(there))
            tables.append(found)
    return functools.reduce(operator.add, queries).with_cte(*tables)


_COUNTED = Statement(_counted)


@needs(ActorStats)
def history(span_s: int, count: int) -> list[Span]:
    """The last spans of time, oldest first, including those in which nothing happened.

    Parameters:
      span_s: the length of each span: `MINUTE_S`, `HOUR_S` or `DAY_S`.
      count: how many spans.
    """
    last = int(clock.now(Job._meta.database)) // span_s * span_s
    first = last - (count - 1) * span_s
    query = ActorStats.select(
        ActorStats.begin, fn.SUM(ActorStats.done), fn.SUM(ActorStats.failed)
    ).where(ActorStats.span_s == span_s, ActorStats.begin >= first)
    rows: list[Any] = list(query.group_by(ActorStats.begin).tuples())
    found = {begin: Span(begin, int(done), int(failed)) for begin, done, failed in rows}
    return [found.get(begin, Span(begin)) for begin in range(first, last + 1, span_s)]


@needs(ActorStats)
def totals() -> Iterator[ActorStats]:
    """The stats of each actor since the beginning, by queue and actor."""
    query = ActorStats.select().where(ActorStats.span_s == TOTAL)
    # Read at once: on SQLite a caller that writes between two rows would fail.
    return iter(list(query.order_by(ActorStats.queue, ActorStats.actor)))


def forget_old() -> None:
    """Delete the spans that are older than `KEPT`."""
    now = int(clock.now(Job._meta.database))
    for span, kept in KEPT.items():
        ActorStats.delete().where(
            ActorStats.span_s == span, ActorStats.begin < now - span * kept
        ).execute()


class Counts:
    """The attempts of one process that are not in the table yet."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, str], list[int]] = {}
        self._lock = AdaptiveLock()

    def add(self, queue: str, actor: str, ms: float, *, failed: bool) -> None:
        """Count an attempt."""
        with self._lock:
            counted = self._counted.setdefault((queue, actor), [0, 0, 0])
            counted[1 if failed else 0] += 1
            counted[2] += round(ms)

    def flush(self) -> None:
        """Add the counts to the table. If the database raises, they are kept for the next time."""
        with self._lock:
            counted, self._counted = self._counted, {}
        if not counted:
            return
        now = int(clock.now(Job._meta.database))
        rows = [
            (span, now - now % span if span else 0, queue, actor, *numbers)
            for span in (TOTAL, *KEPT)
            # All workers keep the same order, because rows are locked one after the other.
            for (queue, actor), numbers in sorted(counted.items())
        ]
        keys = [ActorStats.span_s, ActorStats.begin, ActorStats.queue, ActorStats.actor]
        sums = {
            column: column + EXCLUDED[column.column_name]
            for column in (ActorStats.done, ActorStats.failed, ActorStats.ms)
        }
        try:
            insert = ActorStats.insert_many(rows, list(ActorStats._meta.sorted_fields))
            insert.on_conflict(conflict_target=keys, update=sums).execute()
        except BaseException:
            self._put_back(counted)
            raise

    def _put_back(self, counted: dict[tuple[str, str], list[int]]) -> None:
        with self._lock:
            for key, numbers in counted.items():
                present = self._counted.get(key, [0, 0, 0])
                self._counted[key] = [a + b for a, b in zip(numbers, present, strict=True)]
