"""The jobs: `jobs list|show|retry|drop|clear`, the queues: `jobs queues|pause|resume`, the workers:
`jobs workers|quiet|wake`."""

import json
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from gifster.app.logs import escaped
from gifster.app.numbers import counted
from gifster.cli.root import (
    Refused,
    cli,
    connect_our_broker,
    open_database,
    refusal,
    say,
    say_lines,
    settings_here,
    text,
    when,
)

as_json = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")


@cli.group()
def jobs() -> None:
    """Look at background jobs, queues and workers, and control them.

    A dead job is one whose retries ran out, or over which five workers died. The page /jobs shows
    the same to admins.
    """


@jobs.command("list")
@click.option("--dead", "only_dead", is_flag=True, help="Only dead jobs.")
@as_json
def jobs_list(only_dead: bool, as_json: bool) -> None:
    """List the jobs that are not done yet."""
    from gifster.jobs import State, find, state_of
    from gifster.jobs.admin import job_json

    columns = ["id", "state", "actor", "arguments", "failed", "since", "due", "reason"]
    rows: list[list[str]] = []
    with open_database(settings_here()):
        found = [job for s in ([State.DEAD] if only_dead else State) for job in find(s)]
    if as_json:
        _print_json([job_json(job) for job in found])
    else:
        for job in found:
            state = state_of(job)
            due = state in (State.SCHEDULED, State.RETRYING)
            rows.append([
                job.id,
                state.value,
                f"{job.actor} ({job.queue})",
                " ".join(str(argument) for argument in job.arguments)[:60],
                f"{job.attempts}×" if job.attempts else "",
                _moment(job.failed_at or job.created_at),
                _moment(job.due_at) if due else "",
                (job.error or "")[:80],
            ])  # fmt: skip
        _print(columns, rows, "no dead jobs" if only_dead else "no jobs: everything is done")


@jobs.command("show")
@click.argument("job_id", metavar="ID", type=text)
def jobs_show(job_id: str) -> None:
    """Show everything about a job, with its last traceback."""
    from gifster.jobs import Job, state_of

    with open_database(settings_here()):
        job = Job.get_or_none(Job.id == job_id)
    if job is None:
        raise Refused(f"there is no job {job_id}: it may be done already")
    moments = {
        name: getattr(job, name) for name in ("created_at", "due_at", "started_at", "failed_at")
    }
    facts = {
        "id": job.id,
        "state": state_of(job).value,
        "actor": job.actor,
        "queue": job.queue,
        "arguments": json.dumps(job.arguments, ensure_ascii=False),
        **{name: _moment(at) for name, at in moments.items() if at},
        "failed": f"{job.attempts}×; {job.deaths} workers died over it",
        "worker": f"{job.leased_by} {job.thread}" if job.leased_by else "",
        "reason": job.error or "",
    }
    for name, value in facts.items():
        if value:
            say(f"{name:<11} {value}")
    if job.traceback:
        say_lines(f"\n{job.traceback.rstrip()}")


@jobs.command("retry")
@click.argument("ids", nargs=-1, type=text)
@click.option("--all", "everything", is_flag=True, help="All dead jobs.")
def jobs_retry(ids: tuple[str, ...], everything: bool) -> None:
    """Run jobs now, by their ids: dead, scheduled or retrying ones."""
    from gifster.jobs import retry

    _each_job(ids, everything, "sent again", retry)


@jobs.command("drop")
@click.argument("ids", nargs=-1, type=text)
@click.option("--all", "everything", is_flag=True, help="All dead jobs.")
def jobs_drop(ids: tuple[str, ...], everything: bool) -> None:
    """Delete jobs, by their ids.

    A job can be deleted while it waits, is scheduled, or waits for a retry, and when it is dead. A
    running job is refused.
    """
    from gifster.jobs import drop

    _each_job(ids, everything, "dropped", drop)


