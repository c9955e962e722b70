"""Jobs whose actor the worker that got them did not have, because it is of another release.

Their row says so, and the relay sends them again, later each time. A worker that has the actor has
them sent when it starts.
"""

import logging

import dramatiq

from gifster.jobs import clock
from gifster.jobs.job import NEVER, WITHOUT_ACTOR, Job
from gifster.jobs.reasons import reason_of

logger = logging.getLogger("gifster.jobs")


def note_missing_actor(job_id: str, actor: str, why: BaseException) -> None:
    """Note in the row of a job that this worker has not its actor."""
    its = (Job.id == job_id) & (Job.actor == actor)
    Job.update(actor_missing=True, **reason_of(why)).where(its).execute()


def wake_those_without_actor(broker: dramatiq.Broker) -> None:
    """Have the relay send the jobs now for which no worker had the actor, and this one has it. By
    themselves they would wait as long as they have waited already."""
    now = clock.now(Job._meta.database)
    waiting = Job.leased_by.is_null() & Job.failed_at.is_null() & (Job.send_at > now)
    its = waiting & ~Job.held & Job.due_at.is_null()
    # A worker of the former release says so only by the error.
    its &= Job.actor_missing | Job.error.startswith(WITHOUT_ACTOR)
    its &= Job.actor.in_(list(broker.actors))
    if not Job.select().where(its).exists():
        return
    found = Job.update(send_at=now).where(its & Job.group.is_null()).execute()
    # As many of each group at a time as of its other jobs.
    throttled = {"held": True, "send_at": NEVER, "error": None, "traceback": None}
    throttled["actor_missing"] = False
    found += Job.update(throttled).where(its & Job.group.is_null(False)).execute()
    if found:
        logger.info("jobs=%d waited for a worker that has their actors", found)
