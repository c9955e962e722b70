"""The dead: jobs whose retries ran out, or over which too many workers died. They are kept with
the reason, until somebody retries or drops them."""

import time

from gifster.jobs.outbox import Job, transaction


class NoSuchJob(LookupError):
    """There is no job of that id, or none with which that can be done now."""


def retry(job_id: str) -> Job:
    """Have a dead job done after all, as if it were new; or one that waits for its moment or its
    next attempt now.

    Raises:
      NoSuchJob: there is none of that id, or it waits for a worker or is in one's hands.
    """
    now = time.time()
    dead = Job.failed_at.is_null(False)
    as_new = {"failed_at": None, "deaths": 0, "attempts": 0}
    # In one statement each: a worker may be about to take one that is due.
    for state, changes in ((dead, as_new), (~dead & (Job.due_at > now), {})):
        mine = (Job.id == job_id) & Job.leased_by.is_null() & state
        with transaction(Job._meta.database):  # the relay may send it, and a worker do it, at once
            updated = Job.update(due_at=None, send_at=now, **changes).where(mine).execute()
            job: Job | None = Job.get_by_id(job_id) if updated else None
        if job is not None:
            job.send()
            return job
    raise NoSuchJob(f"there is no job {job_id} that is dead or waits for later")


def drop(job_id: str) -> Job:
    """Forget a dead job.

    Raises:
      NoSuchJob
    """
    dead = (Job.id == job_id) & Job.failed_at.is_null(False)
    job: Job | None = Job.get_or_none(dead)
    # One that is retried in this moment is dead no more.
    if job is None or not Job.delete().where(dead).execute():
        raise NoSuchJob(f"there is no dead job {job_id}")
    return job
