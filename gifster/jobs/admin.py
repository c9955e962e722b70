"""What an admin of the jobs sees and does: the base of the page (`page/`), and of an API or a
command line of yours.

Plain functions that need a database connection around them. Their errors have a stable `code` for
programs and a sentence for people.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dramatiq.broker
from peewee import fn

from gifster.jobs import clock, dead, dropping, recurring, states, worker_rows
from gifster.jobs.brokers.abilities import abilities
from gifster.jobs.brokers.fair import QueueWeight
from gifster.jobs.dead import NoSuchJob
from gifster.jobs.dropping import JobIsRunning
from gifster.jobs.job import NEVER, Job
from gifster.jobs.old_schema import needs
from gifster.jobs.states import State
from gifster.jobs.stats import DAY_S, HOUR_S, MINUTE_S, QueueStats, Span, stats, totals
from gifster.jobs.stats import history as spans
from gifster.jobs.wording import not_one_of, wrong
from gifster.jobs.worker_rows import NoSuchWorker, Worker

#: The most jobs on a page of a list.
MAX_LIMIT = 100
#: The longest text to search for (characters).
MAX_TEXT = 200
#: The graphs, by name: the length of a span (seconds), and how many spans there are.
HISTORIES = {
    "hour": (MINUTE_S, 60),
    "day": (HOUR_S, 24),
    "month": (DAY_S, 30),
}


class AdminError(Exception):
    """A request cannot be carried out. `code` is stable; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BadQuery(AdminError):
    """The parameters of a list are invalid."""


class NotFound(AdminError):
    """There is no such job, queue or worker."""


class Conflict(AdminError):
    """The job's state does not allow this."""


class Invalid(AdminError):
    """A value of the request is invalid."""


@dataclass(frozen=True)
class Queue:
    """A queue that has a weight, jobs, an actor in this process or a living worker, or is paused.

    Attributes:
      name: its name.
      weight: its share of the job starts.
      max: how many threads of a worker process it may have; None is all.
      paused: whether workers take no jobs from it.
      stats: how many of its jobs are in each state.
      throttled: how many of the waiting jobs their group holds back.
    """

    name: str
    weight: int
    max: int | None
    paused: bool
    stats: QueueStats
    throttled: int


def queues(
    weights: Mapping[str, QueueWeight] | None = None, at_most: int | None = None
) -> list[Queue]:
    """All queues; those with a weight come first.

    Parameters:
      weights: by queue; by default those that `jobs.connect()` got in this process.
      at_most: how far to count, as for `jobs.stats()`.
    """
    weights = _weights() if weights is None else weights
    found = {each.queue: each for each in stats(at_most)}
    paused, throttled = worker_rows.paused_queues(), _throttled(at_most)
    others = sorted((set(found) | paused | _idle()) - set(weights))
    return [
        Queue(
            name=name,
            weight=weights.get(name, QueueWeight()).weight,
            max=weights.get(name, QueueWeight()).max,
            paused=name in paused,
            stats=found.get(name) or QueueStats(name, 0, 0, 0, 0, 0, 0.0),
            throttled=throttled[name],
        )
        for name in [*weights, *others]
    ]


def _idle() -> set[str]:
    """The queues of living workers, and of the actors that this process has declared."""
    worked_on = {
        name for each in worker_rows.workers() if each.alive for name in each.queues.split()
    }
    broker = dramatiq.broker.global_broker
    actors = {} if broker is None else broker.actors
    return worked_on | {actor.queue_name for actor in actors.values()}


def _weights() -> Mapping[str, QueueWeight]:
    return abilities(dramatiq.broker.global_broker).weights


@needs(Job)
def _throttled(at_most: int | None) -> Counter[str]:
    """How many jobs of each queue are throttled."""
    now = clock.now(Job._meta.database)
    return Counter({q: states.THROTTLED.count(q, now, at_most) for q in states.THROTTLED.queues()})


