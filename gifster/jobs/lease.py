"""Leases: which worker process runs a job, and until when it has to show that it still lives.

A worker that begins a job leases its row in the outbox, and renews the lease while it works. A
killed worker renews nothing: its lease runs out, the relay sends the job again, and another worker
takes it. So a lost job comes back shortly after `LEASE_S`, on any broker, and a long job is not
done twice. The lease is two columns of the row: `leased_by`, and `send_at`, when it runs out by the
clock of the outbox (`clock.py`). Only the relay ends the lease of another process, because it
notices when that clock is set, and all leases seem to have run out.

A lease that runs out is counted as a death of its worker. A worker that lives corrects that, once
it reaches the database again: it may have been cut off while it held the lease, or while it took or
ended it, and then nobody knows whether the row has it.

A job whose worker died may have killed it, so after `MAX_DEATHS` the job is given up. But a worker
process runs several jobs at a time, and all of them are suspects. So one process never runs two
suspects at a time: otherwise an innocent job could be there at every death. It puts the others off,
and sends them again as soon as its suspect ends.
"""

import functools
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from gifster.jobs import clock
from gifster.jobs.job import RESEND_AFTER_S, Job
from gifster.jobs.problem import Problem
from gifster.jobs.shared_commits import SharedCommits
from gifster.jobs.statements import Statement
from gifster.jobs.timelines import history_of

logger = logging.getLogger("gifster.jobs")

#: How long a lease holds (seconds). With the relay's rounds and a worker's polling, another worker
#: has the job within 15 s of its worker's death.
LEASE_S = 10.0
#: The columns that describe the work.
_WORK: Sequence[Any] = (Job.id, Job.actor, Job.arguments, Job.attempts, Job.deaths)
#: A job over which so many workers died is given up. Three are not enough: while workers are killed
#: every second and a clock jumps, an innocent job can be there at each of them.
MAX_DEATHS = 5
#: When a suspect ends, so many of those that it kept waiting are sent: this process takes one of
#: them, and other processes may take the rest.
MOST_FOLLOWERS = 8


