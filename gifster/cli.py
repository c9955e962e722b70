"""The `gifster` command: one thin function for each thing it can do.

Modules are imported where a command needs them: `gifster --help` loads no web server.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click
from rich.console import Console
from rich.table import Table

from gifster.settings import SUPERVISED, Settings, SettingsError, load

if TYPE_CHECKING:
    from gifster.jobs import Job

T = TypeVar("T")


class Refused(click.ClickException):
    """A command that cannot be carried out: its message, and exit status 1."""

    def show(self, file: object = None) -> None:
        click.echo(f"gifster: {self.message}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gifster")
def cli() -> None:
    """Gifster, a self-hosted GIF library.

    Settings come from settings.toml in this folder and from GIFSTER_SECTION__KEY variables.
    """


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The web server's port.")
def dev(port: int | None) -> None:
    """Run everything on this machine: broker, web, workers, scheduler."""
    from gifster import supervisor

    try:
        supervisor.run(port)
    except supervisor.SupervisorError as error:
        raise Refused(str(error)) from None


@cli.command()
def web() -> None:
    """Run the web server."""
    from granian import Granian
    from granian.constants import Interfaces

    settings = _settings()
    _end_with_supervisor()
    Granian(
        "gifster.api.app:build",
        factory=True,
        interface=Interfaces.ASGI,
        address=settings.web.host,
        port=settings.web.port,
        workers=settings.web.workers,
        websockets=False,
        # Slow uploads are many open requests that cost next to nothing.
        backlog=4096,
        backpressure=4000,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
    ).serve()


@cli.command()
def worker() -> None:
    """Run workers: `dramatiq gifster.actors` with the queues and thread counts of the settings."""
    from dramatiq.cli import main as dramatiq
    from dramatiq.cli import make_argument_parser

    settings = _settings()
    _end_with_supervisor()
    arguments = ["gifster.actors", "--queues", *settings.queues]
    arguments += ["--processes", str(settings.worker.processes)]
    arguments += ["--threads", str(settings.worker.threads)]
    # A process that dies at once is not waited for: Dramatiq's default is half a minute.
    arguments += ["--worker-fork-timeout", "5000"]
    arguments += ["--worker-shutdown-timeout", str(round(settings.worker.grace_s * 1000))]
    sys.exit(dramatiq(make_argument_parser().parse_args(arguments)))


@cli.command()
def scheduler() -> None:
    """Run the scheduler: what is done every so often. More than one may run."""
    from gifster import scheduler as gifster_scheduler
    from gifster.boot import configure, log_to_stderr

    log_to_stderr()
    settings = _settings()
    configure(settings)
    _connect_broker(settings)
    _end_with_supervisor()
    gifster_scheduler.run()


@cli.command()
def migrate() -> None:
    """Bring the database's schema up to date."""
    from gifster import database
    from gifster.boot import configure

    configure(_settings())
    try:
        applied = database.migrate()
    except database.DatabaseUnavailable as error:
        raise Refused(str(error)) from None
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("the schema is up to date")


@cli.command()
def doctor() -> None:
    """Check the broker, the database, the storages and the mail."""
    from gifster.doctor import checks

    table = Table(box=None, show_header=False, pad_edge=False)
    failed = False
    for name, check in checks(_settings()):
        try:
            table.add_row(name, "[green]ok[/green]", check())
        except Exception as error:  # noqa: BLE001 whatever it is, it is the answer
            failed = True
            table.add_row(name, "[red]FAILS[/red]", str(error) or type(error).__name__)
    Console(width=200 if not sys.stdout.isatty() else None).print(table)
    sys.exit(1 if failed else 0)


