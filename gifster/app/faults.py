"""What a database error means, whichever driver raised it: the disk is full, another transaction
was quicker, the server is away.

Peewee wraps most errors of the drivers, but not those of reading rows. SQLite ends a transaction by
itself when its disk is full, and then the rollback raises another error. So `fault_of()` searches
the chain of errors for the first one with a meaning.
"""

import sqlite3
from enum import StrEnum

import peewee
from playhouse.pool import MaxConnectionsExceeded

from gifster.jobs.database_errors import chain, sqlstate


class Fault(StrEnum):
    """What is wrong. The values are for people, and continue after "the database"."""

    FULL = "has no room left on its disk"
    READ_ONLY = "is read-only"
    DAMAGED = "is damaged; run `gifster doctor`"
    BUSY = "is locked, or has no connection free"
    AWAY = "cannot be reached, read or written"
    STANDBY = "waits for a synchronous standby that is away"
    #: A constraint does not hold, because of what another transaction did.
    CONFLICT = "was changed by somebody else at the same moment"


class FileGone(peewee.OperationalError):
    """A SQLite file is not where it was, and a new one in its place would be empty. The message
    says which."""


#: SQLite's primary result codes (https://sqlite.org/rescode.html).
_SQLITE = {
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.DAMAGED,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
    sqlite3.SQLITE_CANTOPEN: Fault.AWAY,
    sqlite3.SQLITE_IOERR: Fault.AWAY,
    sqlite3.SQLITE_PERM: Fault.AWAY,
    sqlite3.SQLITE_NOMEM: Fault.AWAY,
    sqlite3.SQLITE_CONSTRAINT: Fault.CONFLICT,
}
#: The first characters of PostgreSQL's codes, the longest first
#: (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_POSTGRESQL = {
    "53100": Fault.FULL,
    "53300": Fault.BUSY,  # too many connections
    "25006": Fault.READ_ONLY,  # also a standby that is not promoted yet
    "25P03": Fault.AWAY,  # it has ended the connection: the transaction was idle for too long,
    "25P04": Fault.AWAY,  # or took too long
    "40001": Fault.BUSY,  # serialization failure
    "40P01": Fault.BUSY,  # deadlock
    "55P03": Fault.BUSY,  # lock timeout
    "57014": Fault.BUSY,  # statement timeout
    "57P": Fault.AWAY,  # shut down, or not started yet
    "XX001": Fault.DAMAGED,
    "XX002": Fault.DAMAGED,
    "08": Fault.AWAY,
    "23": Fault.CONFLICT,
    "53": Fault.AWAY,
    "58": Fault.AWAY,  # input and output
}


class StandbyAway(peewee.OperationalError):
    """A commit is on the disk of PostgreSQL's server, but on no synchronous standby. Nobody knows
    whether it stays."""

    def __init__(self) -> None:
        super().__init__(
            "no synchronous standby has confirmed a commit: start the standby, or change "
            "synchronous_standby_names on the primary"
        )


#: Those that no code of a driver names.
_OURS: dict[type[BaseException], Fault] = {
    MaxConnectionsExceeded: Fault.BUSY,
    StandbyAway: Fault.STANDBY,
    FileGone: Fault.AWAY,
}


def is_database_error(error: BaseException) -> bool:
    """Whether an error comes from Peewee, from its pool, or from a driver."""
    kinds = (peewee.PeeweeException, sqlite3.Error, MaxConnectionsExceeded)
    return isinstance(error, kinds) or hasattr(error, "sqlstate") or hasattr(error, "pgcode")


def fault_of(error: BaseException) -> Fault | None:
    """What a database error means; None for any other error, and for an error that only a bug in
    the application can cause."""
    if not is_database_error(error):
        return None
    return next(filter(None, map(_fault, chain(error))), None)


def _fault(error: BaseException) -> Fault | None:
    for kind, fault in _OURS.items():
        if isinstance(error, kind):
            return fault
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None) or 0
        if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # the index of the log cannot grow
            return Fault.FULL
        return _SQLITE.get(code & 0xFF)
    if not (hasattr(error, "sqlstate") or hasattr(error, "pgcode")):
        return None
    code = sqlstate(error)
    if code is None:
        # The drivers raise these themselves, without a connection or after it was lost.
        lost = type(error).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")
        # A new session has a file of its own. If that cannot be written, the code is not told.
        is_full = "No space left on device" in str(error)
        return (Fault.FULL if is_full else Fault.AWAY) if lost else None
    return next((fault for start, fault in _POSTGRESQL.items() if code.startswith(start)), None)
