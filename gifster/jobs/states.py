"""The states of jobs, and the jobs in each.

A state may have a million jobs, of which a list shows fifty. So each state is made of parts, which
an index has queue by queue, and in each queue in the order of the list (migration 10).
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import peewee
from peewee import Case, Expression, Tuple, fn

from gifster.jobs import clock
from gifster.jobs.job import AT_ONCE, DEAD, FAILED, PUT_OFF, Job, can_be_found
from gifster.jobs.old_schema import needs
from gifster.jobs.statements import Statement


class State(StrEnum):
    """WAITING for a worker; SCHEDULED for a later moment; RETRYING: failed, and waits for its next
    attempt; RUNNING in a worker; DEAD: given up."""

    WAITING = "waiting"
    SCHEDULED = "scheduled"
    RETRYING = "retrying"
    RUNNING = "running"
    DEAD = "dead"


def state_of(job: Job) -> State:
    """The state of a job, by its row as it was read."""
    if job.failed_at is not None:
        return State.DEAD
    if job.leased_by is not None:
        return State.RUNNING
    if job.due_at is not None and job.due_at > clock.now(Job._meta.database):
        return State.RETRYING if job.attempts else State.SCHEDULED
    return State.WAITING


#: `find()` reads so many jobs part by part; more in one query, which sorts them all.
_FEW = 1000
#: How often a list is filled up with others, if workers take what it has found.
_TRIES = 5

#: Where a list goes on: the moment by which a job is in order, and its id.
Place = tuple[float, str]


@dataclass(frozen=True, eq=False)
class Part:
    """Jobs of a state that one index has, queue by queue.

    Parameters:
      where: the condition of the index, word for word.
      since: the column by which a queue's jobs are in order.
      held: the value of `held`, if that comes before it in the index.
      due: whether the moment of the jobs has come; None if they have none.
      newest_first: whether the list begins with the last ones.
    """

    where: Expression
    since: Any
    held: bool | None = None
    due: bool | None = None
    newest_first: bool = False

    def its(self, now: Any) -> Any:
        """Its jobs at a moment, as a condition."""
        its: Any = self.where
        if self.held is not None:
            its &= Job.held == peewee.Value(self.held)  # SQLite finds them by `=` only
        if self.due is not None:
            its &= Job.due_at <= now if self.due else Job.due_at > now
        return its

    def queues(self) -> list[str]:
        """The queues that the index has."""
        return [
            queue for (queue,) in self._queues.rows() if queue is not None and can_be_found(queue)
        ]

    @cached_property
    def _queues(self) -> Statement:
        def every() -> Any:
            found = self.each_queue()
            return Job.select(found.c.queue).from_(found).with_cte(found)

        return Statement(every)

    def each_queue(self, name: str = "found") -> Any:
        """The queues of the index as a table, and a null at its end. From one to the next is a step
        in the index."""
        other = Job.alias("other")
        first = Job.select(fn.MIN(Job.queue)).where(self.where)
        found = first.cte(name, recursive=True, columns=["queue"])
        following = Job.select(fn.MIN(Job.queue)).where(self.where & (Job.queue > found.c.queue))
        step = other.select(following).from_(found).where(found.c.queue.is_null(False))
        return found.union_all(step)

    def count(self, queue: str, now: float, at_most: int | None = None) -> int:
        """How many of its jobs a queue has, counted as far as `at_most`."""
        its = self.its(now) & (Job.queue == queue)
        return int(Job.select().where(its).limit(at_most).count())

    def first(
        self, queue: str, now: float, most: int, after: Place | None, also: Any
    ) -> list[Place]:
        """The places of its first jobs in a queue, without those that no row can be found by.

        Parameters:
          also: another condition; None for all.
        """
        its = self.its(now) & (Job.queue == queue)
        if also is not None:
            its &= also
        here = Tuple(self.since, Job.id)
        if after is not None:
            its &= here < Tuple(*after) if self.newest_first else here > Tuple(*after)
        order = [each.desc() if self.newest_first else each for each in (self.since, Job.id)]
        query: Any = Job.select(self.since, Job.id).where(its).order_by(*order)
        found = list(query.limit(most).tuples())
        if damaged := sum(not can_be_found(job_id) for _, job_id in found):
            found = list(query.limit(most + damaged).tuples())
        return [each for each in found if can_be_found(each[1])]


_LEASED = Job.leased_by.is_null(False) & Job.failed_at.is_null()
PARTS: dict[State, tuple[Part, ...]] = {
    State.WAITING: (
        Part(AT_ONCE, Job.created_at, held=False),
        Part(AT_ONCE, Job.created_at, held=True),
        Part(PUT_OFF, Job.due_at, due=True),
        Part(FAILED, Job.due_at, due=True),
    ),
    State.SCHEDULED: (Part(PUT_OFF, Job.due_at, due=False),),
    State.RETRYING: (Part(FAILED, Job.due_at, due=False),),
    State.RUNNING: (Part(_LEASED, Job.started_at),),
    State.DEAD: (Part(DEAD, Job.failed_at, newest_first=True),),
}
#: The jobs that wait because their group has too many with the broker.
THROTTLED = PARTS[State.WAITING][1]
#: A job that was put off has waited since it became due.
_SINCE = {
    State.WAITING: fn.COALESCE(Job.due_at, Job.created_at),
    State.SCHEDULED: Job.due_at,
    State.RETRYING: Job.due_at,
    State.RUNNING: Job.started_at,
    State.DEAD: Job.failed_at,
}


def state_in_sql() -> Case:
    """The state of a job as an SQL expression."""
    later = Job.due_at > clock.now(Job._meta.database)
    return Case(
        None,
        [
            (Job.failed_at.is_null(False), State.DEAD.value),
            (Job.leased_by.is_null(False), State.RUNNING.value),
            (later & (Job.attempts > 0), State.RETRYING.value),
            (later, State.SCHEDULED.value),
        ],
        State.WAITING.value,
    )


@needs(Job)
def find(
    state: State,
    limit: int | None = None,
    offset: int = 0,
    *,
    queue: str = "",
    text: str = "",
) -> list[Job]:
    """The jobs in a state. The one that has been in it longest comes first; of SCHEDULED and
    RETRYING the one that is due next, of DEAD the one that died last.

    Parameters:
      limit: the most jobs to return; None for all.
      offset: how many jobs to leave out.
      queue: only this queue's jobs; empty for all.
      text: only jobs with this text in their actor, arguments, error or group, in any case (of
        ASCII letters), or with this id; empty for all.
    """
    if limit is None or offset + limit > _FEW:
        return list(matching(state, queue=queue, text=text).limit(limit).offset(offset))
    return after(state, None, offset + limit, queue=queue, text=text)[offset:]


@needs(Job)
def after(  # noqa: PLR0913 each is a part of what is listed
    state: State,
    place: Place | None,
    limit: int,
    *,
    queue: str = "",
    text: str = "",
    made_by: float | None = None,
) -> list[Job]:
    """The jobs of `find()` that come after a place; after None, the first ones.

    Parameters:
      made_by: only jobs that were enqueued by then (seconds since the epoch); None for all.
    """
    also: Any = _has(text) if text else None
    if made_by is not None:
        also = Job.created_at <= made_by if also is None else also & (Job.created_at <= made_by)
    found: list[Job] = []
    for _ in range(_TRIES):
        places = _places(state, place, limit - len(found), queue, also)
        if not places:
            break
        its = matching(state, queue=queue, text=text).where(Job.id.in_(places))
        found += list(its.limit(limit - len(found)))
        if len(found) == limit:
            break
        # Workers have taken some meanwhile, or there are no others.
        place = place_of(found[-1], state) if found else place
    return found


def _places(state: State, place: Place | None, limit: int, queue: str, also: Any) -> list[str]:
    """The ids of the first jobs after a place; and of all that have the moment of the last one, as
    the database compares ids by its own rules."""
    now = clock.now(Job._meta.database)
    # Of each part as many places as jobs are wanted, and then the rows of the first ones: rows may
    # have large arguments.
    places = [
        each
        for part in PARTS[state]
        for name in ([queue] if queue else part.queues())
        for each in part.first(name, now, limit, place, also)
    ]
    sign = -1 if state is State.DEAD else 1
    moments = [sign * (since or 0.0) for since, _ in places]
    last = sorted(moments)[:limit][-1:]
    return [job_id for at, (_, job_id) in zip(moments, places, strict=True) if [at] <= last]


def place_of(job: Job, state: State) -> Place:
    """The place of a job in the list of a state."""
    moments = {
        State.WAITING: job.created_at if job.due_at is None else job.due_at,
        State.RUNNING: job.started_at,
        State.DEAD: job.failed_at,
    }
    return float(moments.get(state, job.due_at) or 0.0), str(job.id)


def matching(state: State, *, queue: str = "", text: str = "") -> Any:
    """The query of `find()`, without a limit."""
    order = (_SINCE[state], Job.id)
    query = Job.select().where(_is(state))
    query = query.order_by(*(each.desc() if state is State.DEAD else each for each in order))
    if queue:
        query = query.where(Job.queue == queue)
    return query.where(_has(text)) if text else query


def _has(text: str) -> Any:
    found = (Job.id == text) | Job.actor.contains(text)
    # Dramatiq's encoder escapes what is not ASCII. The cast keeps the text from being encoded too.
    for written in {text, json.dumps(text)[1:-1]}:
        found |= Job.arguments.cast("TEXT").contains(written)
    return found | Job.error.contains(text) | Job.group.contains(text)


#: What a state's rows have that an index knows, too.
_INDEXED = {State.RUNNING: Job.leased_by.is_null(False), State.DEAD: Job.failed_at.is_null(False)}


def _is(state: State) -> Expression:
    its = state_in_sql() == state.value
    return its & _INDEXED[state] if state in _INDEXED else its
