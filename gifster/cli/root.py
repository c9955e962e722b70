"""The command itself, and what its modules share: settings, broker, database, progress.

A command imports what it needs when it runs: `gifster --help` loads no settings, no web server, no
images and no database.
"""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gifster import __version__
from gifster.app.errors import SettingsError
from gifster.app.logs import escaped, escaped_lines
from gifster.app.numbers import counted

if TYPE_CHECKING:
    from datetime import datetime

    from gifster.app.settings import Settings

T = TypeVar("T")
#: Locked by the `gifster dev` that runs in this folder; has its process and its port.
DEV_LOCK = Path("var/dev.lock")


class Refused(click.ClickException):
    """A command cannot be carried out. Prints its message; the exit status is 1."""

    def show(self, file: object = None) -> None:
        say(f"gifster: {self.message}", err=True)


def refusal(error: Exception) -> Refused:
    """The `Refused` of an error with a sentence for people, which pages show, too. A command's line
    goes on after its name: it begins in lower case, and has no full stop."""
    said = str(error).removesuffix(".")
    first = said.partition(" ")[0]
    ordinary = first == "A" or (first[1:].isalpha() and first[1:].islower() and first != "Gifster")
    return Refused(said[:1].lower() + said[1:] if ordinary else said)


def text(argument: str) -> str:
    """The type of arguments that are text. The system passes bytes that are not UTF-8 as lone
    surrogates, which no database takes."""
    from gifster.uploads.text import has_controls, is_text

    if not is_text(argument) or has_controls(argument):
        raise click.BadParameter(
            f"{argument!r} has control characters, or bytes that are not UTF-8: leave them out."
        )
    return argument


def path(argument: str) -> Path:
    """The type of arguments that are paths. An empty one, of a variable that is not set, would be
    this folder: an import of it adds the versions that are in its store."""
    if not argument:
        raise click.BadParameter("it is empty: name a file or a folder.")
    return Path(argument)


class Commands(click.Group):
    """The group of all commands, which turns what can go wrong in each into `Refused`: wrong
    settings, a full disk, a file of another user's. Click ends a command whose output nobody reads
    any more, as `gifster … | head` does."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BrokenPipeError as error:
            if _is_unread():
                raise
            raise Refused(reason_of(error)) from None  # of a server
        except SettingsError as error:
            raise Refused(str(error)) from None
        except OSError as error:
            raise Refused(reason_of(error)) from None


def reason_of(error: OSError) -> str:
    """What a command says of an error of the system: which file, and what is wrong with it."""
    if error.strerror is None:
        return str(error) or type(error).__name__
    named = error.filename if error.filename2 is None else error.filename2
    return error.strerror if named is None else f"{named}: {error.strerror}"


def _is_unread() -> bool:
    """Whether nobody reads the output any more, as in `gifster … | head`."""
    output = select.poll()
    for standard in (1, 2):
        output.register(standard, 0)
    return bool(output.poll(0))  # an error, a hang-up, or a closed file


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gifster")
@click.pass_context
def cli(context: click.Context) -> None:
    """Gifster, a self-hosted GIF library.

    Settings come from settings.toml in this folder and from GIFSTER_SECTION__KEY variables.
    """
    from gifster.app.private import keep_private

    if context.invoked_subcommand != "install":  # it writes an application's source files
        keep_private()


def say(line: str, *, err: bool = False) -> None:
    """Print a line, with control characters escaped: names of files and errors may have some."""
    click.echo(escaped(line), err=err)


def say_lines(text: str) -> None:
    """Print several lines, likewise."""
    click.echo(escaped_lines(text))


def settings_here() -> "Settings":
    """The settings of this folder. Raises `Refused` if they are wrong. Peewee is loaded now, with
    the drivers that they need."""
    from gifster.app.drivers import load_peewee
    from gifster.app.settings import load

    try:
        settings = load()
    except SettingsError as error:
        raise Refused(str(error)) from None
    load_peewee(settings.database.url)
    return settings


def settings_of_running() -> "Settings":
    """The settings of this folder, for a command that says an address: with the port of the
    `gifster dev` that runs here."""
    from gifster.app.settings import PREFIX

    settings = settings_here()
    port = None if f"{PREFIX}WEB__PORT" in os.environ else port_of_dev()
    if port is None:
        return settings
    return settings.model_copy(update={"web": settings.web.model_copy(update={"port": port})})


def port_of_dev() -> int | None:
    """The port of the `gifster dev` that runs in this folder; None if none does."""
    try:
        process, port = map(int, DEV_LOCK.read_text("ascii").split())
        os.kill(process, 0)
    except (OSError, ValueError, OverflowError):
        return None
    return port if 0 < port < 65536 else None


def connect_our_broker(settings: "Settings") -> None:
    """Connect the settings' broker, for a command that enqueues; Dramatiq would choose its own."""
    from gifster.app.boot import connect_broker

    check_broker(settings)
    connect_broker(settings)


