"""Groups: the many jobs of one group do not delay the jobs of another.

A group says whose the jobs are: a user's, a customer's. `enqueue(…, group=…)` sends a job while the
broker has fewer than `MAX_PER_GROUP` of its group. It throttles the others: they stay in the
outbox, and each job that is done releases the next one, to the end of the queue. So only few jobs
of a group stand before anybody else's, on every broker, and the groups take turns. The order within
a worker process is in `brokers/fetched.py`. Decision 31 explains this design.
"""

from typing import Any

import dramatiq.broker
from peewee import SQL, Case, fn

from gifster.jobs import clock
from gifster.jobs.outbox import RESEND_AFTER_S, Job, is_held, most_of_group, room_of, send_now
from gifster.jobs.transactions import transaction

#: How many groups one call of `release_all()` handles.
MOST_GROUPS = 200


def release(group: str, queue: str) -> int:
    """Send the throttled jobs of a group and a queue, as far as there is room. Those of actors with
    a lower priority number come first, then the oldest.

    Returns:
      how many jobs were released.
    """
    held = (Job.group == group) & (Job.queue == queue) & is_held(True)
    if not Job.select().where(held).exists():
        return 0
    with transaction(Job._meta.database):
        room = room_of(group, queue)
        if room <= 0:
            return 0
        query = Job.select().where(held).order_by(*_order()).limit(room)
        if Job._meta.database.for_update:
            query = query.for_update(skip_locked=True)
        jobs = list(query)
        now = clock.now(Job._meta.database)
        Job.update(held=False, send_at=now + RESEND_AFTER_S).where(
            Job.id.in_([job.id for job in jobs])
        ).execute()
    for job in jobs:
        job.held = False
        send_now(job)
    return len(jobs)


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
    if not Job.select().where(Job.group.is_null(False) & is_held(True)).exists():
        return []
    later = Job.due_at > clock.now(Job._meta.database)
    away = Job.held | Job.failed_at.is_null(False) | later
    query = (
        Job.select(Job.group, Job.queue, fn.SUM(Case(None, [(Job.held, 1)], 0)).alias("held_jobs"))
        .where(Job.group.is_null(False))
        .group_by(Job.group, Job.queue)
        .having(
            (fn.SUM(Case(None, [(Job.held, 1)], 0)) > 0)
            & (fn.SUM(Case(None, [(away, 0)], 1)) < most_of_group())
        )
        .order_by(SQL("3").desc())
        .limit(MOST_GROUPS)
    )
    rows: Any = query.tuples()
    return [(group, queue) for group, queue, _ in rows]