@needs(Job)
def queue_names(weights: Mapping[str, QueueWeight] | None = None) -> set[str]:
    """The names of all queues.

    Parameters:
      weights: as for `queues()`.
    """
    weights = _weights() if weights is None else weights
    with_jobs = {name for parts in states.PARTS.values() for p in parts for name in p.queues()}
    return with_jobs | worker_rows.paused_queues() | _idle() | set(weights)


def page_of(
    state: str, cursor: str, limit: int, *, queue: str = "", text: str = ""
) -> tuple[list[Job], str | None]:
    """A page of the jobs in a state, and the cursor of the next page, if there is one.

    Parameters:
      cursor: `next` of the page before; empty for the first page.
      limit: the most jobs on the page, 1 to `MAX_LIMIT`.
      queue: only this queue's jobs; empty for all.
      text: only jobs with this text in their actor, arguments, error, group or id; at most
        `MAX_TEXT` characters.

    Raises:
      BadQuery: one of them is invalid.
    """
    if state not in set(State):
        raise BadQuery("state_invalid", not_one_of("state", state, State))
    if not 1 <= limit <= MAX_LIMIT:
        raise BadQuery("limit_invalid", wrong("limit", limit, f"1 to {MAX_LIMIT}"))
    place = _place(cursor) if cursor else None
    check_text(text)
    found = states.after(State(state), place, limit + 1, queue=queue, text=text)
    if len(found) <= limit:
        return found, None
    since, job_id = states.place_of(found[limit - 1], State(state))
    return found[:limit], f"{since!r},{job_id}"


def _place(cursor: str) -> states.Place:
    """The place after which a page begins."""
    since, comma, job_id = cursor.partition(",")
    with suppress(ValueError):
        is_id = 0 < len(job_id) <= Job.id.max_length and b"\0" not in job_id.encode()
        if comma and is_id and math.isfinite(moment := float(since)):
            return moment, job_id
    raise BadQuery("cursor_invalid", wrong("cursor", cursor, "`next` of the page before"))


def check_text(text: str) -> None:
    """Raise `BadQuery` unless one may search for a text."""
    if len(text) > MAX_TEXT:
        raise BadQuery("q_invalid", f"q has {len(text)} characters: use at most {MAX_TEXT}.")


@needs(Job)
def busy() -> Counter[str]:
    """How many threads each worker process uses now, by its id."""
    leased = Job.select(Job.leased_by, fn.COUNT(Job.id)).where(Job.leased_by.is_null(False))
    rows: list[Any] = list(leased.group_by(Job.leased_by).tuples())
    return Counter(dict(rows))


@needs(Job)
def get_job(job_id: str) -> Job:
    """A job that is not done yet.

    Raises:
      NotFound
    """
    job: Job | None = Job.get_or_none(Job.id == job_id)
    if job is None:
        raise _no_such_job()
    return job


def _no_such_job() -> NotFound:
    return NotFound("job_not_found", "There is no such job. It may be done already.")


def retry(job_id: str) -> Job:
    """Run a dead job again, or a scheduled or retrying job now.

    Raises:
      NotFound, Conflict
    """
    get_job(job_id)
    try:
        return dead.retry(job_id)
    except NoSuchJob:
        raise Conflict(
            "job_not_idle", "The job waits for a worker already, or is running."
        ) from None


def drop(job_id: str) -> None:
    """Delete a job that is not running.

    Raises:
      NotFound, Conflict
    """
    try:
        dropping.drop(job_id)
    except JobIsRunning:
        raise Conflict(
            "job_running", "The job is running. If it fails, it can be deleted then."
        ) from None
    except NoSuchJob:
        raise _no_such_job() from None


def clear(state: str, *, queue: str = "", text: str = "") -> int:
    """Delete all jobs that `page_of()` lists, and return how many.

    Raises:
      BadQuery: the text is too long, or the state is none whose jobs can be deleted.
    """
    check_clearable(state)
    check_text(text)
    return dropping.clear(State(state), queue=queue, text=text)


