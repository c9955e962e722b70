"""The worker processes: each shows its heartbeat in a row, and obeys what it reads there.

The row tells the worker to be quiet, and another table names the paused queues. So anybody with the
database can see and control all workers, whatever the broker is. (Sidekiq keeps this in Redis.)

A quiet worker finishes its jobs and takes no new ones; the messages that it had fetched go back to
the queue. `SIGTSTP` makes it quiet, as in Sidekiq, and `SIGCONT` makes it work again.
"""

import itertools
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dramatiq
import peewee
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from gifster.jobs import clock
from gifster.jobs.brokers.base import FairBroker
from gifster.jobs.brokers.fair import FairScheduler
from gifster.jobs.middleware import is_throttled
from gifster.jobs.old_schema import explained, needs
from gifster.jobs.problem import Problem
from gifster.jobs.signal_event import SignalEvent
from gifster.jobs.stats import ActorStats, Counts, forget_old
from gifster.jobs.transactions import transaction

logger = logging.getLogger("gifster.jobs")

#: How often a worker reads its orders, and writes its heartbeat (seconds).
LOOK_S, SEEN_S = 2.0, 10.0
#: A worker that has not been able to read its orders for so long takes no jobs until it can: it is
#: cut off from the database, and has lost its leases. What it had fetched goes back to the queue,
#: for workers that are not (seconds).
ORDERS_HOLD_S = 10.0
#: A worker without a heartbeat for so long counts as dead, and for so long is forgotten (seconds).
DEAD_S, FORGOTTEN_S = 30.0, 600.0


class Worker(peewee.Model):
    """A worker process. Times are seconds since the epoch.

    Attributes:
      host, pid: its machine's name, and its process id there.
      threads: how many jobs it runs at once.
      started_at: when it began.
      seen_at: its last heartbeat.
    """

    #: As in `Job.leased_by`.
    id = peewee.CharField(primary_key=True)
    host = peewee.CharField()
    pid = peewee.IntegerField()
    threads = peewee.IntegerField()
    #: The first of its queues, as processes of the former release read them.
    first_queues = peewee.CharField(column_name="queues")
    #: All of them; null if a worker of the former release wrote the row.
    all_queues = peewee.TextField(null=True)
    started_at = peewee.DoubleField()
    seen_at = peewee.DoubleField()
    #: Its resident set size (bytes).
    memory_bytes = peewee.BigIntegerField(default=0)
    #: How far the clock of its machine is ahead of the database's (seconds; negative: behind); null
    #: if they are one clock.
    clock_off_s = peewee.DoubleField(null=True)
    #: Whether it is told to take no new jobs.
    quiet = peewee.BooleanField(default=False)

    @property
    def queues(self) -> str:
        """The names of its queues, separated by spaces; of a worker of the former release, as many
        as have 255 characters."""
        return str(self.first_queues if self.all_queues is None else self.all_queues)

    @queues.setter
    def queues(self, names: str) -> None:
        most = Worker.first_queues.max_length
        fitting = names if len(names) <= most else names[: most + 1].rpartition(" ")[0]
        self.all_queues, self.first_queues = names, fitting

    @property
    def alive(self) -> bool:
        """Whether its last heartbeat is less than `DEAD_S` old."""
        return bool(clock.now(Worker._meta.database) - self.seen_at < DEAD_S)

    @property
    def clock_is_wrong(self) -> bool:
        """Whether the clock of its machine differs much from the database's (`clock.OFF_S`)."""
        return abs(self.clock_off_s or 0.0) > clock.OFF_S


class PausedQueue(peewee.Model):
    """A queue of which no worker begins a job; `paused_at` is in seconds since the epoch."""

    queue = peewee.CharField(primary_key=True)
    paused_at = peewee.DoubleField(default=lambda: clock.now(PausedQueue._meta.database))

    class Meta:
        table_name = "paused_queue"


class NoSuchWorker(LookupError):
    """There is no worker process with this id."""


@needs(Worker)
def workers() -> list[Worker]:
    """All worker processes, by host and process id."""
    return list(Worker.select().order_by(Worker.host, Worker.pid))


