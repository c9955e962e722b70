"""The suspects of one worker process: jobs over which a worker has died, and which may be why.

A worker process runs several jobs at a time, and when it is killed all of them are suspects. So a
process never runs two suspects at a time: otherwise an innocent job could be there at every death.
It puts the others off, and sends them as soon as its suspect ends. See decision 6.
"""

import threading
from itertools import islice

from gifster.jobs import lease_rows
from gifster.jobs.job import Job

#: When a suspect ends, so many of those that it kept waiting are sent: this process takes one of
#: them, and other processes may take the rest.
MOST_FOLLOWERS = 8


class Suspects:
    """Which suspect a worker process runs, and which ones wait for its end.

    Parameters:
      worker: the name that holds the process's leases.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._running: str | None = None
        #: By id, until when they wait at most (seconds since the epoch).
        self._put_off: dict[str, float] = {}
        self._lock = threading.Lock()

    def begin(self, job_id: str, until: float) -> bool:
        """Whether a suspect that was just leased may run. If another one runs, its lease ends, and
        the relay sends it at that moment, unless `followers()` has it before."""
        with self._lock:  # to the end of the change, or the other one could end before
            if self._running is None:
                self._running = job_id
                return True
            self._put_off[job_id] = until
            lease_rows.put_off(job_id, self._worker, until)
            return False

    def end(self, job_id: str) -> None:
        """Note that a job runs no longer, if it is the suspect."""
        if self._running == job_id:
            with self._lock:
                if self._running == job_id:  # two threads may note the end of one, when both fail
                    self._running = None

    def followers(self) -> list[Job]:
        """The suspects that may begin because the one that kept them waiting has ended, in their
        order; the caller sends them. The relay sends the rest."""
        if not self._put_off:
            return []
        with self._lock:
            if self._running is not None:
                return []
            first = dict(islice(self._put_off.items(), MOST_FOLLOWERS))
            for job_id in first:
                del self._put_off[job_id]
        return lease_rows.follow(first)
