"""Leases: which worker process runs a job, and until when it has to show that it still lives.

A worker that begins a job leases its row in the outbox, and renews the lease while it works. A
killed worker renews nothing: its lease runs out, the relay sends the job again, and another worker
takes it. So a lost job comes back shortly after `LEASE_S`, on any broker, and a long job is not
done twice. The lease is two columns of the row: `leased_by`, and `send_at`, when it runs out by the
clock of the outbox (`clock.py`). Only the relay ends the lease of another process, because it
notices when that clock is set, and all leases seem to have run out.

The states of a job's lease, as the process sees it that has it or had it:

=========  =====================  ================================  ============================
state      where it is known      what ends it                      if the process dies then
=========  =====================  ================================  ============================
free       row: no `leased_by`    `take()` of any process: held;    its message is with a worker
                                  put off, if it is a suspect and   or the broker, or the relay
                                  another one runs; left, if the    sends it at `send_at`
                                  database did not answer
put off    row: free; `Suspects`  `followers()`, or the relay at    the relay sends it at
                                  `send_at`: free                   `send_at`
held       row: `leased_by`;      `ending()`: ended, or left;       it runs out: free, and one
           `_held`                `give_back()`: free; a renewal    death more
                                  that does not find it: lost
lost       `_held` alone; the     the end of the job, which         nothing is left to end;
           row is somebody        deletes a row that is done        another process has the job
           else's                 and changes no other
left       `_left`; the row may   `settle()`: ended as it should    if the row has it, it runs
           have it                have been, or somebody has had    out: free, and one death
                                  it: a death is taken back         more; a done job runs again
ended      the row is gone        nothing                           nothing is left to do
           (done), dead, or free
           until its retry
=========  =====================  ================================  ============================

The thread of a job takes and ends its lease. One thread of the process renews those that are held,
and settles those that are left. The relay ends one of any process that ran out, and counts a death
of its worker. A worker that lives takes that back, once it reaches the database again: it may have
been cut off while it held the lease, or while it took or ended it (decision 83).

A job whose worker died may have killed it, so after `MAX_DEATHS` the job is given up. `suspects.py`
keeps innocent jobs out of that. `lease_rows.py` has the changes of the row.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from typing import Any

from gifster.jobs import clock, lease_rows
from gifster.jobs.job import Job
from gifster.jobs.lease_rows import Lease
from gifster.jobs.problem import Problem
from gifster.jobs.shared_commits import SharedCommits
from gifster.jobs.suspects import Suspects
from gifster.jobs.timelines import history_of

logger = logging.getLogger("gifster.jobs")

#: How long a lease holds (seconds). With the relay's rounds and a worker's polling, another worker
#: has the job within 15 s of its worker's death.
LEASE_S = 10.0
#: A job over which so many workers died is given up. Three are not enough: while workers are killed
#: every second and a clock jumps, an innocent job can be there at each of them.
MAX_DEATHS = 5


class WorkersDied(Exception):
    """Too many workers died over a job. `job`: its row."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.deaths} workers died over it")
        self.job = job


