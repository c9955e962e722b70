"""The heartbeat of a worker process: it writes its row, and obeys what it reads there.

`worker_rows.py` has the row, and the orders: to be quiet, and which queues are paused. A quiet
worker finishes its jobs and takes no new ones; the messages that it had fetched go back to the
queue. Signals give the same orders (`worker_signals.py`), and so does a process that is too large
(`memory_limit.py`).
"""

import itertools
import logging
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from gifster.jobs import clock
from gifster.jobs.brokers.abilities import abilities
from gifster.jobs.memory_limit import MemoryLimit, memory_bytes
from gifster.jobs.middleware import is_throttled
from gifster.jobs.old_schema import explained
from gifster.jobs.problem import Problem
from gifster.jobs.stats import ActorStats, Counts, forget_old
from gifster.jobs.transactions import transaction
from gifster.jobs.worker_rows import FORGOTTEN_S, PausedQueue, Worker, paused_queues
from gifster.jobs.worker_signals import WorkerSignals

logger = logging.getLogger("gifster.jobs")

#: How often a worker reads its orders, and writes its heartbeat (seconds).
LOOK_S, SEEN_S = 2.0, 10.0
#: A worker that has not been able to read its orders for so long takes no jobs until it can: it is
#: cut off from the database, and has lost its leases. What it had fetched goes back to the queue,
#: for workers that are not (seconds).
ORDERS_HOLD_S = 10.0


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
        self._signals = WorkerSignals()
        self._reset()

    def _reset(self) -> None:
        self._row: Worker | None = None
        #: When the heartbeat was written (`time.monotonic()`); the clock may be set.
        self._written_at = 0.0
        self._signals.reset()
        self._memory = MemoryLimit(self._max_memory_bytes, self._signals)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem = Problem(logger)

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        main = multiprocessing.parent_process()
        if main is not None:  # else it runs a worker of its own: its parent restarts nothing
            self._signals.install(main.pid)

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
        self._signals.order(quiet=True)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if self._thread is not None:
            self._over.set()
            self._signals.came.set()
            self._thread.join()

    def _run(self, broker: dramatiq.Broker, row: Worker) -> None:
        while not self._over.is_set():
            self._signals.came.wait(LOOK_S)
            self._signals.came.clear()
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
        signalled = self._signals.quiet
        changed = signalled is not None and signalled != told
        wanted = row.quiet if told is None else bool(told)
        row.quiet = signalled if signalled is not None else wanted
        scheduler = abilities(broker).scheduler
        if scheduler is not None:
            everything = row.quiet or self._memory.is_exceeded
            scheduler.pause(paused_queues(), everything=everything, for_s=ORDERS_HOLD_S)
            self._memory.check(scheduler)
        recent = time.monotonic() - self._written_at < SEEN_S
        if told is None or changed or not recent:
            self._write(row, new=told is None, changed=changed)
        if self._signals.quiet is signalled:  # no other signal came in the meantime
            self._signals.quiet = None

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
