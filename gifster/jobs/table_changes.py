"""Changes tables of PostgreSQL while others use them.

A table that somebody reads, such as a backup, cannot be changed, and whoever asks for it after us
waits behind us: all workers of an application, for as long as a backup takes. So a change waits for
a moment only, and is tried again.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import peewee

from gifster.jobs.database_errors import Fault, sqlstate_of

T = TypeVar("T")

#: How long a change waits for a table that others use, and how long it tries again (seconds).
TABLE_WAIT_S, TABLE_PATIENCE_S = 2, 60
#: PostgreSQL's codes of a table that others use: a lock timeout, and a deadlock.
_IN_USE = {"55P03", "40P01"}
#: The oldest session that uses a table. A role sees of others' sessions only the number.
_OLDEST = """
    SELECT a.application_name, a.client_addr, a.pid,
        EXTRACT(EPOCH FROM now() - a.xact_start)::int
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
        AND l.relation IS NOT NULL AND l.granted
    ORDER BY a.xact_start NULLS LAST LIMIT 1
"""


class TableInUse(peewee.OperationalError):
    """Another session has used a table all the time. The message says which session."""

    #: What that is to those who use the database.
    fault = Fault.BUSY


def change_tables(database: Any, lock: int, change: Callable[[], T]) -> T:
    """Change tables of PostgreSQL in a transaction, and return what the change returns.

    Parameters:
      lock: the number of an advisory lock, which lets only one process at a time change them.
      change: changes them. It may be called several times.

    Raises:
      TableInUse: another session uses one for too long.
    """
    give_up: float | None = None
    while True:
        try:
            with database.atomic():
                database.execute_sql("SET LOCAL statement_timeout = 0")
                database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (lock,))
                database.execute_sql(f"SET LOCAL lock_timeout = '{TABLE_WAIT_S}s'")
                return change()
        except peewee.PeeweeException as error:
            if sqlstate_of(error) not in _IN_USE:
                raise
            # What was changed before may have taken long.
            give_up = give_up or time.monotonic() + TABLE_PATIENCE_S
            if time.monotonic() > give_up:
                raise TableInUse(_who_uses_it(database)) from error
        time.sleep(TABLE_WAIT_S)


def _who_uses_it(database: Any) -> str:
    """What a change says that waited in vain."""
    who = ""
    if oldest := database.execute_sql(_OLDEST).fetchone():
        name, address, pid, seconds = oldest
        who = f": probably process {pid} of the server"
        if seconds is not None:
            who += (
                f" ({name or 'without a name'}, at {address or 'its own machine'}), whose "
                f"transaction began {seconds} s ago"
            )
    return (
        f"another session uses a table that a migration changes{who}. Wait until it ends, as a "
        "backup does, and migrate again: that goes on where this has stopped"
    )
