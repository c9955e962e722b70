"""Groups: the many jobs of one group do not delay the jobs of another.

A group says whose the jobs are: a user's, a customer's. `enqueue(…, group=…)` sends a job while the
broker has fewer than `MAX_PER_GROUP` of its group. It throttles the others: they stay in the
outbox, and each job that is done releases the next one, to the end of the queue. So only few jobs
of a group stand before anybody else's, on every broker, and the groups take turns. The order within
a worker process is in `brokers/fetched.py`. Decision 31 explains this design.
"""

from typing import Any

import dramatiq.broker
import peewee
from peewee import Case, fn

from gifster.jobs import clock
from gifster.jobs.group_limits import most_of_group, room_of, sent_of_group
from gifster.jobs.job import RESEND_AFTER_S, Job, can_be_found
from gifster.jobs.outbox import send_now
from gifster.jobs.statements import Statement
from gifster.jobs.transactions import transaction

#: How many groups one call of `release_all()` handles.
MOST_GROUPS = 200


def release(group: str, queue: str) -> int:
    """Send the throttled jobs of a group and a queue, as far as there is room. Those of actors with
    a lower priority number come first, then the oldest.

    Returns:
      how many jobs were released.
    """
    actors = _held_actors(group, queue)
    if not actors:
        return 0
    with transaction(Job._meta.database):
        room = room_of(group, queue)
        if room <= 0:
            return 0
        jobs = _next_held(group, queue, actors, room)
        now = clock.now(Job._meta.database)
        Job.update(held=False, send_at=now + RESEND_AFTER_S).where(
            Job.id.in_([job.id for job in jobs])
        ).execute()
    for job in jobs:
        job.held = False
        send_now(job)
    return len(jobs)


def _held_of(group: Any, queue: Any) -> Any:
    return Job.held & (Job.group == group) & (Job.queue == queue)


_NEXT_ACTOR = Statement(
    lambda group, queue, after: Job.select(fn.MIN(Job.actor)).where(
        _held_of(group, queue) & (Job.actor > after)
    )
)
_FIRST_HELD = Statement(
    lambda group, queue, actor, most: (
        Job.select(Job.id)
        .where(_held_of(group, queue) & (Job.actor == actor))
        .order_by(Job.created_at, Job.id)
        .limit(most)
    )
)


def _held_actors(group: str, queue: str) -> list[str]:
    """The actors of the throttled jobs of a group and a queue. Each is one step in the index: a
    group may have very many jobs, but it has few actors."""
    found: list[str] = []
    while True:
        after = found[-1] if found else ""
        ((actor,),) = _NEXT_ACTOR.rows(group=group, queue=queue, after=after)
        if actor is None:
            return found
        if not can_be_found(actor):  # no step leads over it
            rows: Any = Job.select(Job.actor).where(_held_of(group, queue)).distinct().tuples()
            return [each for (each,) in rows if can_be_found(each)]
        found.append(actor)


def _next_held(group: str, queue: str, actors: list[str], room: int) -> list[Job]:
    """The throttled jobs that are sent next, locked."""
    # Of each actor some more than there is room for, as others may have locked the first ones.
    its = {"group": group, "queue": queue, "most": room + most_of_group()}
    first = [job_id for each in actors for (job_id,) in _FIRST_HELD.rows(**its, actor=each)]
    first = [job_id for job_id in first if can_be_found(job_id)]
    query = Job.select().where(Job.id.in_(first) & Job.held).order_by(*_order()).limit(room)
    if Job._meta.database.for_update:
        query = query.for_update(skip_locked=True)
    return list(query)


def _order() -> list[Any]:
    """The order in which throttled jobs are sent. A process that has not imported an actor knows no
    priority of it, and takes 0 for it."""
    broker = dramatiq.broker.global_broker
    actors = {} if broker is None else broker.actors
    numbers = [(name, actor.priority) for name, actor in actors.items() if actor.priority]
    return [*([Case(Job.actor, numbers, 0)] if numbers else []), Job.created_at, Job.id]


def release_all() -> int:
    """Release the jobs of all groups with room. The relay does that for processes that died.

    Returns:
      how many jobs were released.
    """
    return sum(release(group, queue) for group, queue in _groups_with_room())


def _groups_with_room() -> list[tuple[str, str]]:
    """The first groups, by name, and queues that have throttled jobs and room for them."""
    return _WITH_ROOM.rows(now=clock.now(Job._meta.database), most=most_of_group())


def _each_held() -> Any:
    """A throttled job of each group and queue, as a table. From one to the next is a step in the
    index: to look for the groups among all throttled jobs takes the longer, the more there are."""
    this, other = Job.alias("this"), Job.alias("other")

    def first(of: Any, *where: Any) -> Any:
        return of.select(of.id).where(of.held, *where).order_by(of.group, of.queue).limit(1)

    same_group = first(other, other.group == this.group, other.queue > this.queue)
    next_group = first(other, other.group > this.group)
    found = peewee.Select([], [first(Job)]).cte("found", recursive=True, columns=["id"])
    step = this.select(fn.COALESCE(same_group, next_group))
    return found.union_all(step.join(found, on=(found.c.id == this.id)))


def _with_room(now: Any, most: Any) -> Any:
    held = _each_held()
    query = Job.select(Job.group, Job.queue).join(held, on=(held.c.id == Job.id)).with_cte(held)
    return query.where(sent_of_group(Job.group, Job.queue, now) < most).limit(MOST_GROUPS)


_WITH_ROOM = Statement(_with_room)
