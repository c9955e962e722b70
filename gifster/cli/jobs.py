"""The jobs: `jobs list`, `retry`, `drop`."""

import sys
from collections.abc import Callable

import click
from rich.console import Console
from rich.table import Table

from gifster.cli.root import Refused, cli, connect_our_broker, open_database, settings_here


@cli.group()
def jobs() -> None:
    """Look at background jobs; retry or drop the dead ones.

    A dead job is one whose retries ran out, or over which three workers died.
    """


@jobs.command("list")
@click.option("--dead", "only_dead", is_flag=True, help="Only those that were given up.")
def jobs_list(only_dead: bool) -> None:
    """List the jobs that are not done, oldest first, then the dead."""
    from datetime import UTC, datetime

    from gifster.jobs import dead, waiting

    table = Table(
        "id", "state", "actor", "arguments", "failed", "since", "reason", box=None, pad_edge=False
    )
    with open_database(settings_here()):
        for job in [*([] if only_dead else waiting()), *dead()]:
            since = datetime.fromtimestamp(job.failed_at or job.created_at, UTC)
            table.add_row(
                job.id,
                "dead" if job.failed_at else "running" if job.leased_by else "waiting",
                f"{job.actor} ({job.queue})",
                " ".join(str(argument) for argument in job.arguments)[:60],
                f"{job.attempts}×" if job.attempts else "",
                since.isoformat(" ", "seconds"),
                (job.error or "")[:80],
            )
    if table.row_count:
        Console(width=200 if not sys.stdout.isatty() else None).print(table)
    else:
        click.echo("no dead jobs" if only_dead else "no jobs: everything is done")


@jobs.command("retry")
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead jobs.")
def jobs_retry(ids: tuple[str, ...], everything: bool) -> None:
    """Have dead jobs done after all, by their ids."""
    from gifster.jobs import retry

    _each_dead_job(ids, everything, "sent again", retry)


@jobs.command("drop")
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead jobs.")
def jobs_drop(ids: tuple[str, ...], everything: bool) -> None:
    """Forget dead jobs, by their ids."""
    from gifster.jobs import drop

    _each_dead_job(ids, everything, "dropped", drop)


def _each_dead_job(
    ids: tuple[str, ...], everything: bool, done: str, change: Callable[[str], object]
) -> None:
    from gifster.jobs import NoSuchJob, dead

    if bool(ids) == everything:
        raise click.UsageError("name the jobs by their ids (gifster jobs list), or say --all")
    settings = settings_here()
    connect_our_broker(settings)
    with open_database(settings):
        try:
            for job_id in ids or [job.id for job in dead()]:
                change(job_id)
                click.echo(f"{done} {job_id}")
        except NoSuchJob as error:
            raise Refused(str(error)) from None
