"""Transactions that are going to write, on any database."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import peewee
from playhouse.pool import MaxConnectionsExceeded

logger = logging.getLogger("gifster.jobs")

#: PostgreSQL's advisory lock for changes of our tables: an arbitrary number of our own.
SCHEMA_LOCK = 713706
#: The name of our savepoints. Of several with one name, SQL means the innermost, which is always
#: the one that ends next. With a name of its own, as Peewee's have, each would be another statement
#: to prepare, and would drop one from the driver's cache that runs again.
SAVEPOINT = "gifster"


class NotBound(RuntimeError):
    """The outbox has no database in this process."""

    def __init__(self) -> None:
        super().__init__(
            "the outbox has no database: call database.bind(gifster.jobs.TABLES) when the process "
            "starts"
        )


def real_database(database: peewee.Database | peewee.DatabaseProxy | None) -> peewee.Database:
    """The database behind a proxy, or the database itself.

    Raises:
      NotBound: it is None, or the proxy has none.
    """
    real: peewee.Database | None = (
        database.obj if isinstance(database, peewee.DatabaseProxy) else database
    )
    if real is None:
        raise NotBound
    return real


def transaction(
    database: peewee.Database | peewee.DatabaseProxy | None,
    send: "Send | None" = None,
) -> AbstractContextManager[object]:
    """A transaction that is going to write.

    On SQLite it takes the write lock at its start. A transaction that reads first and writes later
    fails with "database is locked" as soon as another process writes in between, without waiting
    for the busy timeout. Within a transaction it is a savepoint; within a `Piece` it is nothing.

    Parameters:
      send: sends the jobs that were enqueued in the transaction, after its commit. It must not
        raise. By default they are sent at once, many in a round trip. A savepoint ignores it.

    Raises:
      NotBound: `database` is None: the model that it was taken from is bound to no database.
    """
    database = real_database(database)
    if database.in_transaction():
        piece = piece_of_work(database)
        return _Savepoint(database, SAVEPOINT) if piece is None else _Within(piece)
    immediate = ["IMMEDIATE"] if isinstance(database, peewee.SqliteDatabase) else []
    return Transaction(database, *immediate, send=send)


@contextmanager
def schema_transaction(database: peewee.Database) -> Iterator[None]:
    """A transaction that is going to change our tables. Only one process at a time is in one."""
    with transaction(database):
        if isinstance(database, peewee.PostgresqlDatabase):
            database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        yield


def outermost_transaction(database: peewee.Database | peewee.DatabaseProxy) -> Any:
    """This thread's outermost open transaction; None if there is none."""
    real: Any = real_database(database)
    return next(iter(real._state.transactions), None)


def piece_of_work(database: peewee.Database | peewee.DatabaseProxy) -> "Piece | None":
    """The piece of work that this thread is doing; None if it is doing none."""
    outermost = outermost_transaction(database)
    return outermost.piece if isinstance(outermost, Transaction) else None


def abandon_transaction(database: peewee.Database | peewee.DatabaseProxy) -> bool:
    """Roll back this thread's open transaction, which nobody is going to end.

    Returns:
      False if there is none.
    """
    real: Any = real_database(database)
    if not real.thread_safe:
        return False  # it may be another thread's
    if not real.in_transaction() and not _has_begun(real):
        return False
    del real._state.transactions[:]
    real._clear_commit_callbacks()
    try:
        real.rollback()
    except peewee.PeeweeException as error:
        logger.debug("rolled back already: %s", error)
        real.close()
        stay_connected(real)
    return True


def stay_connected(database: peewee.Database | peewee.DatabaseProxy) -> None:
    """Leave this thread's connection if PostgreSQL has ended it, as it does if a transaction was
    idle for too long. And open it again, if code of the application has closed it, as the end of a
    `connection_context()` does, and Peewee opens none by itself (`autoconnect=False`)."""
    real: Any = real_database(database)
    if not real.is_closed() and getattr(real.connection(), "closed", False):  # psycopg's
        real.close()
    if not real.autoconnect and real.is_closed():
        # If it is away, whoever needs it hears that.
        with suppress(peewee.PeeweeException, MaxConnectionsExceeded):
            real.connect(reuse_if_open=True)


def take_new_session(database: peewee.Database | peewee.DatabaseProxy) -> None:
    """Have this thread use another session of PostgreSQL, unless it is in a transaction. Code of
    the application may have left one in which our tables are not found (`search_path`), or that
    takes no writes. Otherwise as `stay_connected()`."""
    real: Any = real_database(database)
    if isinstance(real, peewee.PostgresqlDatabase) and not real.in_transaction():
        leave = getattr(real, "manual_close", real.close)  # a pool would give it to somebody else
        leave()
    stay_connected(real)


