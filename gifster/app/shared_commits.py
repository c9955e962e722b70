"""What several pieces of work need that share a transaction, on each database.

`gifster.api.group_commit` does so with uploads. Peewee has no words for it: whether the transaction
is still open, how long it waits for others' locks, and whether a commit arrived before the
connection was lost.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import peewee
from playhouse.pool import MaxConnectionsExceeded

from gifster.app.database import db
from gifster.app.faults import StandbyAway
from gifster.jobs import Job
from gifster.jobs.database_errors import sqlstate_of
from gifster.jobs.transactions import Transaction

#: How long a shared transaction waits for others' locks on PostgreSQL (ms). It is less than the
#: time after which PostgreSQL looks for deadlocks (`deadlock_timeout`, 1 s), so the shared
#: transaction gives way, unless the other one began to wait half a second before it.
LOCK_WAIT_MS = 500
#: How long `is_committed()` waits for a server that restarts (seconds), and between two tries.
RESTART_S, TRY_AGAIN_S = 10.0, 0.2
#: PostgreSQL's code for a transaction's number that it has not given yet. The server has crashed
#: before anything of the transaction was on its disk.
_NOT_YET_GIVEN = "22023"
#: libpq's number for an open transaction that no error has ended (`PQTRANS_INTRANS`).
_IN_TRANSACTION = 2
_BEGIN = """
SELECT set_config('lock_timeout', COALESCE(%s, current_setting('lock_timeout')), true),
pg_current_xact_id()::text
"""
#: A server that follows another one may not have heard of the end yet.
_STATUS = """
SELECT CASE WHEN pg_is_in_recovery() THEN 'in progress' ELSE pg_xact_status(%s::text::xid8) END
"""
#: A transaction that changes no row, but whose commit is written to the log, and waits for the disk
#: and for synchronous standbys.
_COMMIT_AFTER_IT = "SELECT pg_logical_emit_message(true, 'gifster', '')"


class CommitUnknown(peewee.OperationalError):
    """An error came during a commit, and nobody can tell whether that arrived."""


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


@dataclass(frozen=True)
class Begun:
    """A transaction, and what its end can be asked for by.

    Attributes:
      number: PostgreSQL's number of it; None on SQLite.
    """

    transaction: Transaction
    number: str | None


def begin(transaction: Transaction, lock_wait_ms: int | None = None) -> Begun:
    """Prepare a transaction of this thread, which has just begun.

    Parameters:
      lock_wait_ms: how long a statement waits for somebody's lock at most, before it fails; None
        for as long as the server lets it. SQLite has one lock, which the transaction has already.
    """
    if not is_postgresql():
        return Begun(transaction, None)
    limit = None if lock_wait_ms is None else f"{lock_wait_ms}ms"
    ((_, number),) = db.execute_sql(_BEGIN, (limit,)).fetchall()
    return Begun(transaction, str(number))


def wait_no_longer(than_ms: int = 1) -> None:
    """Let a statement of this thread's transaction wait no longer for somebody's lock."""
    if is_postgresql():
        db.execute_sql(f"SET LOCAL lock_timeout = {than_ms:d}")


def is_open() -> bool:
    """Whether this thread's transaction is still open, and takes more statements. SQLite ends it by
    itself when the disk is full, and so does a server that goes away."""
    connection: Any = db.obj.connection()
    if not is_postgresql():
        return bool(connection.in_transaction)
    return bool(connection.info.transaction_status == _IN_TRANSACTION)


def is_committed(begun: Begun) -> bool | None:
    """Whether a transaction was committed whose connection was lost during the commit.

    Blocks until the server answers. `pg_xact_status()` tells how the transaction with a number
    ended, but a server that crashed may give a number again that it had not yet written to its
    disk, and so may one that takes over from another. So a "committed" counts only together with a
    row that nobody else can have written.

    Whoever reads a transaction does not know whether it is as safe as its commit would have been:
    a server that restarts shows those for which it was still waiting for its standby. So a commit
    of our own follows, which waits for all that was committed before it.

    Returns:
      None if nobody can tell: the server did not come back within `RESTART_S` seconds, or a
      transaction with this number was committed, but none of its jobs is there.
    """
    deadline = time.monotonic() + RESTART_S
    while True:
        try:
            with db.connection_context():
                status = _status(begun)
                if status == "aborted":
                    return False
                if status == "committed":
                    if not _has_jobs(begun):
                        return None
                    db.execute_sql(_COMMIT_AFTER_IT)
                    return True
        except (peewee.PeeweeException, MaxConnectionsExceeded) as error:
            if sqlstate_of(error) == _NOT_YET_GIVEN:
                return False
        if time.monotonic() >= deadline:
            return None
        time.sleep(TRY_AGAIN_S)


def _status(begun: Begun) -> str | None:
    ((status,),) = db.execute_sql(_STATUS, (begun.number,)).fetchall()
    return cast("str | None", status)


def _has_jobs(begun: Begun) -> bool:
    return Job.select().where(Job.id.in_(begun.transaction.job_ids)).exists()


def _is_committed_to_file(begun: Begun, error: BaseException) -> bool | None:
    """Whether a transaction was committed on SQLite although an error was raised: by a callback of
    the commit, for example.

    Returns:
      None if nobody can tell: the disk cannot be read, or did not say whether it has kept what was
      written. After a crash, SQLite may find the commit in its log.
    """
    try:
        with db.connection_context():
            if _has_jobs(begun):
                return True
    except peewee.PeeweeException:
        return None
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None) or 0
    return None if code & 0xFF == sqlite3.SQLITE_IOERR else False


def after_failed_commit(begun: Begun, error: BaseException) -> BaseException | None:
    """What a commit that raised an error has really come to.

    Returns:
      None if it was committed, the error if it was rolled back; `CommitUnknown` if nobody can tell.
    """
    on_file = begun.number is None
    if isinstance(error, StandbyAway):
        committed = None  # it is here, and nobody knows whether it stays
    else:
        committed = _is_committed_to_file(begun, error) if on_file else is_committed(begun)
    if committed is None:
        unknown = CommitUnknown("it is not known whether the transaction was committed")
        unknown.__cause__ = error
        return unknown
    return None if committed else error
