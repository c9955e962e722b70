"""The database: SQLite in WAL mode, or PostgreSQL, by URL; and its migrations.

`db` is a proxy: models use it before `connect()` decides which database it is. Connections are
pooled; work within `with db.connection_context():`, and write within `gifster.jobs.transaction`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import peewee
from playhouse.pool import PooledSqliteDatabase

from gifster import jobs
from gifster.app.faults import is_database_error
from gifster.app.settings.sections import sqlite_file

#: How long a connection waits for another process's transaction to end (seconds).
BUSY_TIMEOUT_S = 15
MAX_CONNECTIONS = 64
#: How large SQLite's write-ahead log stays (bytes). It starts over at 4 MB, unless somebody reads.
WAL_BYTES = 64 * 2**20
if TYPE_CHECKING:
    from playhouse.migrations import Runner

db = peewee.DatabaseProxy()


class DatabaseUnavailable(Exception):
    """The database cannot be used. The message says why."""


def connect(url: str, *, durable: bool = True) -> peewee.Database:
    """Make `db` this database. Opens no connection yet.

    Parameters:
      url: `sqlite:///relative/or//absolute/path.db`, or `postgresql://user:password@host/name`.
      durable: whether a commit is on the disk when it returns. If not, a crash of the machine,
        though not of the process, may undo the last commits.
    """
    connected = _postgresql if url.startswith("postgres") else _sqlite
    db.initialize(connected(url, durable))
    return _current()


def _sqlite(url: str, durable: bool) -> peewee.Database:
    path = sqlite_file(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    database: peewee.Database = PooledSqliteDatabase(
        path,
        max_connections=MAX_CONNECTIONS,
        timeout=BUSY_TIMEOUT_S,
        # The pool hands a connection to one thread at a time, but not always to the same one.
        check_same_thread=False,
        pragmas={
            "journal_mode": "wal",
            "synchronous": "full" if durable else "normal",
            "busy_timeout": BUSY_TIMEOUT_S * 1000,
            "foreign_keys": 1,
            # After a transaction that was larger, the WAL shrinks again.
            "journal_size_limit": WAL_BYTES,
        },
    )
    return database


def _postgresql(url: str, durable: bool) -> peewee.Database:
    from gifster.app import postgresql  # noqa: PLC0415 it loads drivers of SQLite

    database: peewee.Database = postgresql.pool(
        url, durable=durable, max_connections=MAX_CONNECTIONS, wait_s=BUSY_TIMEOUT_S
    )
    return database


def _current() -> peewee.Database:
    database: peewee.Database = db.obj
    return database


def migrate() -> list[str]:
    """Bring the schema up to date. Two processes may do it at once: one waits for the other.

    Returns:
      the names of the applied migrations.

    Raises:
      DatabaseUnavailable: it cannot be reached or written.
    """
    try:
        return _migrate(_current())
    except Exception as error:
        if not is_database_error(error):
            raise
        reason = " ".join(str(error).split())
        raise DatabaseUnavailable(f"the database cannot be used: {reason}") from error


def _migrate(database: peewee.Database) -> list[str]:
    with database.connection_context():
        if isinstance(database, peewee.SqliteDatabase):
            with database.atomic("EXCLUSIVE"):
                return _migrate_all(database)
        with database.atomic():
            # An arbitrary number of our own, held until the transaction ends.
            database.execute_sql("SET LOCAL statement_timeout = 0")
            database.execute_sql("SELECT pg_advisory_xact_lock(713705)")
            return _migrate_all(database)


def _migrate_all(database: peewee.Database) -> list[str]:
    # The first eleven migrations of Gifster made the tables of its jobs. What those tables have
    # needed since then are migrations of the library.
    applied = list(_runner().up())
    return applied + [f"jobs {name}" for name in jobs.migrate(database)]


def pending_migrations() -> list[str]:
    """The names of the migrations that are not applied yet."""
    with db.connection_context():
        own = [step.name for step in _runner().status() if step.path and not step.applied]
        return own + [f"jobs {name}" for name in jobs.pending_migrations(db)]


def _runner() -> "Runner":
    from playhouse.migrations import Runner  # noqa: PLC0415 most processes migrate nothing

    return Runner(db.obj, str(Path(__file__).parent / "migrations"))