@jobs.command("clear")
@click.argument("state", type=click.Choice(["waiting", "scheduled", "retrying", "dead"]))
@click.option("--queue", default="", type=text, help="Only the jobs of this queue.")
@click.option("--text", "having", default="", type=text, help="Only jobs with this text in them.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
def jobs_clear(state: str, queue: str, having: str, yes: bool) -> None:
    """Delete all jobs in a state.

    To clear a queue: gifster jobs clear waiting --queue NAME

    Jobs that a worker begins meanwhile are not stopped.
    """
    from gifster.app.boot import queue_weights
    from gifster.jobs import State, admin
    from gifster.jobs.states import matching

    settings = settings_here()
    connect_our_broker(settings)
    with open_database(settings):
        try:
            admin.check_text(having)
            if queue:
                admin.named_queue(queue, queue_weights(settings))
            count = matching(State(state), queue=queue, text=having).count()
            if not yes and count and not click.confirm(f"Delete {counted(count, f'{state} job')}?"):
                raise Refused("nothing was deleted")
            dropped = admin.clear(state, queue=queue, text=having)
            say(f"dropped {counted(dropped, f'{state} job')}")
        except admin.AdminError as error:
            raise refusal(error) from None


def _each_job(
    ids: tuple[str, ...], everything: bool, done: str, change: Callable[[str], object]
) -> None:
    from gifster.jobs import NoSuchJob
    from gifster.jobs.admin import all_dead

    def one(job_id: str) -> None:
        change(job_id)
        say(f"{done} {job_id}")

    if bool(ids) == everything:
        raise click.UsageError("name the jobs by their ids (gifster jobs list), or say --all")
    settings = settings_here()
    connect_our_broker(settings)
    with open_database(settings):
        if everything:
            all_dead(one)
        try:
            for job_id in ids:
                one(job_id)
        except NoSuchJob as error:
            raise refusal(error) from None


@jobs.command("queues")
@as_json
def jobs_queues(as_json: bool) -> None:
    """List the queues: their jobs by state, and the oldest one's wait."""
    from gifster.app.boot import queue_weights
    from gifster.jobs import State
    from gifster.jobs.admin import queue_json, queues

    settings = settings_here()
    with open_database(settings):
        found = queues(queue_weights(settings))
    if as_json:
        _print_json([queue_json(queue) for queue in found])
        return
    states = [state.value for state in State]
    rows = [
        [queue.name, str(queue.weight), str(queue.max or ""),
         *(str(getattr(queue.stats, state)) for state in states),
         f"{queue.stats.oldest_s:.0f} s" if queue.stats.waiting else "",
         "paused" if queue.paused else ""]
        for queue in found
    ]  # fmt: skip
    _print(["queue", "weight", "max", *states, "oldest", ""], rows, "no queues")


@jobs.command("pause")
@click.argument("queue", type=text)
def jobs_pause(queue: str) -> None:
    """Pause a queue: its jobs wait, except those that run already."""
    _set_paused(queue, True)
    say(f"paused {queue}: within two seconds no worker begins a job of it")


@jobs.command("resume")
@click.argument("queue", type=text)
def jobs_resume(queue: str) -> None:
    """Resume a paused queue."""
    _set_paused(queue, False)
    say(f"resumed {queue}")


def _set_paused(queue: str, paused: bool) -> None:
    from gifster.app.boot import queue_weights
    from gifster.jobs.admin import NotFound, set_paused

    settings = settings_here()
    with open_database(settings):
        try:
            set_paused(queue, paused, queue_weights(settings))
        except NotFound as error:
            raise refusal(error) from None


@jobs.command("workers")
@as_json
def jobs_workers(as_json: bool) -> None:
    """List the worker processes and their state."""
    from gifster.jobs import workers
    from gifster.jobs.admin import busy, worker_json

    with open_database(settings_here()):
        found, running = workers(), busy()
    if as_json:
        _print_json([worker_json(worker, running[worker.id]) for worker in found])
        return
    rows = []
    for worker in found:
        state = "quiet" if worker.quiet else "working"
        rows.append(
            [worker.id, worker.queues, f"{running[worker.id]} of {worker.threads}",
             f"{worker.memory_bytes / 2**20:.0f} MB", _moment(worker.started_at),
             state if worker.alive else f"not seen since {_moment(worker.seen_at)}"]
        )  # fmt: skip
    columns = ["worker", "queues", "busy", "memory", "since", "state"]
    _print(columns, rows, "no workers: start one with `gifster worker`")


@jobs.command("quiet")
@click.argument("worker", type=text)
def jobs_quiet(worker: str) -> None:
    """Make a worker process take no new jobs.

    gifster jobs workers lists the processes.
    """
    _tell(worker, quiet=True)


@jobs.command("wake")
@click.argument("worker", type=text)
def jobs_wake(worker: str) -> None:
    """Make a quiet worker process take jobs again."""
    _tell(worker, quiet=False)


def _tell(worker: str, *, quiet: bool) -> None:
    from gifster import jobs

    with open_database(settings_here()):
        try:
            jobs.quiet(worker, quiet=quiet)
        except jobs.NoSuchWorker as error:
            raise refusal(error) from None
    say(f"told {worker}: {'it finishes its jobs' if quiet else 'it takes jobs again'}")


def _moment(at: float | None) -> str:
    from datetime import UTC, datetime

    return when(None if at is None else datetime.fromtimestamp(at, UTC))


def _print(columns: list[str], rows: list[list[str]], otherwise: str) -> None:
    if not rows:
        say(otherwise)
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escaped, row))
    # Arguments and errors of jobs may look like markup.
    width = 200 if not sys.stdout.isatty() else None
    Console(width=width, markup=False, highlight=False).print(table)


def _print_json(things: list[dict[str, Any]]) -> None:
    say_lines(json.dumps(things, ensure_ascii=False, indent=2))
