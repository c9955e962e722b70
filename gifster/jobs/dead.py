"""Dead jobs: their retries ran out, or too many workers died over them. They are kept, with the
reason, until somebody retries them or drops them (`dropping.py`), or `forget_dead()` does."""

from typing import Any

from gifster.jobs import clock
from gifster.jobs.job import Job
from gifster.jobs.old_schema import needs
from gifster.jobs.transactions import transaction
from gifster.jobs.watched import moment_before

#: As in Sidekiq: how long dead jobs are kept (seconds), and how many.
KEPT_S, KEPT = 180 * 86_400.0, 10_000
#: How many one transaction deletes.
BATCH = 500


class NoSuchJob(LookupError):
    """There is no job with this id, or its state does not allow this now."""


@needs(Job)
def retry(job_id: str) -> Job:
    """Run a dead job again, as if it were new; or run a scheduled or retrying job now.

    Raises:
      NoSuchJob: there is no job with this id, or it waits for a worker or is running.
    """
    now = clock.now(Job._meta.database)
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


@needs(Job)
def forget_dead(max_age_s: float = KEPT_S, most: int = KEPT) -> int:
    """Drop the dead jobs that are too old or too many, the oldest first, and return how many. Call
    it in a recurring job (Sidekiq's `dead_timeout_in_seconds` and `dead_max_jobs`).

    Parameters:
      max_age_s: how long a dead job is kept after it was given up (seconds).
      most: how many of the newest are kept.

    Raises:
      OldSchema: the outbox is missing or of an earlier release; says what to do.
    """
    before = moment_before(max_age_s)
    one_too_many: Any = Job.select(Job.failed_at).where(Job.failed_at.is_null(False))
    newest_first = one_too_many.order_by(Job.failed_at.desc()).offset(most).limit(1)
    before = max(before, newest_first.scalar() or before)
    dropped = 0
    old: Any = Job.select(Job.id).where(Job.failed_at <= before).limit(BATCH)
    while ids := [job_id for (job_id,) in old.clone().tuples()]:
        with transaction(Job._meta.database):
            # One that somebody has retried meanwhile is dead no longer.
            still = Job.id.in_(ids) & (Job.failed_at <= before)
            dropped += int(Job.delete().where(still).execute())
    return dropped
