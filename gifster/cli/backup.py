"""Backups: `backup`, `backups`, `restore`; and `database copy`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gifster.app.numbers import counted
from gifster.cli.root import (
    Refused,
    cli,
    open_database,
    path,
    reason_of,
    refused_by_the_database,
    say,
    settings_here,
    text,
)

if TYPE_CHECKING:
    from gifster.app.backup.repository import Backup
    from gifster.app.settings import Settings


@cli.command()
@click.argument("folder", type=path)
@click.option("--keep", type=click.IntRange(1), help="Keep only so many backups, the last ones.")
def backup(folder: Path, keep: int | None) -> None:
    """Make a backup in a FOLDER, while Gifster runs.

    A backup has the database, all stored files, and what waits in the cache and the outbox, as they
    are at one moment. Each backup in the folder is complete; files that an earlier one has are not
    copied again. Gifster goes on meanwhile, and nobody notices.

    The exit status is 1 if a file is missing or damaged; the backup has all the others.
    """
    from gifster.app.backup import making
    from gifster.app.backup.repository import open_repository
    from gifster.app.boot import check_files
    from gifster.app.database import db

    settings = settings_here()
    with _refusals(f"there is no new backup in {folder}"), open_database(settings):
        _refuse_within(folder, settings)
        repository = open_repository(folder, new=True)
        with repository.locked():
            with _counting("copying") as copied:
                done = making.make(
                    repository, db.obj, settings, check_files(settings),
                    making.Progress(tell=lambda so_far: copied(so_far.files, so_far.bytes)),
                )  # fmt: skip
            _tell(done)  # it is there, whatever becomes of the older ones
            removed = making.prune(repository, keep) if keep else 0
    if removed:
        say(f"{removed:,} older removed")
    sys.exit(1 if done.facts.faults else 0)


def _tell(made: "Backup") -> None:
    facts = made.facts
    for fault in facts.faults:
        say(fault, err=True)
    say(
        f"{made.name}: {counted(facts.files, 'file')} ({_size(facts.bytes)}), "
        f"{facts.new_files:,} of them new ({_size(facts.new_bytes)}); "
        f"the database has {_size(made.database.stat().st_size)}"
    )
    if not (made.folder / "secret").exists():
        say("GIFSTER_UPLOADS__SECRET is not in it: keep it elsewhere")


@cli.command()
@click.argument("folder", type=path)
@click.option("--verify", is_flag=True, help="Read all of them, and compare each file's SHA-256.")
def backups(folder: Path, verify: bool) -> None:
    """List the backups in a FOLDER, oldest first."""
    from gifster.app.backup import BackupError
    from gifster.app.backup.repository import Removed, open_repository
    from gifster.app.backup.restoring import faults

    unreadable: list[str] = []
    with _refusals():
        repository = open_repository(folder)
        found = repository.backups(unreadable)
        for reason in unreadable:
            say(reason, err=True)
        damaged = bool(unreadable)
        contents = repository.damaged() if verify else set()
        for each in found:
            said, bad = "", 0
            if each.facts.faults:
                said = f", {counted(len(each.facts.faults), 'fault')}"
            try:
                if verify:
                    with each.in_use():
                        for fault in faults(repository, each, contents):
                            bad += 1
                            say(f"{each.name}: {fault}", err=True)
                    said += f", DAMAGED: {counted(bad, 'file')}" if bad else ", verified"
            except Removed:
                continue
            except BackupError as error:
                bad += 1
                said += f", DAMAGED: {error}"
            damaged |= bad > 0
            say(
                f"{each.name}  {counted(each.facts.files, 'file')}, {_size(each.facts.bytes)}{said}"
            )
    sys.exit(1 if damaged else 0)


@cli.command()
@click.argument("folder", type=path)
@click.option("--backup", "name", type=text, help="Its name (gifster backups); else the last.")
@click.option(
    "--skip-damaged", is_flag=True, help="Leave out files that the backup has lost, and list them."
)
def restore(folder: Path, name: str | None, skip_damaged: bool) -> None:
    """Restore a backup from a FOLDER into an empty installation.

    The restore fills the database, the cache and the store that the settings name. They may be of
    any kind, and must be empty. Uploads that waited are stored once workers run. People have to log
    in again. If a restore was interrupted, start it again, and it goes on where it ended.

    The exit status is 1 if the restore is not complete: it says why, or lists what was left out.
    """
    from gifster.app.backup import restoring
    from gifster.app.backup.repository import open_repository
    from gifster.app.boot import configure_storages
    from gifster.app.private import refuse_served_secrets

    settings = settings_here()
    with _refusals("the restore has not finished"):
        refuse_served_secrets(settings)
        repository = open_repository(folder)
        chosen = repository.backup(name)
        configure_storages(settings)
        with _counting("restoring") as restored:
            files = size = 0

            def count(bytes_: int) -> None:
                nonlocal files, size
                files, size = files + 1, size + bytes_
                restored(files, size)

            left_out = restoring.restore(
                repository, chosen, settings, count, skip_damaged=skip_damaged
            )
        where = settings.database.file
        into = "the database server" if where is None else str(where.absolute())
        say(f"{chosen.name} is restored: {counted(files, 'file')} ({_size(size)}), and {into}")
        if restoring.has_other_secret(chosen, settings):
            say(
                "the secret is another one than in the backup: set GIFSTER_UPLOADS__SECRET as it "
                "was there, before you start Gifster"
            )
    for fault in chosen.facts.faults:
        say(f"the backup lacks: {fault}", err=True)
    for fault in left_out:
        say(f"left out: {fault}", err=True)
    sys.exit(1 if left_out else 0)


@cli.group()
def database() -> None:
    """Move the database to another kind or server."""


@database.command("copy")
@click.argument("source", type=text)
@click.argument("target", type=text)
def database_copy(source: str, target: str) -> None:
    """Copy all rows from a database into another one, which is empty.

    SOURCE and TARGET are URLs as in database.url. Stop all processes of Gifster first; then name
    the TARGET in database.url, and start them. The command refuses a SOURCE that another process
    has open. The files stay where they are. Each table is read back and compared. If the command
    fails, TARGET has no rows. Other users of this machine see what is written here: leave a
    password to PGPASSWORD or to ~/.pgpass.

    Example: gifster database copy sqlite:///var/gifster.db postgresql://gifster@db/gifster
    """
    from pydantic import TypeAdapter, ValidationError

    from gifster.app.backup.moving import copy_database, refuse_used
    from gifster.app.settings.values import DatabaseUrl

    for name, url in (("SOURCE", source), ("TARGET", target)):
        try:
            TypeAdapter(DatabaseUrl).validate_python(url)
        except ValidationError as error:
            raise Refused(f"{name}: {error.errors()[0]['ctx']['error']}") from None
    if source == target:
        raise click.UsageError("SOURCE and TARGET are the same: name two different databases")
    with _refusals():
        refuse_used(source)
        rows = copy_database(source, target, lambda table, n: say(f"{table:<20} {n:>12,}"))
    are = "is" if rows == 1 else "are"
    say(f"{counted(rows, 'row')} {are} copied, read back and the same")


def _refuse_within(folder: Path, settings: "Settings") -> None:
    """Raises `Refused` if the backups would be in a folder of Gifster's own files."""
    for section, kept in (("store", settings.store), ("cache", settings.cache)):
        if kept.kind == "local" and folder.resolve().is_relative_to(kept.root.resolve()):
            raise Refused(
                f"{folder} is in {section}.root, whose files Gifster serves or sweeps: name a "
                "folder elsewhere, best on another disk"
            )


@contextmanager
def _refusals(so: str = "") -> Iterator[None]:
    """What can go wrong becomes `Refused`, which says it in a line.

    Parameters:
      so: what it means, for errors of the system: a full disk says no more than that it is full.
    """
    import sqlite3

    from gifster.app.backup import BackupError
    from gifster.app.database import DatabaseUnavailable
    from gifster.uploads import StorageUnavailable

    try:
        with refused_by_the_database():
            yield
    except (BackupError, DatabaseUnavailable, StorageUnavailable, sqlite3.Error) as error:
        raise Refused(str(error)) from None
    except OSError as error:
        if not so or isinstance(error, BrokenPipeError):
            raise
        raise Refused(f"{so}: {reason_of(error)}") from None


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A line on standard error that counts files and bytes, if people look at it."""
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield lambda files, size: status.update(f"{what}: {counted(files, 'file')}, {_size(size)}")


def _size(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
