"""The worker processes: who is there, who takes no new jobs, and which queues are paused.

A worker process has a row while it runs. It shows a sign of life there, and reads there what it is
told: to be quiet, or which queues are paused. So anybody who has the database can see and tell all
workers, whatever the broker is. (Sidekiq keeps the same in Redis.)

A quiet worker finishes its jobs and takes no new ones; what it had fetched goes back to the queue.
`SIGTSTP` makes it quiet, as in Sidekiq, and `SIGCONT` has it work again.
"""

import itertools
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dramatiq
import peewee
from dramatiq.middleware import Middleware

from gifster.jobs.middleware import is_held
from gifster.jobs.outbox import transaction
from gifster.jobs.tally import Counts, forget_old

logger = logging.getLogger("gifster.jobs")

#: How often a worker looks what it is told, and shows that it lives (seconds).
LOOK_S, SEEN_S = 2.0, 10.0
#: One that has not been seen for so long is taken for dead, and for so long forgotten (seconds).
DEAD_S, FORGOTTEN_S = 30.0, 600.0


class Worker(peewee.Model):
    """A worker process. Times are seconds since the epoch."""

    #: As in `Job.leased_by`.
    id = peewee.CharField(primary_key=True)
    host = peewee.CharField()
    pid = peewee.IntegerField()
    threads = peewee.IntegerField()
    #: Their names, parted by spaces.
    queues = peewee.CharField()
    started_at = peewee.DoubleField()
    seen_at = peewee.DoubleField()
    #: What it has in memory (resident set size).
    memory_bytes = peewee.BigIntegerField(default=0)
    #: Whether it shall take no new jobs.
    quiet = peewee.BooleanField(default=False)

    @property
    def alive(self) -> bool:
        """Whether it has been seen of late."""
        return bool(time.time() - self.seen_at < DEAD_S)


class PausedQueue(peewee.Model):
    """A queue whose jobs wait."""

    queue = peewee.CharField(primary_key=True)
    paused_at = peewee.DoubleField(default=time.time)

    class Meta:
        table_name = "paused_queue"


class NoSuchWorker(LookupError):
    """There is no worker process of that name."""


def workers() -> list[Worker]:
    """The worker processes, by host and process id."""
    return list(Worker.select().order_by(Worker.host, Worker.pid))


def quiet(worker_id: str, *, quiet: bool = True) -> None:
    """Have a worker process take no new jobs, or take them again; it does within `LOOK_S`.

    Raises:
      NoSuchWorker
    """
    if not Worker.update(quiet=quiet).where(Worker.id == worker_id).execute():
        raise NoSuchWorker(f"there is no worker {worker_id}")


def pause(queue: str) -> None:
    """Have all workers take no new jobs from a queue; they do within `LOOK_S`. Jobs may come in."""
    PausedQueue.insert(queue=queue).on_conflict_ignore().execute()


def resume(queue: str) -> None:
    """Have the jobs of a paused queue done again."""
    PausedQueue.delete().where(PausedQueue.queue == queue).execute()


def paused_queues() -> set[str]:
    """The names of the queues that are paused."""
    return {row.queue for row in PausedQueue.select()}


