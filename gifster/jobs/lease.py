"""Leases: which worker has a job in hand, and since when nobody has heard of it.

A worker that begins a job leases its row in the outbox, and renews the lease while it works. One
that was killed renews nothing; its lease runs out, the relay sends the job again, and another
worker takes it. So a lost job comes back after `LEASE_S` and a little, on any broker, and one that
takes long is not done twice. The lease is two columns of the row: `leased_by`, and `send_at`, which
is when it runs out.

A job whose worker died may have killed it. After `MAX_DEATHS` it is given up. But a worker process
has several jobs in hand, and all of them are suspects: so one process never holds two suspects at a
time, and an innocent job is not seen at the scene again and again.
"""

import logging
import os
import socket
import threading
import time

import peewee

from gifster.jobs.outbox import Job

logger = logging.getLogger("gifster.jobs")

#: How long a lease holds (seconds). With the relay's rounds and a worker's polling, a job is in
#: other hands within 15 s of its worker's death.
LEASE_S = 10.0
#: What a row says of the work itself.
_WORK = (Job.id, Job.actor, Job.arguments, Job.attempts, Job.deaths)
#: A job that has killed so many workers is not tried again.
MAX_DEATHS = 3


class WorkersDied(Exception):
    """A job has killed too many workers in a row. `job`: its row."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.deaths} workers died over it")
        self.job = job


class Leases:
    """The leases of one worker process.

    Parameters:
      lease_s: how long one holds without being renewed (seconds); it is, three times as often.
    """

    def __init__(self, lease_s: float = LEASE_S) -> None:
        self.lease_s = lease_s
        self.renew_s = lease_s / 3
        #: The worker's name: host, process id, and what tells it from one that had the id before.
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        self._held: dict[str, float] = {}
        self._suspect: str | None = None
        self._lock = threading.Lock()
        self._renewing: threading.Thread | None = None

    def take(self, job_id: str, actor: str | None = None) -> Job | None:
        """Lease a job.

        Parameters:
          job_id: the row's.
          actor: who is about to do it; the job of another actor is not taken.

        Returns:
          the row, as far as it says what is to be done; None if it is not to be done: it is done
          already, given up, another actor's, or in another worker's hands.

        Raises:
          WorkersDied: it is to be given up now.
        """
        with self._lock:
            if job_id in self._held:
                return None  # though its lease ran out: a machine that slept has renewed nothing
        now = time.time()
        free = Job.leased_by.is_null() | (Job.send_at <= now)
        its = (Job.id == job_id) if actor is None else (Job.actor == actor)
        taken = (
            Job.update(
                leased_by=self.worker,
                thread=threading.current_thread().name,
                started_at=now,
                send_at=now + self.lease_s,
                # Whoever leased it and did not come back has died over it.
                deaths=peewee.Case(None, [(Job.leased_by.is_null(), Job.deaths)], Job.deaths + 1),
            )
            .where(Job.id == job_id, Job.failed_at.is_null(), free & its)
            .execute()
        )
        job = Job.select(*_WORK).where(Job.id == job_id).get_or_none() if taken else None
        if job is None:
            return None
        if job.deaths >= MAX_DEATHS:
            raise WorkersDied(job)
        with self._lock:
            if job.deaths and self._suspect is not None:
                Job.update(leased_by=None, send_at=now + self.renew_s).where(
                    Job.id == job_id
                ).execute()
                return None
            if job.deaths:
                self._suspect = job_id
            self._held[job_id] = now
            if self._renewing is None:
                self._renewing = threading.Thread(target=self._renew, daemon=True, name="leases")
                self._renewing.start()
        return job

    def forget(self, job_id: str) -> None:
        """Stop renewing a lease; the row is the caller's business."""
        with self._lock:
            self._held.pop(job_id, None)
            if self._suspect == job_id:
                self._suspect = None

    def give_back(self) -> list[Job]:
        """Let go of all jobs that are still held, as the process is about to end.

        Returns:
          the jobs, which can be sent again.
        """
        with self._lock:
            held, self._held = list(self._held), {}
        mine = Job.id.in_(held) & (Job.leased_by == self.worker)
        jobs = list(Job.select().where(mine))
        Job.update(leased_by=None, send_at=time.time()).where(mine).execute()
        return jobs

    def _renew(self) -> None:
        """Renew what is held for a while, until nothing is held. Short jobs cost no renewal."""
        while True:
            time.sleep(self.renew_s)
            with self._lock:
                if not self._held:
                    self._renewing = None
                    return
                begun_before = time.time() - self.renew_s / 2
                old = [job_id for job_id, since in self._held.items() if since < begun_before]
            try:
                self._extend(old)
            except peewee.PeeweeException as error:
                logger.warning("leases cannot be renewed: %s", error)

    def _extend(self, job_ids: list[str]) -> None:
        if job_ids:
            with Job._meta.database.connection_context():
                Job.update(send_at=time.time() + self.lease_s).where(
                    Job.id.in_(job_ids), Job.leased_by == self.worker
                ).execute()
