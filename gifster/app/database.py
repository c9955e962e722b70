"""The database: SQLite in WAL mode, or PostgreSQL, by URL; and its migrations.

`db` is a proxy: models use it before `connect()` decides which database it is. Connections are
pooled; work within `with db.connection_context():`, and write within `gifster.jobs.transaction`.
"""

import sqlite3
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import peewee
from playhouse.pool import PooledSqliteDatabase

from gifster import __version__, jobs
from gifster.app.damaged_text import as_text
from gifster.app.faults import FileGone
from gifster.app.settings.sections import sqlite_file
from gifster.jobs.database_errors import is_database_error
from gifster.jobs.table_changes import TableInUse, change_tables

#: How long a connection waits for another process's transaction to end (seconds).
BUSY_TIMEOUT_S = 15
MAX_CONNECTIONS = 64
#: How large SQLite's write-ahead log stays (bytes). It starts over at 4 MB, unless somebody reads.
WAL_BYTES = 64 * 2**20
if TYPE_CHECKING:
    from playhouse.migrations import Runner

#: What SQLite calls the files beside its own: changes that are not in it yet, or to be undone. It
#: applies them to whatever file has that name, and deletes them if that is new.
BESIDE = ("-wal", "-journal")

db = peewee.DatabaseProxy()

MIGRATIONS = Path(__file__).parent / "migrations"
#: PostgreSQL's advisory lock for migrations: an arbitrary number of our own.
_LOCK = 713705
#: The table of the applied migrations.
APPLIED = "schema_migration"


class DatabaseUnavailable(Exception):
    """The database cannot be used. The message says why."""


class ChangesLeft(DatabaseUnavailable, FileGone):
    """A SQLite file is not there, but changes of it are. The message says what to do."""


class NewerDatabase(DatabaseUnavailable):
    """A later release has migrated the database. The message says what to do."""

    def __init__(self, unknown: list[str]) -> None:
        super().__init__(
            f"a later release of Gifster has migrated the database ({', '.join(unknown)} is not "
            f"known to this one, {__version__}), and there is no way back: install the later "
            "release again, or restore the backup that was made before the upgrade"
        )


def connect(url: str, *, durable: bool = True) -> peewee.Database:
    """Make `db` this database. Opens no connection yet.

    Parameters:
      url: `sqlite:///relative/or//absolute/path.db`, or `postgresql://user:password@host/name`.
      durable: whether a commit is on the disk when it returns. If not, a crash of the machine,
        though not of the process, may undo the last commits.
    """
    db.initialize(opened(url, durable=durable))
    return _current()


def opened(url: str, *, durable: bool = True) -> peewee.Database:
    """A database beside `db`, with the parameters of `connect()`. Opens no connection yet."""
    return (_postgresql if url.startswith("postgres") else _sqlite)(url, durable)