def memory_bytes() -> int:
    """What this process has in memory: its resident set; where the system does not say, its
    most."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Presence(Middleware):
    """A worker process's row, and its obedience; off where the tables are bound to no database.

    Parameters:
      name: the row's id, asked for when the worker starts.
      max_memory_bytes: a process that has more in memory finishes its jobs and is started anew.
    """

    def __init__(self, name: Callable[[], str], max_memory_bytes: int | None = None) -> None:
        self._name, self._max_memory_bytes = name, max_memory_bytes
        self._counts = Counts()
        self._began = threading.local()
        self._numbers = itertools.count(1)
        self._main_process: int | None = None
        self._hung_up = False
        self._reset()

    def _reset(self) -> None:
        self._row: Worker | None = None
        self._signalled: bool | None = None
        self._too_large = False
        self._over, self._look_now = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._complained = False

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        self._main_process = os.getppid()
        for number, quiet_now in ((signal.SIGTSTP, True), (signal.SIGCONT, False)):
            signal.signal(number, lambda *_, value=quiet_now: self._signal(value))
        # Dramatiq ends a process at its second SIGHUP, and two that are too large send two.
        stop: Any = signal.getsignal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, lambda *arguments: self._stop_once(stop, *arguments))

    def _signal(self, value: bool) -> None:
        self._signalled = value
        self._look_now.set()

    def _stop_once(self, stop: Any, *arguments: Any) -> None:
        if not self._hung_up and callable(stop):
            self._hung_up = True
            stop(*arguments)

    def after_worker_thread_boot(self, broker: dramatiq.Broker, thread: Any) -> None:
        thread.name = f"worker-{next(self._numbers)}"

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if Worker._meta.database is None:
            return
        self._reset()
        queues = worker.consumer_whitelist or broker.get_declared_queues()
        now = time.time()
        self._row = Worker(
            id=self._name(),
            host=socket.gethostname(),
            pid=os.getpid(),
            threads=worker.worker_threads,
            queues=" ".join(sorted(queues)),
            started_at=now,
            seen_at=now,
        )
        self._tell_and_be_told(broker, self._row)  # what is paused, before anything is fetched
        self._thread = threading.Thread(
            target=self._run, args=(broker, self._row), daemon=True, name="presence"
        )
        self._thread.start()

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        self._began.at = time.monotonic()

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if self._row is not None and not is_held(message, exception):
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

    def _run(self, broker: Any, row: Worker) -> None:
        while not self._over.is_set():
            self._look_now.wait(LOOK_S)
            self._look_now.clear()
            if not self._over.is_set():
                self._tell_and_be_told(broker, row)
        self._tell_and_be_told(broker, row)  # that we are gone, whatever was under way meanwhile

    def _tell_and_be_told(self, broker: Any, row: Worker) -> None:
        try:
            with Worker._meta.database.connection_context():
                self._counts.flush()
                if self._over.is_set():
                    row.delete_instance()
                else:
                    self._look(broker, row)
            self._complained = False
        except peewee.PeeweeException as error:
            if not self._complained:
                logger.warning("a worker cannot show that it lives: %s", error)
            self._complained = True

    def _look(self, broker: Any, row: Worker) -> None:
        """Read what we are told, do it, and show that we live."""
        told = Worker.select(Worker.quiet).where(Worker.id == row.id).scalar()
        signalled, self._signalled = self._signalled, None
        changed = signalled is not None and signalled != told
        wanted = row.quiet if told is None else bool(told)
        row.quiet = signalled if signalled is not None else wanted
        turns = getattr(broker, "turns", None)
        if turns is not None:
            turns.hold(paused_queues(), everything=row.quiet or self._too_large)
        self._limit_memory(turns)
        now = time.time()
        if told is not None and not changed and now - row.seen_at < SEEN_S:
            return
        row.seen_at, row.memory_bytes = now, memory_bytes()
        with transaction(Worker._meta.database):
            if told is None:  # new, or forgotten by the others while the database was away
                row.save(force_insert=True)
            else:  # what it was told meanwhile stays
                mine = {"quiet": row.quiet} if changed else {}
                shown = {"seen_at": now, "memory_bytes": row.memory_bytes, **mine}
                Worker.update(**shown).where(Worker.id == row.id).execute()
            Worker.delete().where(Worker.seen_at < now - FORGOTTEN_S).execute()
            forget_old()

    def _limit_memory(self, turns: Any) -> None:
        limit = self._max_memory_bytes
        if limit is None or turns is None or self._main_process is None:
            return
        if not self._too_large and (has := memory_bytes()) > limit:
            self._too_large = True
            logger.warning("too large: %d MB of at most %d, starting anew", has >> 20, limit >> 20)
            turns.hold(set(), everything=True)
        if self._too_large and not turns.running and not self._hung_up:
            os.kill(self._main_process, signal.SIGHUP)  # Dramatiq's main process starts all anew
