"""The `gifster` command: one thin function for each thing it can do.

Modules are imported where a command needs them: `gifster --help` loads no web server.
"""

import os
import sys

import click
from rich.console import Console
from rich.table import Table

from gifster.settings import SUPERVISED, Settings, SettingsError, load

#: What a stop may take in a worker (ms): time for the jobs that are running.
WORKER_SHUTDOWN_MS = 8_000


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
    arguments += ["--worker-shutdown-timeout", str(WORKER_SHUTDOWN_MS)]
    sys.exit(dramatiq(make_argument_parser().parse_args(arguments)))


@cli.command()
def scheduler() -> None:
    """Run the scheduler: what is done every so often. More than one may run."""
    from gifster import scheduler as gifster_scheduler
    from gifster.boot import boot, log_to_stderr
    from gifster.valkey import NoEmbeddedBroker

    log_to_stderr()
    try:
        boot(_settings())
    except NoEmbeddedBroker as error:
        raise Refused(str(error)) from None
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
