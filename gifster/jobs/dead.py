"""The dead: jobs whose retries ran out, or over which too many workers died. They are kept with
the reason, until somebody retries or drops them."""

import time
from collections.abc import Sequence

from gifster.jobs.outbox import Job


class NoSuchJob(LookupError):
    """There is no job of that id among the dead."""


def dead() -> list[Job]:
    """The dead jobs, the last to die first."""
    return list(Job.select().where(Job.failed_at.is_null(False)).order_by(Job.failed_at.desc()))


def retry(job_id: str) -> Job:
    """Have a dead job done after all, as if it were new.

    Raises:
      NoSuchJob
    """
    job = _dead_job(job_id)
    job.failed_at, job.deaths, job.attempts = None, 0, 0
    job.leased_by, job.send_at = None, time.time()
    job.save()
    job.send()
    return job


def drop(job_id: str) -> Job:
    """Forget a dead job.

    Raises:
      NoSuchJob
    """
    job = _dead_job(job_id)
    job.delete_instance()
    return job


def waiting() -> Sequence[Job]:
    """The jobs that are not done and not dead, oldest first."""
    return list(Job.select().where(Job.failed_at.is_null()).order_by(Job.created_at))


def _dead_job(job_id: str) -> Job:
    job: Job | None = Job.get_or_none(Job.id == job_id, Job.failed_at.is_null(False))
    if job is None:
        raise NoSuchJob(f"there is no dead job {job_id}")
    return job