@needs(Worker)
def quiet(worker_id: str, *, quiet: bool = True) -> None:
    """Make a worker process quiet, or with `quiet=False` make it work again. It obeys within
    `LOOK_S`.

    Raises:
      NoSuchWorker: no worker has this id.
    """
    if not Worker.update(quiet=quiet).where(Worker.id == worker_id).execute():
        raise NoSuchWorker(f"there is no worker {worker_id}: jobs.workers() lists them")


@needs(PausedQueue)
def pause(queue: str) -> None:
    """Pause a queue: within `LOOK_S` no worker begins a job of it. It still takes new jobs."""
    PausedQueue.insert(queue=queue).on_conflict_ignore().execute()


@needs(PausedQueue)
def resume(queue: str) -> None:
    """Let workers begin the jobs of a paused queue again."""
    PausedQueue.delete().where(PausedQueue.queue == queue).execute()


@needs(PausedQueue)
def paused_queues() -> set[str]:
    """The names of the paused queues."""
    return {row.queue for row in PausedQueue.select()}


def memory_bytes() -> int:
    """The resident set size of this process; where the system does not tell it, the largest so
    far."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _warn_of_unknown(wanted: Iterable[str], declared: Iterable[str]) -> None:
    """Log which queues a worker is told to work on though no actor has them."""
    known = ", ".join(sorted(declared)) or "none"
    for queue in sorted(set(wanted) - set(declared)):
        logger.warning("no actor has the queue %s: the queues of the actors are %s", queue, known)


class Heartbeat(Middleware):
    """Writes the heartbeat of a worker process, and obeys its orders. Where the tables are bound to
    no database it does nothing.

    Parameters:
      name: returns the id of the row; called when the worker starts.
      max_memory_bytes: a process that uses more finishes its jobs and is restarted.
    """

    def __init__(self, name: Callable[[], str], max_memory_bytes: int | None = None) -> None:
        self._name, self._max_memory_bytes = name, max_memory_bytes
        self._counts = Counts()
        self._began = threading.local()
        self._numbers = itertools.count(1)
        self._main_process: int | None = None
        self._hung_up = self._ending = False
        self._reset()

    def _reset(self) -> None:
        self._row: Worker | None = None
        #: When the heartbeat was written (`time.monotonic()`); the clock may be set.
        self._written_at = 0.0
        #: Whether a signal told us to be quiet, or to work again; None once that is in the row.
        self._signalled: bool | None = None
        self._too_large = False
        self._over, self._look_now = threading.Event(), SignalEvent()
        self._thread: threading.Thread | None = None
        self._problem = Problem(logger)

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        main = multiprocessing.parent_process()
        if main is None:
            return  # a process that runs a worker of its own: its parent restarts nothing
        self._main_process = main.pid
        for number, quiet_now in ((signal.SIGTSTP, True), (signal.SIGCONT, False)):
            signal.signal(number, lambda *_, value=quiet_now: self._signal(value))
        # Dramatiq kills a process at its second SIGHUP, and two processes that are too large send
        # one each.
        stop = signal.getsignal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, lambda *arguments: self._stop_once(stop, *arguments))
        # It restarts at a SIGHUP that comes after SIGTERM.
        end = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *arguments: self._end(end, *arguments))

    def _signal(self, value: bool) -> None:
        self._signalled = value
        self._look_now.set()

    def _stop_once(self, stop: Any, *arguments: Any) -> None:
        if not self._hung_up and callable(stop):
            self._hung_up = True
            stop(*arguments)

    def _end(self, end: Any, *arguments: Any) -> None:
        is_second, self._ending = self._ending, True
        if self._hung_up and not is_second:
            return  # it stops already, and Dramatiq would take this for a second signal, and exit
        if callable(end):
            end(*arguments)

    def after_worker_thread_boot(self, broker: dramatiq.Broker, thread: threading.Thread) -> None:
        thread.name = f"worker-{next(self._numbers)}"

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        _warn_of_unknown(worker.consumer_whitelist or (), broker.get_declared_queues())
        if Worker._meta.database is None:
            return
        self._reset()
        names = " ".join(sorted(worker.consumer_whitelist or broker.get_declared_queues()))
        now = clock.now(Worker._meta.database)
        self._row = Worker(
            id=self._name(),
            host=socket.gethostname(),
            pid=os.getpid(),
            threads=worker.worker_threads,
            queues=names,
            started_at=now,
            seen_at=now,
        )
        self._beat(broker, self._row)  # read which queues are paused before anything is fetched
        self._thread = threading.Thread(
            target=self._run, args=(broker, self._row), daemon=True, name="heartbeat"
        )
        self._thread.start()

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        self._began.at = time.monotonic()

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if self._row is not None and not is_throttled(message, exception):
            ms = (time.monotonic() - self._began.at) * 1000
            failed = exception is not None
            self._counts.add(message.queue_name, message.actor_name, ms, failed=failed)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._signal(True)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if self._thread is not None:
            self._over.set()
            self._look_now.set()
            self._thread.join()

    def _run(self, broker: dramatiq.Broker, row: Worker) -> None:
        while not self._over.is_set():
            self._look_now.wait(LOOK_S)
            self._look_now.clear()
            if not self._over.is_set():
                self._beat(broker, row)
        self._beat(broker, row)  # the last one, which deletes the row

    def _beat(self, broker: dramatiq.Broker, row: Worker) -> None:
        # Whatever goes wrong: without this thread the worker would look dead and obey nobody.
        try:
            with (
                Worker._meta.database.connection_context(),
                explained(Worker, PausedQueue, ActorStats),
            ):
                if not self._over.is_set():  # first, as a write may have to wait for a lock
                    self._look(broker, row)
                self._counts.flush()
                if self._over.is_set():
                    row.delete_instance()
        except Exception as error:  # noqa: BLE001 drivers raise errors that Peewee does not wrap
            self._problem.report(f"a worker cannot write its heartbeat: {error}")
        else:
            self._problem.resolved("the worker's heartbeat is written again")

    def _look(self, broker: dramatiq.Broker, row: Worker) -> None:
        """Read the orders, obey them, and write the heartbeat when it is due."""
        told = Worker.select(Worker.quiet).where(Worker.id == row.id).scalar()
        signalled = self._signalled
        changed = signalled is not None and signalled != told
        wanted = row.quiet if told is None else bool(told)
        row.quiet = signalled if signalled is not None else wanted
        scheduler = broker.scheduler if isinstance(broker, FairBroker) else None
        if scheduler is not None:
            everything = row.quiet or self._too_large
            scheduler.pause(paused_queues(), everything=everything, for_s=ORDERS_HOLD_S)
            self._limit_memory(scheduler)
        recent = time.monotonic() - self._written_at < SEEN_S
        if told is None or changed or not recent:
            self._write(row, new=told is None, changed=changed)
        if self._signalled is signalled:  # no other signal came in the meantime
            self._signalled = None

    def _write(self, row: Worker, *, new: bool, changed: bool) -> None:
        now = clock.now(Worker._meta.database)
        off: Any = clock.off_s(Worker._meta.database)
        row.seen_at, row.memory_bytes, row.clock_off_s = now, memory_bytes(), off
        with transaction(Worker._meta.database):
            if new:  # or deleted by another worker while the database was away
                row.save(force_insert=True)
            else:  # keep an order that was written in the meantime
                mine = {"quiet": row.quiet} if changed else {}
                shown = {"seen_at": now, "memory_bytes": row.memory_bytes, **mine}
                shown["clock_off_s"] = row.clock_off_s
                Worker.update(**shown).where(Worker.id == row.id).execute()
            Worker.delete().where(Worker.seen_at < now - FORGOTTEN_S).execute()
            forget_old()
        self._written_at = time.monotonic()

    def _limit_memory(self, scheduler: FairScheduler) -> None:
        limit = self._max_memory_bytes
        if limit is None or self._main_process is None or self._ending:
            return
        if not self._too_large and (has := memory_bytes()) > limit:
            self._too_large = True
            logger.warning("too large: %d MB of at most %d, restarting", has >> 20, limit >> 20)
            scheduler.pause(set(), everything=True)
        if self._too_large and not scheduler.running and not self._hung_up:
            os.kill(self._main_process, signal.SIGHUP)  # Dramatiq's main process restarts all