def check_clearable(state: str) -> None:
    """Raise `BadQuery` unless the jobs in a state can be deleted."""
    clearable = [each.value for each in State if each is not State.RUNNING]
    if state not in clearable:
        raise BadQuery("state_invalid", not_one_of("state", state, clearable))


def all_dead(do: Callable[[str], Any], *, queue: str = "", text: str = "") -> None:
    """Retry or drop all dead jobs, or those that `page_of()` lists for a queue and a text.

    Raises:
      BadQuery: the text is too long.
    """
    check_text(text)
    place = None
    # A few at a time, as each has a traceback. Those that die meanwhile come before the first ones.
    while found := states.after(State.DEAD, place, MAX_LIMIT, queue=queue, text=text):
        place = states.place_of(found[-1], State.DEAD)
        for job in found:
            with suppress(NoSuchJob):  # somebody else has, meanwhile
                do(job.id)


def set_paused(queue: str, paused: bool, weights: Mapping[str, QueueWeight] | None = None) -> Queue:
    """Pause a queue, or resume it.

    Parameters:
      weights: as for `queues()`.

    Raises:
      NotFound
    """
    known = named_queue(queue, weights)
    (worker_rows.pause if paused else worker_rows.resume)(queue)
    return replace(known, paused=paused)


def named_queue(name: str, weights: Mapping[str, QueueWeight] | None = None) -> Queue:
    """The queue with that name.

    Parameters:
      weights: as for `queues()`.

    Raises:
      NotFound
    """
    known = {found.name: found for found in queues(weights)}
    if name not in known:
        raise NotFound(
            "queue_not_found", f"There is no queue {name}. There are: {', '.join(known)}."
        )
    return known[name]


def set_quiet(worker_id: str, quiet: bool) -> None:
    """Make a worker process quiet, or make it work again.

    Raises:
      NotFound
    """
    try:
        worker_rows.quiet(worker_id, quiet=quiet)
    except NoSuchWorker:
        raise NotFound("worker_not_found", f"There is no worker {worker_id}.") from None


def history(name: str) -> list[Span]:
    """The spans of the last hour, day or month.

    Raises:
      BadQuery
    """
    if name not in HISTORIES:
        raise BadQuery("span_invalid", not_one_of("span", name, HISTORIES))
    return spans(*HISTORIES[name])


def moment(at: float | None) -> str | None:
    """Seconds since the epoch in the format of RFC 3339, with milliseconds. It knows no year after
    9999, where a row may have one: somebody took milliseconds for seconds."""
    if at is None:
        return None
    written = datetime.fromtimestamp(min(at, NEVER), UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")


def job_json(job: Job) -> dict[str, Any]:
    """A job as JSON."""
    state = states.state_of(job)
    return {
        "id": job.id,
        "state": state.value,
        "actor": job.actor,
        "queue": job.queue,
        "group": job.group,
        "throttled": state is State.WAITING and job.held,
        "arguments": _as_json(job.arguments),
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


def _as_json(value: Any) -> Any:
    """An argument as every encoder of JSON takes it, and every client reads it: NaN, the infinities
    and half of a surrogate pair (as the name of a file in another encoding has) are written out."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    if isinstance(value, dict):
        return {_as_json(key): _as_json(each) for key, each in value.items()}
    return value


def queue_json(queue: Queue) -> dict[str, Any]:
    """A queue as JSON."""
    counts = {state.value: getattr(queue.stats, state.value) for state in State}
    return {
        "name": queue.name,
        "weight": queue.weight,
        "max": queue.max,
        "paused": queue.paused,
        **counts,
        "throttled": queue.throttled,
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
        "clock_off_s": worker.clock_off_s,
        "quiet": worker.quiet,
    }


def stats_json(span: str) -> dict[str, Any]:
    """The stats as JSON: the totals, the spans of one graph, and the recurring jobs."""
    done = failed = 0
    for total in totals():
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
            for job in recurring.recurring_jobs()
        ],
    }