class WorkersDied(Exception):
    """Too many workers died over a job. `job`: its row."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.deaths} workers died over it")
        self.job = job


@functools.cache
def _take_statement(*asked: str) -> Statement:
    """The statement that leases a job, if its row has what is asked for."""

    def make(**value: Any) -> Any:
        its = [
            _is_its_turn(value["now"], value[name])
            if name == "retries"
            else getattr(Job, name) == value[name]
            for name in asked
        ]
        until = clock.in_sql(Job._meta.database, value["now"], value["lease_s"])
        return Job.update(
            leased_by=value["worker"],
            thread=value["thread"],
            started_at=value["now"],
            send_at=until,
            held=False,  # the relay may have throttled a job whose message still came
            actor_missing=False,
        ).where(Job.id == value["job_id"], Job.failed_at.is_null(), Job.leased_by.is_null(), *its)

    return Statement(make, ["job_id", *asked, "worker", "thread", "now", "lease_s"])


def _is_its_turn(now: Any, retries: Any) -> Any:
    """Whether a message that was sent after so many retries may run a job. The broker may have
    several messages of a job that waited for long. The first of them that fails has the job wait
    for its retry, which has a message of its own; the others come too early."""
    return Job.due_at.is_null() | (Job.due_at <= now) | (Job.attempts <= retries)


_READ = Statement(lambda job_id: Job.select(*_WORK).where(Job.id == job_id))


def _job(row: Sequence[Any]) -> Job:
    """A job of the columns that describe the work, as the database has them."""
    return Job(
        **{field.name: field.python_value(value) for field, value in zip(_WORK, row, strict=True)}
    )


@dataclass(frozen=True)
class _Lease:
    """A lease that this process has, or may have.

    Parameters:
      job_id: the id of the row.
      taken_at: as the row has it (`started_at`).
      history: the history of the database in which it was taken (see `timelines.py`).
      deaths: how many workers had died over the job before; 0 if nobody knows.
      lost: it ran out, and the row is somebody else's by now.
      done: the job is done, so its row shall go.
      then: otherwise, the row's columns as they shall be when it ends.
    """

    job_id: str
    taken_at: float
    history: str | None
    deaths: int = 0
    lost: bool = False
    done: bool = False
    then: Mapping[str, Any] | None = None
    #: When it was taken, by a clock that nobody can set (`time.monotonic()`).
    since: float = field(default_factory=time.monotonic)


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
        self._held: dict[str, _Lease] = {}
        #: Those that the database may still have, as it did not answer when they began or ended. A
        #: job may have several: nobody knows which of the attempts to take it has succeeded.
        self._left: list[_Lease] = []
        #: The history of the database, as far as this process knows.
        self._history: str | None = None
        self._suspect: str | None = None
        #: The suspects that wait for the end of that one, and until when they wait at most.
        self._put_off: dict[str, float] = {}
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
        with self._lock:
            if job_id in self._held:
                return None  # even if the lease ran out: a machine that slept renewed nothing
            if any(lease.job_id == job_id and lease.done for lease in self._left):
                return None  # its row is still to be deleted
        now = clock.now(Job._meta.database)
        its = {"actor": actor, "created_at": created_at, "retries": retries}
        asked = {name: value for name, value in its.items() if value is not None}
        values = {
            "job_id": job_id,
            **asked,
            "worker": self.worker,
            "thread": threading.current_thread().name,
            "now": now,
            "lease_s": self.lease_s,
        }

        def take() -> tuple[Any, ...] | None:
            taken = _take_statement(*asked).execute(**values).rowcount
            return _READ.row(job_id=job_id) if taken else None

        with self._settled_later(_Lease(job_id, now, self._history)):
            if self._history is None:
                self._history = history_of(Job._meta.database)
            row = self.commits.run(Job._meta.database, take)
            job = None if row is None else _job(row)
            if job is None:
                return None
            if job.deaths < MAX_DEATHS:
                return job if self._begin(job, now) else None
            with self._lock:
                self._held[job.id] = _Lease(job.id, now, self._history, job.deaths)
                self._keep_renewing()
        raise WorkersDied(job)

    def _begin(self, job: Job, now: float) -> bool:
        """Hold the lease of a job. Returns whether it may run now."""
        with self._lock:
            if job.deaths and self._suspect is not None:
                self._put_off[job.id] = until = now + self.renew_s
                Job.update(leased_by=None, send_at=until).where(Job.id == job.id).execute()
                return False
            if job.deaths:
                self._suspect = job.id
            self._held[job.id] = _Lease(job.id, now, self._history, job.deaths)
            self._keep_renewing()
        return True

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

    def forget(self, job_id: str) -> _Lease | None:
        """Stop renewing a lease. Returns it."""
        with self._lock:
            return self._forget(job_id)

    def _forget(self, job_id: str) -> _Lease | None:
        """Do what `forget()` does. Call it with the lock."""
        if self._suspect == job_id:
            self._suspect = None
        return self._held.pop(job_id, None)

    @contextmanager
    def _settled_later(self, lease: _Lease) -> Iterator[None]:
        """Note a lease whose change fails within the block."""
        try:
            yield
        except BaseException:  # an interruption of the thread, too
            with self._lock:
                held = self._held.get(lease.job_id)
                if held is not None and held.taken_at == lease.taken_at:
                    self._forget(lease.job_id)  # the job does not begin, so nobody would end it
                self._left.append(lease)
                with suppress(RuntimeError):  # the next lease tries again
                    self._keep_renewing()
            raise

    def _keep_renewing(self) -> None:
        """Start the thread that renews, unless it runs. Call it with the lock.

        Raises:
          RuntimeError: the process may have no more threads now.
        """
        if self._renewing is None or not self._renewing.is_alive():
            self._renewing = threading.Thread(target=self._renew, daemon=True, name="leases")
            self._renewing.start()

    def followers(self) -> list[Job]:
        """The suspects that may begin because the one that kept them waiting has ended, in their
        order; the caller sends them. The relay sends the rest."""
        if not self._put_off:
            return []
        with self._lock:
            if self._suspect is not None:
                return []
            first = dict(islice(self._put_off.items(), MOST_FOLLOWERS))
            for job_id in first:
                del self._put_off[job_id]
        # Others may have had them meanwhile.
        waiting = Job.leased_by.is_null() & Job.failed_at.is_null()
        ours = Job.id.in_(list(first)) & Job.send_at.in_(list(first.values())) & waiting
        found = {job.id: job for job in Job.select().where(ours)}
        Job.update(send_at=clock.now(Job._meta.database) + RESEND_AFTER_S).where(
            Job.id.in_(list(found)) & waiting
        ).execute()
        return [found[job_id] for job_id in first if job_id in found]

    def give_back(self) -> list[Job]:
        """End all leases, because the process is about to end.

        Returns:
          the jobs, to be sent again.
        """
        with self._lock:
            held, self._held = list(self._held), {}
            left, self._left = self._left, []
        if left:
            self._settle(left, history_of(Job._meta.database))
        if not held:
            return []
        mine = Job.id.in_(held) & (Job.leased_by == self.worker)
        jobs = list(Job.select().where(mine))
        Job.update(leased_by=None, send_at=clock.now(Job._meta.database)).where(mine).execute()
        return jobs

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
                left = list(self._left)
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

    def _extend(self, leases: Mapping[str, _Lease]) -> None:
        ours = Job.id.in_(list(leases)) & (Job.leased_by == self.worker)
        database = Job._meta.database
        until = clock.in_sql(database, clock.now(database), self.lease_s)
        if not leases or Job.update(send_at=until).where(ours).execute() == len(leases):
            return
        kept = {job.id for job in Job.select(Job.id).where(ours)}
        for job_id in leases.keys() - kept:
            self._take_back(job_id, leases[job_id])
            with self._lock:
                if self._held.get(job_id) == leases[job_id]:
                    self._held[job_id] = replace(leases[job_id], lost=True)

    def _settle(self, leases: Sequence[_Lease], history: str) -> None:
        """End leases that the database may still have. A job that is done does not run again, as
        long as the database has all that was committed before."""
        for lease in leases:
            job_id = lease.job_id
            same = Job.started_at == lease.taken_at
            now = clock.now(Job._meta.database)
            then = {"send_at": now, **(lease.then or {}), "leased_by": None}
            if then.get("due_at", now) < now:  # a worker may have skipped the retry: it was leased
                then["send_at"] = now
            if (
                lease.done and lease.history == history
            ):  # also if the lease ran out, as long as nobody has begun the job again
                end: Any = Job.delete().where(Job.id == job_id, same)
            else:
                end = Job.update(then).where(Job.id == job_id, same, Job.leased_by == self.worker)
            if not end.execute():
                self._take_back(job_id, lease)
            with self._lock:
                if lease in self._left:
                    self._left.remove(lease)

    def _take_back(self, job_id: str, lease: _Lease) -> None:
        """Correct what was counted as a death of this process when its lease ran out. If nobody
        knows whether it had the lease, it gives in doubt the job another try."""
        counted = (Job.deaths > lease.deaths) & (Job.started_at >= lease.taken_at)
        its = (Job.id == job_id) & Job.failed_at.is_null()
        if Job.update(deaths=Job.deaths - 1).where(its & counted).execute():
            logger.info("a worker lives after all job=%s worker=%s", job_id, self.worker)
