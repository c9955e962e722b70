"""The jobs as admins and programs see them: on the page, by HTTP and on the command line.

`gifster.jobs` knows the jobs; the settings name the queues.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from peewee import fn

from gifster import jobs
from gifster.app.library import BadQuery, Conflict, NotFound
from gifster.app.lists import check_limit
from gifster.app.models import rfc3339
from gifster.app.settings import Settings
from gifster.jobs import Job, QueueStats, Span, State, Worker

#: The graphs, by name: the length of a span (seconds), and how many spans there are.
HISTORIES = {
    "hour": (jobs.MINUTE_S, 60),
    "day": (jobs.HOUR_S, 24),
    "month": (jobs.DAY_S, 30),
}


@dataclass(frozen=True)
class Queue:
    """A queue that the settings name, or that has jobs or is paused."""

    name: str
    weight: int
    max: int | None
    paused: bool
    stats: QueueStats


def queues(settings: Settings) -> list[Queue]:
    """All queues; those of the settings come first."""
    stats = {found.queue: found for found in jobs.stats()}
    paused = jobs.paused_queues()
    others = sorted((set(stats) | paused) - set(settings.queues))
    made = []
    for name in [*settings.queues, *others]:
        of_settings = settings.queues.get(name)
        made.append(
            Queue(
                name=name,
                weight=of_settings.weight if of_settings else 1,
                max=of_settings.max if of_settings else None,
                paused=name in paused,
                stats=stats.get(name) or QueueStats(name, 0, 0, 0, 0, 0, 0.0),
            )
        )
    return made


def page_of(state: str, cursor: str, limit: int) -> tuple[list[Job], str | None]:
    """A page of the jobs in a state, and the cursor of the next page, if there is one.

    Parameters:
      cursor: `next` of the page before; empty for the first page.
      limit: the most jobs on the page, 1 to `lists.MAX_LIMIT`.

    Raises:
      BadQuery: the state, the cursor or the limit is invalid.
    """
    if state not in set(State):
        raise BadQuery("state_invalid", f"state must be one of {', '.join(State)}.")
    check_limit(limit)
    if cursor and not (cursor.isdecimal() and cursor.isascii() and len(cursor) < 10):
        raise BadQuery("cursor_invalid", "cursor must be `next` of the page before.")
    offset = int(cursor or 0)
    found = jobs.find(State(state), limit + 1, offset)
    return found[:limit], str(offset + limit) if len(found) > limit else None


def busy() -> Counter[str]:
    """How many threads each worker process uses now, by its id."""
    leased = Job.select(Job.leased_by, fn.COUNT(Job.id)).where(Job.leased_by.is_null(False))
    rows: list[Any] = list(leased.group_by(Job.leased_by).tuples())
    return Counter(dict(rows))


def get_job(job_id: str) -> Job:
    """A job that is not done yet.

    Raises:
      NotFound
    """
    job: Job | None = Job.get_or_none(Job.id == job_id)
    if job is None:
        raise NotFound("job_not_found", "There is no such job. It may be done already.")
    return job


def retry(job_id: str) -> Job:
    """Run a dead job again, or a scheduled or retrying job now.

    Raises:
      NotFound, Conflict
    """
    get_job(job_id)
    try:
        return jobs.retry(job_id)
    except jobs.NoSuchJob:
        raise Conflict(
            "job_not_idle", "The job waits for a worker already, or is running."
        ) from None


def drop(job_id: str) -> None:
    """Delete a dead job.

    Raises:
      NotFound, Conflict
    """
    get_job(job_id)
    try:
        jobs.drop(job_id)
    except jobs.NoSuchJob:
        raise Conflict("job_not_dead", "Only a dead job can be deleted.") from None


def all_dead(do: Callable[[str], Any]) -> None:
    """Retry or drop all dead jobs."""
    for job in jobs.find(State.DEAD):
        with suppress(jobs.NoSuchJob):  # somebody else has, meanwhile
            do(job.id)


def set_paused(settings: Settings, queue: str, paused: bool) -> Queue:
    """Pause a queue, or resume it.

    Raises:
      NotFound
    """
    known = {found.name: found for found in queues(settings)}
    if queue not in known:
        raise NotFound(
            "queue_not_found", f"There is no queue {queue}. There are: {', '.join(known)}."
        )
    (jobs.pause if paused else jobs.resume)(queue)
    return replace(known[queue], paused=paused)


def set_quiet(worker_id: str, quiet: bool) -> None:
    """Make a worker process quiet, or make it work again.

    Raises:
      NotFound
    """
    try:
        jobs.quiet(worker_id, quiet=quiet)
    except jobs.NoSuchWorker:
        raise NotFound("worker_not_found", f"There is no worker {worker_id}.") from None


def history(name: str) -> list[Span]:
    """The spans of the last hour, day or month.

    Raises:
      BadQuery
    """
    if name not in HISTORIES:
        raise BadQuery("span_invalid", f"span must be one of {', '.join(HISTORIES)}.")
    return jobs.history(*HISTORIES[name])


def moment(at: float | None) -> str | None:
    """Seconds since the epoch in the format of `rfc3339()`."""
    return None if at is None else rfc3339(datetime.fromtimestamp(at, UTC))


def job_json(job: Job) -> dict[str, Any]:
    """A job as JSON."""
    state = jobs.state_of(job)
    return {
        "id": job.id,
        "state": state.value,
        "actor": job.actor,
        "queue": job.queue,
        "arguments": job.arguments,
        "created_at": moment(job.created_at),
        "due_at": moment(job.due_at),
        "started_at": moment(job.started_at) if state is State.RUNNING else None,
        "worker": job.leased_by,
        "thread": job.thread if state is State.RUNNING else None,
        "attempts": job.attempts,
        "deaths": job.deaths,
        "failed_at": moment(job.failed_at),
        "error": job.error,
        "traceback": job.traceback,
    }


def queue_json(queue: Queue) -> dict[str, Any]:
    """A queue as JSON."""
    counts = {state.value: getattr(queue.stats, state.value) for state in State}
    return {
        "name": queue.name,
        "weight": queue.weight,
        "max": queue.max,
        "paused": queue.paused,
        **counts,
        "oldest_s": round(queue.stats.oldest_s, 3),
    }


def worker_json(worker: Worker, busy_threads: int) -> dict[str, Any]:
    """A worker process as JSON."""
    return {
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "queues": worker.queues.split(),
        "threads": worker.threads,
        "busy": busy_threads,
        "memory_bytes": worker.memory_bytes,
        "started_at": moment(worker.started_at),
        "seen_at": moment(worker.seen_at),
        "alive": worker.alive,
        "quiet": worker.quiet,
    }


def stats_json(span: str) -> dict[str, Any]:
    """The stats as JSON: the totals, the spans of one graph, and the recurring jobs."""
    done = failed = 0
    for total in jobs.totals():
        done, failed = done + total.done, failed + total.failed
    return {
        "done": done,
        "failed": failed,
        "history": [
            {"begin": moment(part.begin), "done": part.done, "failed": part.failed}
            for part in history(span)
        ],
        "recurring": [
            {
                "name": job.name,
                "rule": job.rule,
                "next_at": moment(job.next_at),
                "last_at": moment(job.last_at),
            }
            for job in jobs.recurring_jobs()
        ],
    }
