"""A database that gets all rows: it must be empty. A SQLite file appears once it is complete."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import peewee

from gifster.app import database as databases
from gifster.app.backup import BackupError
from gifster.app.backup.snapshot import sync, without_time_limits
from gifster.app.settings.sections import sqlite_file

#: An installation without any of these has nothing to lose. Processes that wait for people write
#: into other tables.
PRECIOUS = ("user", "gif", "outbox")


def why_not_empty(url: str) -> str:
    """What a database has already; empty if it has nothing to lose."""
    if url.startswith("sqlite"):
        file = sqlite_file(url).absolute()
        is_there = file.exists() and not _is_blank(file)
        return f"there is a database in {file} already" if is_there else ""
    with opened(url) as database:
        tables = database.get_tables()
        if tables and databases.APPLIED not in tables:
            return f"the database has a table {tables[0]!r}, which is not Gifster's"
        return _why_not_empty(database, tables)


def outbox_of(url: str) -> str | None:
    """The name of the outbox of a database, which a restore has given it; None without one."""
    if url.startswith("sqlite"):
        file = sqlite_file(url).absolute()
        if not file.exists() or _is_blank(file):
            return None
    with opened(url) as database:
        if "outbox_identity" not in database.get_tables():
            return None
        row = database.execute_sql("SELECT name FROM outbox_identity WHERE id = 1").fetchone()
        return None if row is None else str(row[0])


def _is_blank(file: Path) -> bool:
    """Whether a SQLite file has no tables: somebody has opened a database that was not there."""
    if not file.stat().st_size:
        return True
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as found:
            return not found.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.Error:
        return False


def _why_not_empty(database: peewee.Database, tables: list[str]) -> str:
    for name in PRECIOUS:
        first = f'SELECT 1 FROM "{name}" LIMIT 1'  # noqa: S608 ours
        if name in tables and database.execute_sql(first).fetchall():
            return f"the database has rows in the table {name!r} already"
    return ""


def refuse_full(url: str) -> None:
    """Check that a database is empty.

    Raises:
      BackupError: it is not.
      ChangesLeft: a SQLite file was moved away without its changes.
    """
    _refuse(why_not_empty(url))
    if url.startswith("sqlite"):
        file = sqlite_file(url)
        if not file.exists() or not file.stat().st_size:
            databases.refuse_changes_left(file)


def _refuse(reason: str) -> None:
    if reason:
        raise BackupError(
            f"{reason}: all rows go into a database that is empty. Name another one, or move that "
            "one away"
        )


@contextmanager
def filling(url: str) -> Iterator[peewee.Database]:
    """A migrated, empty database of PostgreSQL in a transaction, in which nobody else can write. A
    web process that runs with it may have taken something since `refuse_full()`.

    Raises:
      BackupError: it is not empty.
    """
    with opened(url) as target:
        databases.migrate(target)
    with opened(url) as target, target.atomic():
        without_time_limits(target)
        names = target.get_tables()
        quoted = ", ".join(f'"{name}"' for name in names)
        target.execute_sql(f"LOCK TABLE {quoted} IN SHARE ROW EXCLUSIVE MODE")
        _refuse(_why_not_empty(target, names))
        yield target


@contextmanager
def opened(url: str) -> Iterator[peewee.Database]:
    """A database beside the application's, with an open connection."""
    database = databases.opened(url)
    try:
        with database.connection_context():
            yield database
    finally:
        database.close_all()  # type: ignore[attr-defined]  # it is a pool


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A path for a SQLite file. At the end of the block the file gets the name that it was made
    for, unless another one has that name by then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = unfinished(path)
    remove_file(part)
    try:
        yield part
        sync(part)
        is_blank = path.exists() and _is_blank(path.absolute())
        databases.refuse_changes_left(path)  # also those of somebody who has a blank one open
        if is_blank:
            path.unlink()
        os.link(part, path)
        sync(path.parent)
    except FileExistsError:
        raise BackupError(
            f"somebody has made a database in {path.absolute()} meanwhile: move it away, and start "
            "again"
        ) from None
    finally:
        remove_file(part)


def unfinished(path: Path) -> Path:
    """The name of a SQLite file until it is complete."""
    return path.with_name(f".{path.name}.part")


def remove_file(path: Path) -> None:
    """Remove a SQLite file, if it is there, and what a killed process left beside it."""
    for each in (path, *(path.with_name(path.name + suffix) for suffix in databases.BESIDE)):
        each.unlink(missing_ok=True)
