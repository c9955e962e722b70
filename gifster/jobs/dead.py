"""The dead: jobs whose retries ran out, or over which too many workers died. They are kept with
the reason, until somebody retries or drops them."""

import time

from gifster.jobs.outbox import Job


class NoSuchJob(LookupError):
    """There is no job of that id, or none with which that can be done now."""


def retry(job_id: str) -> Job:
    """Have a dead job done after all, as if it were new; or one that waits for its moment or its
    next attempt now.

    Raises:
      NoSuchJob: there is none of that id, or it waits for a worker or is in one's hands.
    """
    job: Job | None = Job.get_or_none(Job.id == job_id, Job.leased_by.is_null())
    now = time.time()
    if job is None or (job.failed_at is None and (job.due_at is None or job.due_at <= now)):
        raise NoSuchJob(f"there is no job {job_id} that is dead or waits for later")
    if job.failed_at is not None:
        job.failed_at, job.deaths, job.attempts = None, 0, 0
    job.due_at, job.send_at = None, now
    job.save()
    job.send()
    return job


def drop(job_id: str) -> Job:
    """Forget a dead job.

    Raises:
      NoSuchJob
    """
    job: Job | None = Job.get_or_none(Job.id == job_id, Job.failed_at.is_null(False))
    if job is None:
        raise NoSuchJob(f"there is no dead job {job_id}")
    job.delete_instance()
    return job