#: libpq's `PQTRANS_ACTIVE`, `PQTRANS_INTRANS` and `PQTRANS_INERROR`. The transaction of a broken
#: connection (`PQTRANS_UNKNOWN`) has gone with it.
_OPEN = {1, 2, 3}


def _has_begun(database: Any) -> bool:
    """Whether this thread's connection is in a transaction, whatever Peewee knows of it."""
    if database.is_closed():
        return False
    connection = database.connection()
    if isinstance(database, peewee.SqliteDatabase):
        return bool(connection.in_transaction)
    status = getattr(getattr(connection, "info", None), "transaction_status", 0)  # psycopg's
    return int(status) in _OPEN


#: Sends jobs.
Send = Callable[[list[Any]], object]


class Transaction(peewee._transaction):
    """Peewee's transaction, which also sends the jobs that were enqueued in it; for a database that
    may have ended it already.

    SQLite ends a transaction by itself when its disk is full, and so does a server that goes away.
    Then the caller gets the error that led here, not the error of the second rollback. The
    callbacks of the commit are dropped, or the next transaction of this thread would call them.
    """

    def __init__(self, database: peewee.Database, *begin: str, send: Send | None = None) -> None:
        super().__init__(database, *begin)
        self._send, self._jobs = send, []  # type: ignore[var-annotated]
        #: The piece of work that is being done in it.
        self.piece: Piece | None = None
        #: The ids of the jobs that were enqueued in it, of those that no other job can get. After a
        #: commit one of these rows is there, unless all these jobs have finished.
        self.job_ids: list[str] = []

    def send_later(self, job: Any, send: Send) -> None:
        """Send a job after the commit, and after all other callbacks of the commit.

        Parameters:
          send: how, unless the transaction has another way.
        """
        self._jobs.append(job)
        self._send = self._send or send

    def commit(self, begin: bool = True) -> None:
        super().commit(begin)
        jobs, self._jobs = self._jobs, []
        if jobs and self._send is not None:
            self._send(jobs)

    def rollback(self, begin: bool = True) -> None:
        self._jobs = []
        try:
            super().rollback(begin)
        except peewee.PeeweeException as error:
            self.db._clear_commit_callbacks()
            if begin:
                raise
            logger.debug("rolled back already: %s", error)


class _Savepoint(peewee._savepoint):
    """The same for a savepoint, which ends with its transaction."""

    def rollback(self, begin: bool = True) -> None:
        try:
            super().rollback(begin)
        except peewee.PeeweeException as error:
            if begin:
                raise
            logger.debug("rolled back already: %s", error)


class HalfDone(Exception):
    """In a piece of work something failed, and the work went on all the same."""

    def __init__(self) -> None:
        super().__init__(
            "a part of this work failed that shares its savepoint with the rest: do the work in a "
            "transaction of its own"
        )


class Piece(_Savepoint):
    """One of several pieces of work that share a transaction: a savepoint, which the
    `transaction()` calls of the work share. A savepoint takes two statements, and on PostgreSQL
    each is a round trip. This one takes one, as it stays open until the transaction ends.

    If the work fails, nothing of it stays. Work that survives the failure of one of its parts
    cannot be done so, nor can work with savepoints of its own (Peewee's `atomic()`).

    Parameters:
      outermost: the transaction, open on this thread.

    Raises:
      HalfDone: at its end, if a `transaction()` in it failed, but the work went on. Nothing of the
        work stays.
    """

    def __init__(self, outermost: Transaction) -> None:
        super().__init__(outermost.db, SAVEPOINT)
        self._outermost = outermost
        #: Whether a part failed that would have had a savepoint of its own.
        self.is_half_done = False
        #: Whether nothing of the work stays.
        self.is_undone = False

    def __enter__(self) -> "Piece":
        super().__enter__()
        self._outermost.piece = self
        return self

    def commit(self, begin: bool = False) -> None:
        """Leave the savepoint to the commit of the transaction, and save a statement."""

    def rollback(self, begin: bool = True) -> None:
        self.is_undone = True
        super().rollback(begin)

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._outermost.piece = None
        if kind is None and self.is_half_done:
            super().__exit__(HalfDone, None, None)
            raise HalfDone
        super().__exit__(kind, error, traceback)


class _Within(AbstractContextManager[object]):
    """What would be a savepoint, if its piece of work had more than one."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._piece.is_half_done = self._piece.is_half_done or kind is not None
