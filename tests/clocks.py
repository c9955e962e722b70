"""A clock that a test sets."""

import time
from datetime import datetime

import pytest

from gifster.jobs import clock


class SetClock:
    """The clock of this process's outbox, wherever it is: the machine's, or PostgreSQL's."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch, self._time, self._read = patch, time.time, clock.read

    def ahead(self, seconds: float) -> None:
        """Let it be so far ahead of the right time (seconds)."""
        self._patch.setattr(time, "time", lambda: self._time() + seconds)
        self._patch.setattr(clock, "read", lambda database: self._read(database) + seconds)

    def stop(self, moment: datetime) -> None:
        """Let it stand still at a moment."""
        self._patch.setattr(time, "time", moment.timestamp)
        self._patch.setattr(clock, "read", lambda _: moment.timestamp())