class _SqliteConnection(sqlite3.Connection):
    """A connection that reads text that is damaged, and can end what nobody has read to its end.

    SQLite keeps the snapshot of a query until its last row is read, or its cursor is gone. An error
    amid the rows, such as of text that is no UTF-8, keeps the cursor for as long as somebody has
    the error. All that the connection reads then is as old, and all that it writes is refused.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()
        self.text_factory = as_text

    def cursor(self, *arguments: Any) -> sqlite3.Cursor:  # type: ignore[override]  # overloads
        made: sqlite3.Cursor = super().cursor(*arguments)
        self._cursors.add(made)
        return made

    def end_queries(self) -> None:
        for cursor in list(self._cursors):
            with suppress(sqlite3.Error):  # the connection may be closed already
                cursor.close()


class _SqlitePool(PooledSqliteDatabase):  # type: ignore[misc]  # Peewee has no types
    #: Whether a file with tables was there when this process opened it.
    _was_there = False

    def _connect(self) -> Any:
        path = Path(self.database)
        _refuse_changes_of_another(path)
        is_there = path.exists() and path.stat().st_size > 0
        if self._was_there and not is_there:
            raise FileGone(
                f"{path.absolute()} was moved away or emptied: move it back, or stop Gifster"
            )
        connection = super()._connect()
        self._was_there = self._was_there or is_there
        return connection

    def _close(self, conn: _SqliteConnection, close_conn: bool = False) -> None:
        conn.end_queries()
        super()._close(conn, close_conn)


def _refuse_changes_of_another(path: Path) -> None:
    """Like `refuse_changes_left`, if SQLite would make the file. A process that is just making it
    has an empty one and a journal for a moment, and gets the time to write into it."""
    give_up = time.monotonic() + BUSY_TIMEOUT_S
    while not path.exists() or not path.stat().st_size:
        try:
            refuse_changes_left(path)
        except ChangesLeft:
            if not path.exists() or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
        else:
            return


def refuse_changes_left(path: Path) -> None:
    """Check that a SQLite file can be made.

    Raises:
      ChangesLeft: somebody has moved a file of that name away, and left its latest changes.
    """
    for left in (path.with_name(path.name + end) for end in BESIDE):
        if left.exists():
            raise ChangesLeft(
                f"{left.absolute()} has changes of the database that was here, and SQLite would "
                "delete them, or write them into a new one: move it to that database, which may "
                "lack them"
            )


def _sqlite(url: str, durable: bool) -> peewee.Database:
    path = sqlite_file(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    database: peewee.Database = _SqlitePool(
        path,
        max_connections=MAX_CONNECTIONS,
        timeout=BUSY_TIMEOUT_S,
        # The pool hands a connection to one thread at a time, but not always to the same one.
        check_same_thread=False,
        factory=_SqliteConnection,
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


def migrate(database: peewee.Database | None = None) -> list[str]:
    """Bring the schema up to date. Two processes may do it at once: one waits for the other.

    Parameters:
      database: another one than `db`.

    Returns:
      the names of the applied migrations.

    Raises:
      NewerDatabase: a later release has migrated it.
      DatabaseUnavailable: it cannot be reached or written.
    """
    try:
        return _migrate(database or _current())
    except DatabaseUnavailable:
        raise
    except Exception as error:
        if not is_database_error(error):
            raise
        reason = " ".join(str(error).split())
        raise DatabaseUnavailable(f"the database cannot be used: {reason}") from error


def _migrate(database: peewee.Database) -> list[str]:
    with database.connection_context():
        if isinstance(database, peewee.SqliteDatabase):
            with database.atomic("EXCLUSIVE"):
                return _migrate_ours(database) + _migrate_jobs(database)
        try:
            # Not in one transaction: those who read jobs would wait for the end of all indexes.
            ours = change_tables(database, _LOCK, lambda: _migrate_ours(database))
            return ours + _migrate_jobs(database)
        except TableInUse as error:
            raise DatabaseUnavailable(str(error)) from error


def _migrate_ours(database: peewee.Database) -> list[str]:
    if unknown := _unknown(database):
        raise NewerDatabase(unknown)
    return list(_runner(database).up())


def _migrate_jobs(database: peewee.Database) -> list[str]:
    # The first eleven migrations of Gifster made the tables of its jobs. What those tables have
    # needed since then are migrations of the library.
    return [f"jobs {name}" for name in jobs.migrate(database)]


def pending_migrations(database: peewee.Database | None = None) -> list[str]:
    """The names of the migrations that are not applied yet, to `db` or another database."""
    database = database or _current()
    with database.connection_context():
        own = sorted(_ours() - set(_applied(database)))
        return own + [f"jobs {name}" for name in jobs.pending_migrations(database)]


def check_not_newer(database: peewee.Database | None = None) -> None:
    """Check that no later release has migrated the database: a process of this one would write rows
    that are wrong there. A process that runs while the next release migrates may go on.

    Raises:
      NewerDatabase: one has; says what to do.
    """
    database = database or _current()
    with database.connection_context() if database.is_closed() else nullcontext():
        unknown = _unknown(database)
    if unknown:
        raise NewerDatabase(unknown)


def _unknown(database: peewee.Database) -> list[str]:
    """The names of the applied migrations that this release does not have."""
    ours = _ours()
    return [name for name in _applied(database) if name not in ours]


def _ours() -> set[str]:
    return {path.stem for path in MIGRATIONS.glob("[0-9]*.py")}


def _applied(database: peewee.Database) -> list[str]:
    """The names of the applied migrations. It reads the table of Peewee's runner, which takes
    longer to load than all of this."""
    if not database.table_exists(APPLIED):
        return []
    rows = database.execute_sql(f'SELECT "name" FROM "{APPLIED}" ORDER BY "name"').fetchall()  # noqa: S608
    return [name for (name,) in rows]


def _runner(database: peewee.Database | None = None) -> "Runner":
    from playhouse.migrations import Runner  # noqa: PLC0415 most processes migrate nothing

    return Runner(database or db.obj, str(MIGRATIONS), APPLIED)
