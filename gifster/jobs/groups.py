"""Fair shares: the jobs of one group do not hold up those of another.

A group is whose the jobs are: a user, a customer. `enqueue(…, group=…)` sends a job to the broker
while it has fewer than `MAX_PER_GROUP` of that group; the others are held in the outbox, and each
that is done lets the next one go, to the end of the queue. So however many a group has, few of them
stand before anybody else's, on every broker, and many groups take turns. What a worker process does
with those that it has fetched is in `brokers/fetched.py`. Decision 31 tells why it is done so.
"""

import time
from typing import Any

from peewee import SQL, Case, fn

from gifster.jobs.outbox import (
    RESEND_AFTER_S,
    Job,
    is_held,
    most_of_group,
    room_of,
    send_now,
    transaction,
)

#: How many groups `release_all()` sees to in a call.
MOST_GROUPS = 200


def release(group: str, queue: str) -> int:
    """Send jobs of a group that are held for a queue, oldest first, as far as there is room.

    Returns:
      how many there were.
    """
    held = (Job.group == group) & (Job.queue == queue) & is_held(True)
    if not Job.select().where(held).exists():
        return 0
    with transaction(Job._meta.database):
        room = room_of(group, queue)
        if room <= 0:
            return 0
        query = Job.select().where(held).order_by(Job.created_at, Job.id).limit(room)
        if Job._meta.database.for_update:
            query = query.for_update(skip_locked=True)
        jobs = list(query)
        now = time.time()
        Job.update(held=False, send_at=now + RESEND_AFTER_S).where(
            Job.id.in_([job.id for job in jobs])
        ).execute()
    for job in jobs:
        job.held = False
        send_now(job)
    return len(jobs)


def release_all() -> int:
    """Do so for all groups with room: those whose last job ended with a process that could not let
    the next one go. For the relay.

    Returns:
      how many jobs were sent.
    """
    return sum(release(group, queue) for group, queue in _groups_with_room())


def _groups_with_room() -> list[tuple[str, str]]:
    if not Job.select().where(Job.group.is_null(False) & is_held(True)).exists():
        return []
    later = Job.due_at > time.time()
    away = Job.held | Job.failed_at.is_null(False) | later
    query: Any = (
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
    return [(group, queue) for group, queue, _ in query.tuples()]
