"""Tells an error of the database from any other error, and what it means, whichever driver raised
it: the disk is full, another transaction was quicker, the server is away.

Peewee wraps the errors of its drivers, but not those of reading rows: `psycopg` and `sqlite3` raise
their own there. SQLite ends a transaction by itself when its disk is full, and then the rollback
raises another error. So `fault_of()` searches the chain of errors for the first one that tells.
"""

import functools
import sqlite3
from collections.abc import Callable, Iterator
from enum import Enum, StrEnum
from typing import Any, Literal, TypeVar

import peewee
from playhouse.pool import MaxConnectionsExceeded

V = TypeVar("V")

#: The base classes of a driver's errors (PEP 249), which every driver calls so.
_NAMES = {"DatabaseError", "InterfaceError"}


class Fault(StrEnum):
    """What is wrong with a database that may work again. The values are for people, and continue
    after "the database".

    An error of our own may have one of them as its attribute `fault`.
    """

    FULL = "has no room left on its disk"
    READ_ONLY = "is read-only"
    DAMAGED = "is damaged"
    BUSY = "is locked, or has no connection free"
    AWAY = "cannot be reached, read or written"
    STANDBY = "waits for a synchronous standby that is away"
    #: A constraint does not hold, because of what another transaction did.
    CONFLICT = "was changed by somebody else at the same moment"


#: SQLite's result codes (https://sqlite.org/rescode.html). An extended one comes before its primary
#: one, which is its lowest byte. Those without a fault are no better later: `SQLITE_ERROR` is a
#: missing table or wrong SQL, `SQLITE_TOOBIG` and `SQLITE_MISMATCH` refuse a value. For
#: `SQLITE_NOMEM`, the driver raises a `MemoryError`.
_SQLITE: dict[int, Fault | None] = {
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_NOLFS: Fault.FULL,  # the file system takes no larger files
    sqlite3.SQLITE_IOERR_SHMSIZE: Fault.FULL,  # the index of the log cannot grow
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_READONLY_DBMOVED: Fault.AWAY,
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.DAMAGED,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
    sqlite3.SQLITE_PROTOCOL: Fault.BUSY,  # another process won each race for a lock of the log
    sqlite3.SQLITE_SCHEMA: Fault.BUSY,  # it changed again and again
    sqlite3.SQLITE_INTERRUPT: Fault.BUSY,
    sqlite3.SQLITE_CANTOPEN: Fault.AWAY,
    sqlite3.SQLITE_IOERR: Fault.AWAY,
    sqlite3.SQLITE_PERM: Fault.AWAY,
    sqlite3.SQLITE_CONSTRAINT: Fault.CONFLICT,
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: None,  # these depend on the value alone
    sqlite3.SQLITE_CONSTRAINT_CHECK: None,
    3091: None,  # SQLITE_CONSTRAINT_DATATYPE, in a table that is STRICT
}
#: The first characters of PostgreSQL's codes
#: (https://www.postgresql.org/docs/current/errcodes-appendix.html); the longest counts. Those
#: without a fault are no better later: 22 refuses a value, 42 is a missing table, wrong SQL or a
#: missing privilege, 54 is more than PostgreSQL can do.
_POSTGRESQL: dict[str, Fault | None] = {
    "08": Fault.AWAY,
    "22": None,
    "23": Fault.CONFLICT,
    "23502": None,  # NOT NULL: these depend on the value alone
    "23514": None,  # CHECK
    "25006": Fault.READ_ONLY,  # also a standby that is not promoted yet
    "25P03": Fault.AWAY,  # it has ended the connection: the transaction was idle for too long,
    "25P04": Fault.AWAY,  # or took too long
    "28": Fault.AWAY,  # the password, say: nobody gets as far as a statement
    "3D": Fault.AWAY,  # no database of this name
    "40": Fault.BUSY,  # serialization failure, deadlock
    "42": None,
    "53": Fault.AWAY,
    "53100": Fault.FULL,
    "53300": Fault.BUSY,  # too many connections
    "54": None,
    "55006": Fault.BUSY,  # in use
    "55P03": Fault.BUSY,  # lock timeout
    "57014": Fault.BUSY,  # statement timeout, or somebody has cancelled it
    "57P": Fault.AWAY,  # shut down, or not started yet
    "58": Fault.AWAY,  # input and output
    "XX001": Fault.DAMAGED,
    "XX002": Fault.DAMAGED,
}


