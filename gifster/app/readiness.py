"""Whether the database is ready: it answers, its schema is up to date, and it takes a write.

Only a committed write proves that. One that is rolled back stays in the memory of SQLite or
PostgreSQL, and succeeds on a full disk.
"""

import logging
import os
import time
from threading import Lock

from gifster.app import database
from gifster.app.database import db
from gifster.app.faults import Fault, fault_of
from gifster.app.models import WriteProbe
from gifster.jobs import transaction

logger = logging.getLogger("gifster.app.readiness")

#: About the size of an upload's row, job and indexes, so that a disk without room for an upload has
#: none for a probe (bytes).
PROBE_BYTES = 32 * 1024
#: How long an answer is valid (seconds), so that no stranger can make the disk sync all the time.
GOOD_FOR_S, BAD_FOR_S = 10.0, 1.0
#: How long the database counts as not ready after it refused a request (seconds).
REFUSED_FOR_S = 15.0
#: How long a request waits for the very first answer (seconds), and what it gets without one.
FIRST_WITHIN_S, NOT_KNOWN = 2.0, "not known yet"


class NotReady(Exception):
    """The database is not ready. The message says why."""


def check_write() -> None:
    """Write about as much as an upload does into the database, and commit.

    Raises:
      Exception: the database's error, if it refuses the write.
    """
    # Random, so that PostgreSQL has nothing to compress.
    row = {"id": 1, "content": os.urandom(PROBE_BYTES)}
    with transaction(db):
        query = WriteProbe.insert(row).on_conflict(
            conflict_target=[WriteProbe.id], update={"content": row["content"]}
        )
        query.execute()


def check() -> None:
    """Check that the database answers, is up to date, and takes a write.

    Raises:
      NotReady: one of these fails. Strangers may read the message: it names no host, user or path.
    """
    try:
        with db.connection_context():
            pending = database.pending_migrations()
            if not pending:
                check_write()
    except Exception as error:
        raise NotReady(f"the database {fault_of(error) or Fault.AWAY}") from error
    if pending:
        raise NotReady(f"pending migrations: {', '.join(pending)}")


class Readiness:
    """The answers of `check()`, each valid for a while. For any number of threads."""

    def __init__(self) -> None:
        self._checking = Lock()
        self._answer = NOT_KNOWN
        self._holds_until = 0.0
        self._refused: tuple[float, Fault] | None = None

    def refused(self, fault: Fault) -> None:
        """Note that the database has just refused a request. A disk that is too full for an upload
        may have room for a probe."""
        if fault in (Fault.FULL, Fault.READ_ONLY, Fault.DAMAGED):
            self._refused = (time.monotonic(), fault)

    def answer(self) -> str:
        """What is wrong with the database, or an empty text. Writes at most once a second."""
        refused = self._refused
        if refused is not None and time.monotonic() < refused[0] + REFUSED_FOR_S:
            return f"the database {refused[1]}"
        # A check may wait for a lock. Other requests get the previous answer, and wait for nothing.
        if self._checking.acquire(timeout=FIRST_WITHIN_S if self._answer == NOT_KNOWN else 0):
            try:
                if time.monotonic() >= self._holds_until:
                    self._look()
            finally:
                self._checking.release()
        return self._answer

    def _look(self) -> None:
        try:
            check()
            self._answer = ""
        except NotReady as error:
            self._answer = str(error)
            logger.warning("not ready: %s reason=%r", error, str(error.__cause__ or ""))
        self._holds_until = time.monotonic() + (BAD_FOR_S if self._answer else GOOD_FOR_S)
