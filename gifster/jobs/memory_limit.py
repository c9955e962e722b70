"""The memory of a worker process, and its limit. A process that is too large takes no more jobs,
finishes those that it runs, and has Dramatiq's main process restart all (decision 12)."""

import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from gifster.jobs.brokers.fair import FairScheduler
from gifster.jobs.worker_signals import WorkerSignals

logger = logging.getLogger("gifster.jobs")


def memory_bytes() -> int:
    """The resident set size of this process; where the system does not tell it, the largest so
    far."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class MemoryLimit:
    """The limit of this process.

    Parameters:
      max_bytes: a process that uses more is restarted; None for no limit.
      signals: know the main process, and whether we stop already.
    """

    def __init__(self, max_bytes: int | None, signals: WorkerSignals) -> None:
        self._max_bytes, self._signals = max_bytes, signals
        #: Whether this process is too large, and therefore takes no more jobs.
        self.is_exceeded = False

    def check(self, scheduler: FairScheduler) -> None:
        """Look how large the process is; ask for a restart if it is too large and idle."""
        limit, main = self._max_bytes, self._signals.main_process
        if limit is None or main is None or self._signals.is_ending:
            return
        if not self.is_exceeded and (has := memory_bytes()) > limit:
            self.is_exceeded = True
            logger.warning("too large: %d MB of at most %d, restarting", has >> 20, limit >> 20)
            scheduler.pause(set(), everything=True)
        if self.is_exceeded and not scheduler.running and not self._signals.is_hung_up:
            os.kill(main, signal.SIGHUP)  # Dramatiq's main process restarts all
