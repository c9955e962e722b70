"""What several pieces of work need that share a transaction, on each database.

`gifster.api.group_commit` does so with uploads. Peewee has no words for it: whether the transaction
is still open, how long it waits for others' locks, and whether a commit arrived before the
connection was lost.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import peewee
from playhouse.pool import MaxConnectionsExceeded

from gifster.app.database import db

#: How long a shared transaction waits for others' locks on PostgreSQL (ms). It is less than the
#: time after which PostgreSQL looks for deadlocks (`deadlock_timeout`, 1 s), so it is always the
#: shared transaction that gives way.
LOCK_WAIT_MS = 500
#: How long `is_committed()` waits for a server that restarts (seconds), and between two tries.
RESTART_S, TRY_AGAIN_S = 10.0, 0.2
#: libpq's number for an open transaction that no error has ended (`PQTRANS_INTRANS`).
_IN_TRANSACTION = 2
_BEGIN = """
SELECT set_config('lock_timeout', COALESCE(%s, current_setting('lock_timeout')), true),
pg_current_xact_id()::text
"""


class CommitUnknown(peewee.OperationalError):
    """The connection was lost during a commit, and nobody can tell whether that arrived."""


def is_postgresql() -> bool:
    """Whether the database is PostgreSQL."""
    return isinstance(db.obj, peewee.PostgresqlDatabase)


@contextmanager
def undo_in_memory() -> Iterator[None]:
    """A `with` block around transactions that keep in memory what the rollback of a savepoint
    needs.

    SQLite keeps a copy of each page that a transaction with savepoints changes. Of more than 64 kB
    it makes a temporary file, and one upload changes some twenty pages. Elsewhere temporary files
    are right: a large sort is not to be in memory.
    """
    if is_postgresql():
        yield
        return
    connection: Any = db.obj.connection()
    connection.execute("PRAGMA temp_store = MEMORY")
    try:
        yield
    finally:
        connection.execute("PRAGMA temp_store = DEFAULT")


def begin(lock_wait_ms: int | None = None) -> str | None:
    """What `after_failed_commit()` needs of this thread's transaction, which has just begun; None
    on SQLite, where no connection can be lost.

    Parameters:
      lock_wait_ms: how long a statement waits for somebody's lock at most, before it fails; None
        for as long as the server lets it. SQLite has one lock, which the transaction has already.
    """
    if not is_postgresql():
        return None
    limit = None if lock_wait_ms is None else f"{lock_wait_ms}ms"
    ((_, transaction),) = db.execute_sql(_BEGIN, (limit,)).fetchall()
    return str(transaction)


def wait_no_longer() -> None:
    """Let this thread's transaction wait for no more locks."""
    if is_postgresql():
        db.execute_sql("SET LOCAL lock_timeout = 1")


def is_open() -> bool:
    """Whether this thread's transaction is still open, and takes more statements. SQLite ends it by
    itself when the disk is full, and so does a server that goes away."""
    connection: Any = db.obj.connection()
    if not is_postgresql():
        return bool(connection.in_transaction)
    return bool(connection.info.transaction_status == _IN_TRANSACTION)


def is_committed(transaction: str) -> bool | None:
    """Whether a transaction was committed whose connection was lost during the commit.

    Blocks until the server answers. PostgreSQL has `pg_xact_status()` for this.

    Parameters:
      transaction: what `begin()` returned.

    Returns:
      None if the server did not come back within `RESTART_S` seconds.
    """
    deadline = time.monotonic() + RESTART_S
    while True:
        with suppress(peewee.PeeweeException, MaxConnectionsExceeded), db.connection_context():
            asked = "SELECT pg_xact_status(%s::text::xid8)"
            ((status,),) = db.execute_sql(asked, (transaction,)).fetchall()
            if status != "in progress":
                return bool(status == "committed")
        if time.monotonic() >= deadline:
            return None
        time.sleep(TRY_AGAIN_S)


def after_failed_commit(transaction: str, error: BaseException) -> BaseException | None:
    """What a commit that raised an error has really come to.

    Parameters:
      transaction: what `begin()` returned.

    Returns:
      None if it was committed, the error if it was rolled back; `CommitUnknown` if the server does
      not come back to tell.
    """
    committed = is_committed(transaction)
    if committed is None:
        unknown = CommitUnknown("it is not known whether the transaction was committed")
        unknown.__cause__ = error
        return unknown
    return None if committed else error