def check_broker(settings: "Settings") -> None:
    """Raises `Refused` if no broker is set and none runs here. Opens no connection."""
    from gifster.app.boot import broker_url
    from gifster.app.valkey import NoEmbeddedBroker

    try:
        broker_url(settings)
    except NoEmbeddedBroker as error:
        raise Refused(str(error)) from None


def check_installation(settings: "Settings") -> None:
    """Raises `Refused` if there is no installation here, or if a later release has migrated its
    database; says where it looked."""
    from gifster.app import installation
    from gifster.app.database import NewerDatabase

    try:
        installation.check(settings)
    except (installation.NoInstallation, NewerDatabase) as error:
        raise Refused(str(error)) from None


def wait_until_migrated(settings: "Settings") -> None:
    """Wait until the database is up to date, and say so once.

    Raises:
      Refused: there is no installation here any more, or a later release has migrated it.
    """
    from gifster.app import installation
    from gifster.app.database import NewerDatabase

    try:
        installation.wait_until_migrated(settings, lambda why: say(f"gifster: {why}", err=True))
    except (installation.NoInstallation, NewerDatabase) as error:
        raise Refused(str(error)) from None


@contextmanager
def open_database(settings: "Settings") -> Iterator[None]:
    """A connection to the database of this installation, for a command.

    Raises:
      Refused: there is no installation here, its schema is not up to date, or the database fails.
    """
    from gifster.app.boot import configure
    from gifster.app.database import db, pending_migrations

    check_installation(settings)
    configure(settings)
    with refused_by_the_database():
        if pending := pending_migrations():
            raise Refused(
                f"the database is not up to date ({counted(len(pending), 'pending migration')}): "
                "run gifster migrate"
            )
        with db.connection_context():
            yield


@contextmanager
def account_errors(settings: "Settings | None" = None) -> Iterator[None]:
    """A connection to the database, for a command that needs nothing else; errors of the
    application become `Refused`."""
    from gifster.app.errors import LibraryError

    with open_database(settings or settings_here()):
        try:
            yield
        except LibraryError as error:
            raise refusal(error) from None


@contextmanager
def refused_by_the_database() -> Iterator[None]:
    """Turn errors of the database into `Refused`, which says in a line what is wrong."""
    from gifster.jobs.database_errors import fault_of, is_database_error

    try:
        yield
    except Exception as error:
        if not is_database_error(error):
            raise
        fault, reason = fault_of(error), " ".join(str(error).split())
        said = f"the database {fault} ({reason})" if fault else reason
        raise Refused(f"the database cannot be used: {said}; gifster doctor checks it") from None


def when(moment: "datetime | None") -> str:
    """A moment in UTC as commands show it, such as "2026-11-27 07:39:17Z"; empty for none."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def progress(what: str, items: Iterator[T], total: int) -> Iterator[T]:
    """The items, with a progress bar on standard error. It appears once there is a first item: if
    there is an error instead, the error stands alone."""
    from rich.console import Console
    from rich.progress import track

    first = list(islice(items, 1))
    yield from track(chain(first, items), what, total, console=Console(stderr=True))


def taken_queues() -> set[str]:
    """The queues that a running worker takes jobs from, unless they are paused."""
    from gifster import jobs

    working = [worker for worker in jobs.workers() if worker.alive and not worker.quiet]
    return {queue for worker in working for queue in worker.queues.split()}


def end_with_supervisor() -> None:
    """Have this process end when the `gifster dev` that started it does."""
    from gifster.app.settings import SUPERVISED

    if SUPERVISED in os.environ:
        from gifster.jobs import parent

        parent.end_with_supervisor()