class Leases:
    """The leases of one worker process.

    Parameters:
      lease_s: how long a lease holds without being renewed (seconds). It is renewed three times as
        often.
    """

    def __init__(self, lease_s: float = LEASE_S) -> None:
        self.lease_s = lease_s
        self.renew_s = lease_s / 3
        #: The worker's name: host, process id, and a random part, as process ids come again.
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        self._held: dict[str, Lease] = {}
        #: By job, which may have several: nobody knows which of the attempts to take it has
        #: succeeded.
        self._left: dict[str, list[Lease]] = {}
        #: The history of the database, as far as this process knows.
        self._history: str | None = None
        self._suspects = Suspects(self.worker)
        self._lock = threading.Lock()
        self._renewing: threading.Thread | None = None
        self._cannot_renew = Problem(logger)
        self.commits = SharedCommits()

    def take(
        self,
        job_id: str,
        actor: str | None = None,
        created_at: float | None = None,
        retries: int | None = None,
    ) -> Job | None:
        """Lease a job.

        Parameters:
          job_id: the id of the row.
          actor: the actor that is about to run; the job of another actor is not taken.
          created_at: when the row was made; a later one with the same id is not taken.
          retries: how often the job had failed when the message was sent; None if nobody knows. If
            it has failed since, it is not taken before its next attempt is due.

        Returns:
          the columns of the row that describe the work; None if there is nothing to do, because the
          job is done, given up, another actor's, leased, or waits for its retry.

        Raises:
          WorkersDied: the job has to be given up now; its lease is held.
        """
        if self._knows_better(job_id):
            return None
        now = clock.now(Job._meta.database)
        its = {"actor": actor, "created_at": created_at, "retries": retries}
        values = {
            "job_id": job_id,
            **{name: value for name, value in its.items() if value is not None},
            "worker": self.worker,
            "thread": threading.current_thread().name,
            "now": now,
            "lease_s": self.lease_s,
        }
        with self._settled_later(Lease(job_id, now, self._history)):
            if self._history is None:
                self._history = history_of(Job._meta.database)
            row = self.commits.run(Job._meta.database, lambda: lease_rows.take(**values))
            if row is None:
                return None
            job = lease_rows.job_of(row)
            is_dead = job.deaths >= MAX_DEATHS
            if job.deaths and not is_dead and not self._suspects.begin(job_id, now + self.renew_s):
                return None
            self._hold(Lease(job_id, now, self._history, job.deaths))
        if is_dead:
            raise WorkersDied(job)
        return job

    def _knows_better(self, job_id: str) -> bool:
        """Whether this process has the job, whatever its row says."""
        with self._lock:
            if job_id in self._held:
                return True  # even if the lease ran out: a machine that slept renewed nothing
            # Its row is still to be deleted.
            return any(lease.done for lease in self._left.get(job_id, ()))

    def _hold(self, lease: Lease) -> None:
        with self._lock:
            self._held[lease.job_id] = lease
            self._keep_renewing()

    @contextmanager
    def ending(self, job_id: str, *, done: bool = False, **then: Any) -> Iterator[None]:
        """Stop renewing a lease, while the caller changes or deletes the row. If the database does
        not answer, that is done later.

        Parameters:
          done: the caller deletes the row.
          then: otherwise, the columns as the caller wants them.
        """
        held = self.forget(job_id)
        if held is None or held.lost:
            yield
            return
        with self._settled_later(replace(held, done=done, then=then)):
            yield

    def forget(self, job_id: str) -> Lease | None:
        """Stop renewing a lease. Returns it."""
        self._suspects.end(job_id)
        with self._lock:
            return self._held.pop(job_id, None)

    @contextmanager
    def _settled_later(self, lease: Lease) -> Iterator[None]:
        """Leave a lease whose change fails within the block: it is settled later."""
        try:
            yield
        except BaseException:  # an interruption of the thread, too
            with self._lock:
                held = self._held.get(lease.job_id)
                is_its = held is None or held.taken_at == lease.taken_at
                if is_its:  # the job does not begin, so nobody would end it
                    self._held.pop(lease.job_id, None)
                self._left.setdefault(lease.job_id, []).append(lease)
                with suppress(RuntimeError):  # the next lease tries again
                    self._keep_renewing()
            if is_its:
                self._suspects.end(lease.job_id)
            raise

    def followers(self) -> list[Job]:
        """The suspects that may begin because the one that kept them waiting has ended (see
        `suspects.py`); the caller sends them."""
        return self._suspects.followers()

    def give_back(self) -> list[Job]:
        """End all leases, because the process is about to end.

        Returns:
          the jobs, to be sent again.
        """
        with self._lock:
            held, self._held = list(self._held), {}
            left, self._left = list(chain.from_iterable(self._left.values())), {}
        given = lease_rows.give_back(held, self.worker) if held else []
        if left:
            self._settle(left, history_of(Job._meta.database))
        return given

    def _keep_renewing(self) -> None:
        """Start the thread that renews, unless it runs. Call it with the lock.

        Raises:
          RuntimeError: the process may have no more threads now.
        """
        if self._renewing is None or not self._renewing.is_alive():
            self._renewing = threading.Thread(target=self._renew, daemon=True, name="leases")
            self._renewing.start()

    def _renew(self) -> None:
        """Renew the leases of jobs that run for a while, until there is none. A short job costs no
        renewal."""
        while True:
            time.sleep(self.renew_s)
            with self._lock:
                if not self._held and not self._left:
                    self._renewing = None
                    return
                begun_before = time.monotonic() - self.renew_s / 2
                left = list(chain.from_iterable(self._left.values()))
                old = {
                    job_id: lease
                    for job_id, lease in self._held.items()
                    if lease.since < begun_before and not lease.lost
                }
            # Whatever goes wrong: without this thread all long jobs would be done twice.
            try:
                with Job._meta.database.connection_context():
                    self._history = history_of(Job._meta.database)
                    self._extend(old)
                    self._settle(left, self._history)
            except Exception as error:  # noqa: BLE001 drivers raise errors that Peewee does not wrap
                self._cannot_renew.report(f"leases cannot be renewed: {error}")
            else:
                self._cannot_renew.resolved("leases are renewed again")

    def _extend(self, leases: Mapping[str, Lease]) -> None:
        for job_id in lease_rows.renew(leases.keys(), self.worker, self.lease_s):
            lease_rows.take_back_death(leases[job_id], self.worker)
            with self._lock:
                if self._held.get(job_id) == leases[job_id]:
                    self._held[job_id] = replace(leases[job_id], lost=True)

    def _settle(self, leases: Sequence[Lease], history: str) -> None:
        """Settle leases, the oldest first. There may be many after the database was away: those
        that take too long come later, so that the others are renewed in time."""
        until = time.monotonic() + self.renew_s
        for lease in leases:
            if time.monotonic() > until:
                return
            lease_rows.settle(lease, self.worker, history)
            with self._lock:
                its = self._left.get(lease.job_id, [])
                if lease in its:
                    its.remove(lease)
                if not its:
                    self._left.pop(lease.job_id, None)
