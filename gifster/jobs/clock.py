"""The clock of an outbox: one for all machines that share it.

Leases, due times and heartbeats are moments that one machine writes and another one reads. On
PostgreSQL they go by the server's clock. A process measures how far that is ahead of its own
monotonic clock, which nobody can set, and adds the difference. So the clock of its machine may be
wrong, or be set while it runs. The leases do not even depend on a measurement: `in_sql()` is the
server's clock within a statement. With SQLite all processes are on one machine, and have its clock.

Somebody may set that one clock, too. The relay notices it (`Steps`), and whatever deletes for good
asks `watched.moment_before()`.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import peewee

from gifster.jobs.database_errors import is_database_error

logger = logging.getLogger("gifster.jobs")

#: How long a measurement is good (seconds). Two quartz clocks drift apart by a millisecond.
MEASURED_FOR_S = 10.0
#: By how much a machine's clock may differ without a warning, and by how much it may move against
#: its monotonic clock until the difference is measured anew (seconds).
OFF_S, MOVED_S = 2.0, 1.0
#: How far a clock may drift without having been set (seconds).
SLACK_S = 5.0

#: A model's database; None if it has none.
Database = peewee.Database | peewee.DatabaseProxy | None

_IN_SQL = "date_part('epoch', clock_timestamp())"


@dataclass(frozen=True)
class _Measured:
    """How far the database's clock, and the machine's, were ahead of the monotonic clock `at` one
    of its moments."""

    ahead: float
    machine_ahead: float
    at: float


class _Difference:
    """How far the clock of one database is ahead of this process's monotonic clock."""

    def __init__(self) -> None:
        self._measured: _Measured | None = None
        self._lock = threading.Lock()
        #: What was last said of the machine's clock: how far it is ahead (seconds).
        self._told: float | None = None

    def now(self, database: peewee.Database) -> float:
        known, at = self._measured, time.monotonic()
        if known is None or not self._is_good(known, at):
            known = self._measure_now(database)
        return time.time() if known is None else time.monotonic() + known.ahead

    @staticmethod
    def _is_good(known: _Measured, at: float) -> bool:
        moved = time.time() - at - known.machine_ahead
        return at - known.at < MEASURED_FOR_S and -MOVED_S < moved < MOVED_S

    def _measure_now(self, database: peewee.Database) -> _Measured | None:
        """Measure, unless another thread is about it."""
        never = self._measured is None
        # Only the first time somebody opens a connection for it: some threads serve all clients.
        if database.is_closed() and not never:
            return self._measured
        if self._lock.acquire(blocking=never):
            try:
                with database.connection_context() if database.is_closed() else nullcontext():
                    self.measure(database)
            except Exception as error:
                # It goes by what it knows: what the caller asks next will fail by itself.
                if not is_database_error(error):
                    raise
                logger.debug("the database does not tell the time: %s", error)
            finally:
                self._lock.release()
        return self._measured

    def measure(self, database: peewee.Database) -> None:
        before = time.monotonic()
        told = read(database)
        after = time.monotonic()
        middle, error = (before + after) / 2, (after - before) / 2
        ahead, known = told - middle, self._measured
        if known is not None and abs(ahead - known.ahead) <= error:
            ahead = known.ahead  # the answer took longer than the clocks can have drifted
        self._measured = _Measured(ahead, time.time() - after, after)
        self._tell(self._measured.machine_ahead - ahead, error)

    def _tell(self, off: float, error: float) -> None:
        """Log when the machine's clock gets wrong, by another time, or right again."""
        if abs(off) - error > OFF_S:
            if self._told is None or abs(off - self._told) > OFF_S:
                logger.warning("%s: set both by NTP", wrong(off))
                self._told = off
        elif self._told is not None and abs(off) < OFF_S / 2:
            logger.warning("the clock of this machine is right again")
            self._told = None

    @property
    def off_s(self) -> float | None:
        known = self._measured
        return None if known is None else known.machine_ahead - known.ahead


_differences: WeakKeyDictionary[peewee.Database, _Difference] = WeakKeyDictionary()


def read(database: peewee.Database) -> float:
    """Ask a database that has a clock for the time (seconds since the epoch)."""
    return float(database.execute_sql(f"SELECT {_IN_SQL}").fetchone()[0])


def now(database: Database) -> float:
    """The time by the clock of a model's database (seconds since the epoch); by the machine's, if
    the model has no database."""
    real = _with_clock(database)
    return time.time() if real is None else _difference(real).now(real)


def measured(database: Database) -> float:
    """The same; a database that has a clock is asked now.

    Raises:
      peewee.PeeweeException: it does not answer.
    """
    real = _with_clock(database)
    if real is not None:
        _difference(real).measure(real)
    return now(real)


def off_s(database: Database) -> float | None:
    """How far this machine's clock is ahead of a database's (seconds), when it was last measured;
    None if it was not, or they are one clock."""
    real = _with_clock(database)
    return None if real is None else _difference(real).off_s


def wrong(off: float, whose: str = "this machine") -> str:
    """What to say of a clock that differs from the database's by so much (seconds)."""
    side = "ahead of" if off > 0 else "behind"
    return f"the clock of {whose} is {abs(off):,.0f} s {side} the database's"


def has_clock(database: Database) -> bool:
    """Whether a database has a clock of its own, because it may be on another machine."""
    return _with_clock(database) is not None


def in_sql(database: Database, at: Any, plus_s: Any) -> Any:
    """A moment for a statement that runs now.

    Parameters:
      at: the time; ignored if the database has a clock.
      plus_s: how much later the moment is (seconds).
    """
    return peewee.SQL(_IN_SQL) + plus_s if has_clock(database) else at + plus_s


def _with_clock(database: Database) -> peewee.Database | None:
    real = database.obj if isinstance(database, peewee.DatabaseProxy) else database
    return real if isinstance(real, peewee.PostgresqlDatabase) else None


def _difference(database: peewee.Database) -> _Difference:
    found = _differences.get(database)
    if found is None:
        found = _differences.setdefault(database, _Difference())
    return found


class Steps:
    """Notices when somebody sets a clock, or when the monotonic clock stood still, as on a machine
    that was suspended.

    Parameters:
      tell: tells the time (seconds since the epoch).
    """

    def __init__(self, tell: Callable[[], float] = time.time) -> None:
        self._tell = tell
        self._ahead = tell() - time.monotonic()

    def step_s(self) -> float:
        """By how much the clock was set since the last call (seconds; negative: back); 0 if by less
        than `SLACK_S`."""
        before, self._ahead = self._ahead, self._tell() - time.monotonic()
        step = self._ahead - before
        return step if abs(step) > SLACK_S else 0.0
