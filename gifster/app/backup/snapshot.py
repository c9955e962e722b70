"""A snapshot of the database: a transaction that reads it as it is at one moment, while others go
on writing; and a copy of it in a file.

The copy is a SQLite database of Gifster's, whatever kind the original is: SQLite's own backup, or
all rows of PostgreSQL.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import peewee

from gifster.app import database as databases
from gifster.app.backup import BackupError
from gifster.app.backup.tables import copy_rows

#: How many faults of a damaged copy are shown.
SHOWN_FAULTS = 3


@contextmanager
def frozen(database: peewee.Database, *, lock: bool = False) -> Iterator[None]:
    """A block in which this thread reads the database as it was at the beginning.

    Parameters:
      lock: whether nobody else may write until the block ends.
    """
    if isinstance(database, peewee.SqliteDatabase):
        with database.atomic("IMMEDIATE" if lock else "DEFERRED"):
            # The snapshot begins with the first read.
            database.execute_sql("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            yield
        return
    names = ", ".join(f'"{name}"' for name in database.get_tables())
    with database.atomic("REPEATABLE READ"):
        without_time_limits(database)
        if lock:  # before the first read, with which the snapshot begins
            database.execute_sql(f"LOCK TABLE {names} IN SHARE MODE")
        yield


def without_time_limits(database: peewee.Database) -> None:
    """Let this transaction of PostgreSQL last as long as it takes."""
    database.execute_sql("SET LOCAL statement_timeout = 0")
    database.execute_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def save_database(
    database: peewee.Database, path: Path, done: Callable[[str, int], None] = lambda *_: None
) -> None:
    """Write a copy of the database into a new file. Call it within `frozen()`.

    Parameters:
      done: is told of each table that is copied row by row.

    Raises:
      BackupError: the copy is damaged.
    """
    if isinstance(database, peewee.SqliteDatabase):
        # In one step, which does not begin again when another process writes.
        with closing(sqlite3.connect(path)) as copy:
            database.connection().backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
    else:
        with empty_database(path) as target, target.atomic("IMMEDIATE"):
            copy_rows(database, target, done)
    check_file(path)


@contextmanager
def empty_database(path: Path) -> Iterator[peewee.SqliteDatabase]:
    """A new, migrated SQLite database without rows; afterwards it is one file."""
    with opened_file(path) as database:
        databases.migrate(database)
        yield database


@contextmanager
def opened_file(path: Path) -> Iterator[peewee.SqliteDatabase]:
    """A SQLite file that only we use, with an open connection; afterwards it is one file, in the
    journal mode that needs no file beside it."""
    database = peewee.SqliteDatabase(
        str(path),
        pragmas={"journal_mode": "delete", "synchronous": "off", "foreign_keys": 1},
    )
    try:
        with database.connection_context():
            yield database
    finally:
        database.close()


def check_file(path: Path) -> None:
    """Have SQLite check a file.

    Raises:
      BackupError: it is damaged.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as copy:
        try:
            found = copy.execute(f"PRAGMA quick_check({SHOWN_FAULTS})").fetchall()
        except sqlite3.DatabaseError as error:
            found = [(str(error),)]
    if found != [("ok",)]:
        reasons = "; ".join(str(row[0]) for row in found)
        raise BackupError(f"the database in {path} is damaged: {reasons}")


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, be on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
