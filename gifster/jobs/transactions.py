"""Transactions that are going to write, on any database."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import peewee

logger = logging.getLogger("gifster.jobs")

#: PostgreSQL's advisory lock for changes of our tables: an arbitrary number of our own.
_SCHEMA_LOCK = 713706


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
    for the busy timeout. Within a transaction it is a savepoint.

    Parameters:
      send: sends the jobs that were enqueued in the transaction, after its commit. It must not
        raise. By default they are sent at once, many in a round trip. A savepoint ignores it.

    Raises:
      NotBound: `database` is None: the model that it was taken from is bound to no database.
    """
    database = real_database(database)
    if database.in_transaction():
        return _Savepoint(database)
    immediate = ["IMMEDIATE"] if isinstance(database, peewee.SqliteDatabase) else []
    return Transaction(database, *immediate, send=send)


@contextmanager
def schema_transaction(database: peewee.Database) -> Iterator[None]:
    """A transaction that is going to change our tables. Only one process at a time is in one."""
    with transaction(database):
        if isinstance(database, peewee.PostgresqlDatabase):
            database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
        yield


def outermost_transaction(database: peewee.Database | peewee.DatabaseProxy) -> Any:
    """This thread's outermost open transaction; None if there is none."""
    real: Any = real_database(database)
    return next(iter(real._state.transactions), None)


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
