"""Dead jobs: their retries ran out, or too many workers died over them. They are kept, with the
reason, until somebody retries them or drops them (`dropping.py`)."""

import time

from gifster.jobs.old_schema import needs
from gifster.jobs.outbox import Job
from gifster.jobs.transactions import transaction


class NoSuchJob(LookupError):
    """There is no job with this id, or its state does not allow this now."""


@needs(Job)
def retry(job_id: str) -> Job:
    """Run a dead job again, as if it were new; or run a scheduled or retrying job now.

    Raises:
      NoSuchJob: there is no job with this id, or it waits for a worker or is running.
    """
    now = time.time()
    dead = Job.failed_at.is_null(False)
    as_new = {"failed_at": None, "deaths": 0, "attempts": 0}
    # One statement for each, because a worker may be about to take a job that is due.
    for state, changes in ((dead, as_new), (~dead & (Job.due_at > now), {})):
        mine = (Job.id == job_id) & Job.leased_by.is_null() & state
        with transaction(Job._meta.database):  # the relay and a worker may be as quick
            updated = Job.update(due_at=None, send_at=now, **changes).where(mine).execute()
            job: Job | None = Job.get_by_id(job_id) if updated else None
        if job is not None:
            job.send()
            return job
    raise NoSuchJob(f"there is no job {job_id} that is dead or waits for later")