@cli.command()
@click.option("--repair", is_flag=True, help="Remove what is abandoned, enqueue what is stuck.")
@click.option(
    "--older-than",
    type=click.IntRange(0),
    default=3600,
    show_default=True,
    help="Leave files alone that are younger (seconds): uploads may be under way.",
)
def fsck(repair: bool, older_than: int) -> None:
    """Compare the files with the database, and list what does not fit.

    The scheduler has the same done every hour, with --repair.
    """
    from gifster.uploads.sweep import sweep

    settings = _settings()
    if repair:
        _connect_broker(settings)
    with _database(settings):
        found = sweep(repair=repair, min_age_s=older_than)
    mended = " (mended)" if repair else ""
    for kind, meaning in (
        ("abandoned", f"in the cache, and nothing waits for it{mended}"),
        ("orphans", f"stored, and no row names it{mended}"),
        ("stuck", f"waits, and no job is about it{mended}"),
        ("missing", "a row names it, and it is not there"),
    ):
        for item in getattr(found, kind):
            click.echo(f"{kind:<10} {item}  {meaning}")
    counts = found.counts()
    click.echo(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    sys.exit(1 if (counts["missing"] if repair else sum(counts.values())) else 0)


@cli.command()
@click.argument("model", metavar="MODULE:MODEL")
@click.argument("column")
@click.option("--many", is_flag=True, help="The column has several files (mount_uploaders).")
@click.option("--process", is_flag=True, help="Store at once, and only process in background.")
@click.option("--yes", is_flag=True, help="Overwrite without asking.")
def install(model: str, column: str, many: bool, process: bool, yes: bool) -> None:
    """Adopt gifster.uploads in the Peewee application of this folder.

    Writes the settings block, the migration for COLUMN and its companions, and actors.py for the
    workers; says what to add to the model. What is there stays; running it twice changes nothing.

    Example: gifster install shop.models:User avatar
    """
    from pathlib import Path

    from gifster.install import CannotInstall, Wish
    from gifster.install import install as write

    def may_overwrite(path: Path) -> bool:
        if yes or not sys.stdin.isatty():
            return yes
        return click.confirm(f"{path.name} has other content. Overwrite it?", default=False)

    try:
        for line in write(Wish(model, column, many, process), Path.cwd(), may_overwrite):
            click.echo(line)
    except (CannotInstall, OSError) as error:
        raise Refused(str(error)) from None


@cli.group()
def versions() -> None:
    """What is made of stored images: thumbnails."""


@versions.command("recreate")
@click.argument("ids", nargs=-1)
@click.option("--only", multiple=True, metavar="VERSION", help="Only this version (repeatable).")
@click.option("--no-wait", is_flag=True, help="Enqueue the jobs, and do not wait for them.")
def versions_recreate(ids: tuple[str, ...], only: tuple[str, ...], no_wait: bool) -> None:
    """Make versions again, of the GIFs with these IDS or of all, as background jobs.

    Needs running workers. Interrupted, the jobs go on; it can be run again at any time.
    """
    from gifster.models import Gif
    from gifster.uploads import recreate_all

    settings = _settings()
    _connect_broker(settings)
    with _database(settings):
        where = Gif.id.in_(ids) if ids else None
        total = Gif.select().where(Gif.image.is_null(False), *([where] if ids else [])).count()
        found = recreate_all(Gif.image, only, where)
        try:
            jobs = {job.id for job in _progress("enqueueing", found, total) if job is not None}
        except LookupError as error:
            raise Refused(str(error)) from None
        click.echo(f"{len(jobs)} jobs enqueued, {total - len(jobs)} were waiting already")
        dead = [] if no_wait else list(_wait_for(jobs))
    for job in dead:
        click.echo(f"failed {job.id}: {job.error}", err=True)
    sys.exit(1 if dead else 0)


def _wait_for(ids: set[str]) -> "Iterator[Job]":
    """Wait for jobs, showing how many are done; the result is those that died."""
    import time

    from rich.progress import Progress

    from gifster.jobs import dead, waiting

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("making versions", total=len(ids))
        while left := ids & {job.id for job in waiting()}:
            progress.update(task, completed=len(ids) - len(left))
            time.sleep(0.25)
        progress.update(task, completed=len(ids))
    yield from (job for job in dead() if job.id in ids)


def _progress(what: str, items: "Iterator[T]", total: int) -> "Iterator[T]":
    from rich.progress import track

    yield from track(items, what, total, console=Console(stderr=True))


@cli.group()
def storage() -> None:
    """Where stored files are."""


KINDS = click.Choice(["local", "s3"])


@storage.command("copy")
@click.option("--from", "source", type=KINDS, required=True, help="Where the files are.")
@click.option("--to", "target", type=KINDS, required=True, help="Where they shall be, too.")
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True)
def storage_copy(source: str, target: str, threads: int) -> None:
    """Copy all stored files from this machine to S3, or back, while Gifster runs.

    Both places are described in [store]: root is the folder, bucket and its keys are S3; kind says
    which one is in use. Copy, then change kind and restart, then copy once more: that brings what
    was stored in between. Each file is read back and compared. A run that was stopped goes on where
    it was (var/storage-copy-….done says what has been copied).
    """
    from pathlib import Path

    from gifster.boot import storage as storage_for
    from gifster.uploads import StorageUnavailable
    from gifster.uploads.storage.base import Listing
    from gifster.uploads.storage.copy import CopyDiffers, copy_all, journaled

    if source == target:
        raise click.UsageError("--from and --to are the same")
    store = _settings().store
    if not store.bucket:
        raise Refused("store.bucket is not set: say which bucket (GIFSTER_STORE__BUCKET)")
    kept, goal = (storage_for(store.model_copy(update={"kind": kind})) for kind in (source, target))
    journal = Path(f"var/storage-copy-{source}-{target}.done")
    outcomes = {"copied": 0, "there": 0, "gone": 0}
    try:
        if not isinstance(kept, Listing):
            raise Refused(f"{source} cannot be listed")
        before = journaled(journal)
        keys = sorted(key for key, _ in kept.walk() if key not in before)
        copies = copy_all(kept, goal, keys, journal, threads)
        for copied in _progress("copying", copies, len(keys)):
            outcomes[copied.outcome] += 1
    except (CopyDiffers, StorageUnavailable, OSError) as error:
        raise Refused(f"{error}. What has been copied need not be copied again.") from None
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    click.echo(f"{counts}, {len(before)} by earlier runs")


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

    table = Table("id", "state", "actor", "arguments", "since", "reason", box=None, pad_edge=False)
    with _database(_settings()):
        for job in [*([] if only_dead else waiting()), *dead()]:
            since = datetime.fromtimestamp(job.failed_at or job.created_at, UTC)
            table.add_row(
                job.id,
                "dead" if job.failed_at else "running" if job.leased_by else "waiting",
                f"{job.actor} ({job.queue})",
                " ".join(str(argument) for argument in job.arguments)[:60],
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
    settings = _settings()
    _connect_broker(settings)
    with _database(settings):
        try:
            for job_id in ids or [job.id for job in dead()]:
                change(job_id)
                click.echo(f"{done} {job_id}")
        except NoSuchJob as error:
            raise Refused(str(error)) from None


def _connect_broker(settings: Settings) -> None:
    """Our broker for what a command enqueues; else Dramatiq would take one of its own choice."""
    from gifster.boot import connect_broker
    from gifster.valkey import NoEmbeddedBroker

    try:
        connect_broker(settings)
    except NoEmbeddedBroker as error:
        raise Refused(str(error)) from None


@contextmanager
def _database(settings: Settings) -> Iterator[None]:
    """A connection to the database, for a command."""
    import peewee

    from gifster.boot import configure
    from gifster.database import db

    configure(settings)
    try:
        with db.connection_context():
            yield
    except peewee.DatabaseError as error:
        raise Refused(f"the database cannot be used: {error} (gifster doctor)") from None


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The port of the running web server.")
@click.option("--count", type=click.IntRange(1, 1000), default=12, show_default=True)
def demo(port: int | None, count: int) -> None:
    """Make sample GIFs and upload them to the Gifster that runs on this machine."""
    from gifster.demo import DemoError, run

    settings = _settings()
    try:
        run(settings.web.host, port or settings.web.port, count)
    except DemoError as error:
        raise Refused(str(error)) from None


def _settings() -> Settings:
    try:
        return load()
    except SettingsError as error:
        raise Refused(str(error)) from None


def _end_with_supervisor() -> None:
    if os.environ.get(SUPERVISED):
        from gifster.jobs.parent import end_with_parent

        end_with_parent()


def main() -> None:
    """The way in."""
    try:
        cli()
    except SettingsError as error:
        click.echo(f"gifster: {error}", err=True)
        sys.exit(1)