class _Nothing(Enum):
    NOTHING = 0


#: What an error says of the database: a fault, or that a later try is no better (None), or nothing.
_NOTHING = _Nothing.NOTHING
_Told = Fault | None | Literal[_Nothing.NOTHING]


def is_database_error(error: BaseException) -> bool:
    """Whether Peewee, its pool or a database driver raised an error."""
    if isinstance(error, peewee.PeeweeException | MaxConnectionsExceeded):
        return True
    return bool(_kinds(error) & _NAMES)


def fault_of(error: BaseException) -> Fault | None:
    """What is wrong with the database; None for an error that is no better later, as the database
    answers and refuses a statement or a value, and for any error of something else."""
    if not is_database_error(error):
        return None
    errors = list(chain(error))
    for told in map(_told, errors):
        if told is not _NOTHING:
            return told
    is_said_by_us = not any(map(_is_of_driver, errors))
    return Fault.AWAY if is_said_by_us and isinstance(error, peewee.OperationalError) else None


def may_pass(error: BaseException) -> bool:
    """Whether the database has an error that concerns everybody, and may be over at a later try."""
    return fault_of(error) not in (None, Fault.CONFLICT)


def refuses_value(error: BaseException) -> bool:
    """Whether the database refuses what a statement is about, such as a text that is too long. Any
    driver calls that so (PEP 249)."""
    return is_database_error(error) and bool(_kinds(error) & {"DataError", "IntegrityError"})


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _is_of_driver(error: BaseException) -> bool:
    return is_database_error(error) and not isinstance(error, peewee.PeeweeException)


def _told(error: BaseException) -> _Told:
    """What one error of a chain says by itself."""
    if isinstance(own := getattr(error, "fault", None), Fault):
        return own
    if isinstance(error, MaxConnectionsExceeded):
        return Fault.BUSY
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None) or 0
        return _SQLITE.get(code, _SQLITE.get(code & 0xFF, _NOTHING))
    if (state := sqlstate(error)) is not None:
        found = (state[:length] for length in (5, 3, 2) if state[:length] in _POSTGRESQL)
        return _POSTGRESQL.get(next(found, ""), _NOTHING)
    return _told_without_code(error)


def _told_without_code(error: BaseException) -> _Told:
    """What the drivers raise themselves, without a connection or after it was lost; `psycopg2` also
    as a `DatabaseError` of no further kind."""
    is_none_of_a_statement = _kinds(error) & {"OperationalError", "InterfaceError"}
    if not _is_of_driver(error) or not (
        is_none_of_a_statement or type(error).__name__ == "DatabaseError"
    ):
        return _NOTHING
    # A new session has a file of its own. If that cannot be written, the code is not told.
    return Fault.FULL if "No space left on device" in str(error) else Fault.AWAY


def is_of_one_row(error: Exception) -> bool:
    """Whether an error concerns one row alone. SQLite keeps bytes that are no text, and its driver
    calls that operational."""
    return not is_database_error(error) or "Could not decode to UTF-8" in str(error)


def sqlstate_of(error: BaseException) -> str | None:
    """The code that PostgreSQL gave an error, or one before it; None without one."""
    return next(filter(None, map(sqlstate, chain(error))), None)


def sqlstate(error: BaseException) -> str | None:
    """The code that PostgreSQL gave an error; None if it gave none, or a driver's error is wrapped
    in this one."""
    code: str | None = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return code


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and the errors from which or after which it was raised."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def reads(load: Callable[[Any, Any], V]) -> Callable[[Any, Any], V]:
    """The `python_value()` of a field, whose errors tell which column cannot be read (see
    `unreadable_column()`)."""

    @functools.wraps(load)
    def python_value(field: Any, value: Any) -> V:
        try:
            return load(field, value)
        except Exception as error:
            named = f"{field.model._meta.table_name}.{field.column_name}"
            error.unreadable_column = named  # type: ignore[attr-defined]
            raise

    return python_value


def unreadable_column(error: BaseException) -> str:
    """The column that could not be read, if that is the error; else empty."""
    return str(getattr(error, "unreadable_column", ""))
