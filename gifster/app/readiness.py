"""Whether the database is ready: it answers, its schema is up to date, and it takes a write.

Only a committed write proves that. One that is rolled back stays in the memory of SQLite or
PostgreSQL, and succeeds on a full disk.
"""

import logging
import math
import os
import socket
import time
import zlib
from collections.abc import Callable
from threading import Event, Lock, Thread

import peewee

from gifster.app import database
from gifster.app.database import db
from gifster.app.faults import wrong_with_the_database
from gifster.app.models import WriteProbe
from gifster.jobs import BrokerUnavailable, transaction
from gifster.jobs.database_errors import Fault, fault_of
from gifster.jobs.problem import Problem

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
#: How long the request that begins a check waits for its end (seconds): probes have timeouts of
#: their own, often a second.
WITHIN_S = 0.8
#: A check that takes so long means that nobody answers (seconds).
SILENT_S = 5.0
#: Each process writes one of so many rows, so that one which is stopped while it has its row locked
#: makes none of the others wait.
ROWS = 64


class NotReady(Exception):
    """The database is not ready. The message says why."""


def check_write() -> None:
    """Write about as much as an upload does into the database, and commit.

    Raises:
      Exception: the database's error, if it refuses the write.
    """
    # Random, so that PostgreSQL has nothing to compress.
    row = {"id": _row(), "content": os.urandom(PROBE_BYTES)}
    with transaction(db):
        query = WriteProbe.insert(row).on_conflict(
            conflict_target=[WriteProbe.id], update={"content": row["content"]}
        )
        query.execute()


def _row() -> int:
    """The row of this process. Processes that share a SQLite database share its lock, too."""
    if isinstance(db.obj, peewee.SqliteDatabase):
        return 1
    return 1 + zlib.crc32(f"{socket.gethostname()}:{os.getpid()}".encode()) % ROWS


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
        raise NotReady(wrong_with_the_database(fault_of(error) or Fault.AWAY)) from error
    if pending:
        raise NotReady(f"pending migrations: {', '.join(pending)}")


class Outcome:
    """The outcome of a check, which is valid for a while. For any number of threads.

    The check runs on a thread of its own, one at a time. It may wait for a lock, or for a machine
    that says nothing, and those who ask wait for neither.

    Parameters:
      look: returns what is wrong; an empty text if nothing is.
      what: what is checked, for people: it has not answered, if the check takes too long.
    """

    def __init__(self, look: Callable[[], str], what: str) -> None:
        self._check, self._what = look, what
        self._lock = Lock()
        self._answer = NOT_KNOWN
        self._holds_until = 0.0
        #: When somebody had doubts, and when the last check began that found nothing wrong.
        self._doubted_at = self._fine_at = -math.inf
        #: When the present check began (`time.monotonic()`), and what is set at its end.
        self._began, self._done = 0.0, Event()
        self._done.set()

    def get(self) -> str:
        """What is wrong; an empty text if nothing is."""
        with self._lock:
            is_mine = self._done.is_set() and time.monotonic() >= self._holds_until
            if is_mine:
                self._began, self._done = time.monotonic(), Event()
                look = Thread(target=self._look, args=[self._done], daemon=True, name="readiness")
                try:
                    look.start()
                except RuntimeError as error:  # the process may have no more threads now
                    logger.warning("%s cannot be checked now: %s", self._what, error)
                    self._holds_until = self._began + BAD_FOR_S
                    self._done.set()
            wait_s = FIRST_WITHIN_S if self._answer == NOT_KNOWN else WITHIN_S if is_mine else 0
        # Other requests get the previous answer.
        if not self._done.wait(wait_s) and time.monotonic() - self._began >= SILENT_S:
            return f"{self._what} has not answered for {SILENT_S:.0f} seconds"
        return self._answer

    @property
    def in_doubt(self) -> bool:
        """Whether no check that began after the last doubt has found that nothing is wrong."""
        return self._doubted_at > self._fine_at

    def doubt(self) -> None:
        """Check again soon, if the answer is that nothing is wrong."""
        with self._lock:
            self._doubted_at = time.monotonic()
            if not self._answer:
                self._holds_until = min(self._holds_until, self._began + BAD_FOR_S)

    def _look(self, done: Event) -> None:
        began = time.monotonic()
        try:
            self._answer = self._check()
        except Exception as error:
            logger.exception("%s cannot be checked", self._what)
            self._answer = f"{self._what} cannot be checked: {type(error).__name__}"
        self._holds_until = time.monotonic() + (BAD_FOR_S if self._answer else GOOD_FOR_S)
        if not self._answer:
            self._fine_at = began
        done.set()


class Readiness:
    """What load balancers want to know of one process. For any number of threads.

    Parameters:
      ask_broker: asks whether the broker takes jobs; raises `BrokerUnavailable` if it does not.
    """

    def __init__(self, ask_broker: Callable[[], object] | None = None) -> None:
        self._refused: tuple[float, Fault] | None = None
        self._database = Outcome(_wrong_with_the_database, "the database")
        self._ask_broker = ask_broker
        self._broker = Outcome(self._wrong_with_the_broker, "the broker")
        self._problem = Problem(logger)
        #: Whether the process is about to stop, and wants no more requests.
        self.draining = False

    def refused(self, fault: Fault) -> None:
        """Note that the database has just refused a request. A disk that is too full for an upload
        may have room for a probe. A probe finds all other faults that last, and their end."""
        if fault in (Fault.FULL, Fault.DAMAGED):
            self._refused = (time.monotonic(), fault)
        elif fault in (Fault.READ_ONLY, Fault.AWAY, Fault.STANDBY):
            self._database.doubt()

    @property
    def in_doubt(self) -> bool:
        """Whether the database has refused a request for a reason that may last, and no probe has
        succeeded since. Then `takes_no_writes()` is worth its time."""
        return self._database.in_doubt

    def takes_no_writes(self) -> bool:
        """Whether a probe finds that, or has just found it. It writes at most once a second."""
        return self._database.get() != ""

    def answer(self) -> str:
        """What is wrong with the database, or an empty text. Writes at most once a second."""
        refused = self._refused
        if refused is not None and time.monotonic() < refused[0] + REFUSED_FOR_S:
            return wrong_with_the_database(refused[1])
        return self._database.get()

    def broker(self) -> str:
        """What is wrong with the broker, or an empty text. Asks it at most once a second. Strangers
        may read it, so the log has the reason, which names hosts."""
        return self._broker.get()

    def _wrong_with_the_broker(self) -> str:
        try:
            if self._ask_broker is not None:
                self._ask_broker()
        except BrokerUnavailable as error:
            self._problem.report(f"the broker takes no jobs: {error}")
            return "the broker takes no jobs"
        self._problem.resolved("the broker takes jobs again")
        return ""


def _wrong_with_the_database() -> str:
    try:
        check()
    except NotReady as error:
        logger.warning("not ready: %s reason=%r", error, str(error.__cause__ or ""))
        return str(error)
    return ""
