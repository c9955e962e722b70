"""Moves all rows into a database of the other kind, or onto another server: SQLite to PostgreSQL
when a team outgrows one machine, and back."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import peewee

from gifster.app import database as databases
from gifster.app.backup import BackupError
from gifster.app.backup.snapshot import empty_database, frozen
from gifster.app.backup.tables import copy_rows
from gifster.app.backup.targets import filling, new_file, opened, refuse_full
from gifster.app.numbers import counted
from gifster.app.settings.sections import sqlite_file
from gifster.jobs import clock
from gifster.jobs.worker_rows import DEAD_S

#: How long a process that is about to end may still have the source (seconds).
ALONE_S = 2.0
STOP_ALL = (
    "stop web processes, workers and schedulers first. What they write after the copy would be lost"
)
_SESSIONS = """
    SELECT application_name, client_addr, pid FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
      AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    ORDER BY backend_start LIMIT 1
"""


def copy_database(source_url: str, target_url: str, done: Callable[[str, int], None]) -> int:
    """Copy all rows of one database into another, which is empty. Nobody can write into the source
    meanwhile. Either all rows are in the target afterwards, or none.

    Parameters:
      done: is called with the name and the number of rows of each table.

    Returns:
      how many rows were copied.

    Raises:
      BackupError: it is not possible; says why, and what to do.
      NewerDatabase: a later release has migrated the source.
      peewee.PeeweeException, OSError
    """
    if source_url.startswith("sqlite") and not sqlite_file(source_url).exists():
        raise BackupError(f"there is no database in {sqlite_file(source_url).absolute()}")
    refuse_full(target_url)
    with opened(source_url) as source:
        _check_source(source)
        with frozen(source, lock=True), _target(target_url) as target:
            return copy_rows(source, target, done)


@contextmanager
def _target(url: str) -> Iterator[peewee.Database]:
    """The migrated database, in a transaction."""
    if url.startswith("sqlite"):
        with (
            new_file(sqlite_file(url)) as part,
            empty_database(part) as made,
            made.atomic("IMMEDIATE"),
        ):
            yield made
        return
    with filling(url) as target:
        yield target


def _check_source(source: peewee.Database) -> None:
    if databases.APPLIED not in source.get_tables():
        raise BackupError("the source is no database of Gifster's: it has no migrations")
    databases.check_not_newer(source)
    if pending := databases.pending_migrations(source):
        raise BackupError(
            f"the source is not up to date ({counted(len(pending), 'pending migration')}): run "
            "gifster migrate with it first"
        )
    mark = source.param
    alive = source.execute_sql(
        f"SELECT host, pid FROM worker WHERE seen_at > {mark}",  # noqa: S608 the driver's
        (clock.now(source) - DEAD_S,),
    ).fetchall()
    if alive:
        host, pid = alive[0]
        raise BackupError(
            f"a worker runs with the source (process {pid} on {host}, within the last "
            f"{DEAD_S:.0f} s): {STOP_ALL}"
        )


def refuse_used(url: str) -> None:
    """Check that no other process has a database open, as web processes do.

    Raises:
      BackupError: one has.
      peewee.PeeweeException, sqlite3.Error
    """
    if url.startswith("sqlite"):
        if _is_open(sqlite_file(url).absolute()):
            raise BackupError(f"another process has the source open: {STOP_ALL}")
        return
    with opened(url) as source:
        others = source.execute_sql(_SESSIONS).fetchall()
    if others:
        name, address, pid = others[0]
        where = address or "its own machine"
        raise BackupError(
            f"the source has another session ({name or 'without a name'} at {where}, process "
            f"{pid} of the server): {STOP_ALL}"
        )


def _is_open(file: Path) -> bool:
    """Whether another process has a SQLite file open. This one must not have it open, too."""
    if not file.exists():
        return False
    address = f"{file.as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=ALONE_S)) as alone:
        # In WAL mode each open connection has a lock, which is against this mode.
        alone.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            alone.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return True
            raise
        alone.rollback()
    return False
