"""How many jobs of a group are with the broker, and how many may be (see `groups.py`)."""

from typing import Any

import dramatiq.broker
import peewee
from peewee import SQL, fn

from gifster.jobs import clock
from gifster.jobs.brokers.abilities import abilities
from gifster.jobs.job import Job
from gifster.jobs.statements import Statement

#: How many jobs of a group may be with the broker at once, unless `connect()` says otherwise.
MAX_PER_GROUP = 16


def room_of(group: str, queue: str) -> int:
    """How many more jobs of a group may go to a queue now. Each queue counts alone, so a paused
    queue does not throttle the others. Jobs that wait for their moment or a retry do not count."""
    ((sent,),) = _SENT.rows(group=group, queue=queue, now=clock.now(Job._meta.database))
    return most_of_group() - int(sent)


def sent_of_group(group: Any, queue: Any, now: Any) -> Any:
    """How many jobs of a group and a queue are with the broker, in SQL."""
    sent = Job.alias("sent")
    its = (sent.group == group) & (sent.queue == queue) & ~sent.held & sent.failed_at.is_null()
    # One that no worker could take is not there: it is sent again now and then, and a group with an
    # actor that nobody has would never get to its other jobs. SQLite finds them by `=` only.
    its &= sent.actor_missing == peewee.Value(False)
    count = sent.select(fn.COUNT(SQL("*"))).where(its)
    # Two counts, because of an `OR` the databases would read the jobs for later as well.
    at_once, by_now = count.where(sent.due_at.is_null()), count.where(sent.due_at <= now)
    return peewee.Expression(at_once, peewee.OP.ADD, by_now)


def most_of_group() -> int:
    """How many jobs of a group may be with the broker at once, as `connect()` set it."""
    return abilities(dramatiq.broker.global_broker).max_per_group or MAX_PER_GROUP


#: Runs with many a job that is enqueued.
_SENT = Statement(lambda group, queue, now: Job.select(sent_of_group(group, queue, now)).from_())
