"""The command itself, and what its parts share: settings, broker, database, progress.

Modules are imported where a command needs them: `gifster --help` loads no web server.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import click
from rich.console import Console

from gifster.app.logs import escaped, escaped_lines
from gifster.app.settings import SUPERVISED, Settings, SettingsError, load

T = TypeVar("T")


class Refused(click.ClickException):
    """A command that cannot be carried out: its message, and exit status 1."""

    def show(self, file: object = None) -> None:
        say(f"gifster: {self.message}", err=True)


def text(argument: str) -> str:
    """The type of arguments that are text. The system hands over bytes that are no UTF-8 as lone
    surrogates, which no database takes."""
    from gifster.uploads.text import has_controls, is_text

    if not is_text(argument) or has_controls(argument):
        raise click.BadParameter(f"{argument!r} has characters that are no text.")
    return argument


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gifster")
@click.pass_context
def cli(context: click.Context) -> None:
    """Gifster, a self-hosted GIF library.

    Settings come from settings.toml in this folder and from GIFSTER_SECTION__KEY variables.
    """
    from gifster.app.private import keep_private

    if context.invoked_subcommand != "install":  # which writes files of the application's source
        keep_private()


def say(line: str, *, err: bool = False) -> None:
    """Print a line, with control characters escaped: names of files and errors may have any."""
    click.echo(escaped(line), err=err)


def say_lines(text: str) -> None:
    """Print several lines, likewise."""
    click.echo(escaped_lines(text))


def settings_here() -> Settings:
    try:
        return load()
    except SettingsError as error:
        raise Refused(str(error)) from None


def connect_our_broker(settings: Settings) -> None:
    """Our broker for what a command enqueues; else Dramatiq would take one of its own choice."""
    from gifster.app.boot import connect_broker

    check_broker(settings)
    connect_broker(settings)


def check_broker(settings: Settings) -> None:
    """Raises `Refused` if no broker is set and none runs here; connects to none."""
    from gifster.app.boot import broker_url
    from gifster.app.valkey import NoEmbeddedBroker

    try:
        broker_url(settings)
    except NoEmbeddedBroker as error:
        raise Refused(str(error)) from None


@contextmanager
def open_database(settings: Settings) -> Iterator[None]:
    """A connection to the database, for a command."""
    from gifster.app.boot import configure
    from gifster.app.database import db

    configure(settings)
    with refused_by_the_database(), db.connection_context():
        yield


@contextmanager
def refused_by_the_database() -> Iterator[None]:
    """Say in a line what is wrong with the database, where something is."""
    from gifster.app.faults import fault_of, is_database_error

    try:
        yield
    except Exception as error:
        if not is_database_error(error):
            raise
        fault, reason = fault_of(error), " ".join(str(error).split())
        said = f"the database {fault} ({reason})" if fault else reason
        raise Refused(f"the database cannot be used: {said} (gifster doctor)") from None


def progress(what: str, items: Iterator[T], total: int) -> Iterator[T]:
    from rich.progress import track

    yield from track(items, what, total, console=Console(stderr=True))


def end_with_supervisor() -> None:
    if supervisor := os.environ.get(SUPERVISED):
        from gifster.jobs.parent import end_with_parent

        end_with_parent(parent=int(supervisor))
