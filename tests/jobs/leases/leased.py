"""The row of a job whose lease a test looks at."""

import time

from gifster.jobs import Job


def expire(job: Job) -> None:
    Job.update(send_at=time.time() - 1).where(Job.id == job.id).execute()


def now(job: Job) -> Job:
    return Job.get_by_id(job.id)
