"""Moves all rows into a database of the other kind, or onto another server: SQLite to PostgreSQL
when a team outgrows one machine, and back."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import peewee

from gifster.app import database as databases
from gifster.app.backup import BackupError
from gifster.app.backup.snapshot import empty_database, frozen
from gifster.app.backup.tables import copy_rows
from gifster.app.backup.targets import filling, new_file, opened, refuse_full
from gifster.app.numbers import counted
from gifster.app.settings.sections import sqlite_file
from gifster.jobs.heartbeat import DEAD_S


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
        (time.time() - DEAD_S,),
    ).fetchall()
    if alive:
        host, pid = alive[0]
        raise BackupError(
            f"a worker runs with the source (process {pid} on {host}, within the last "
            f"{DEAD_S:.0f} s): stop web processes, workers and schedulers first. What they write "
            "after the copy would be lost"
        )
