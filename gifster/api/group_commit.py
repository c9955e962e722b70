"""Commits the uploads that wait in one transaction, on one thread (SQLite).

A commit waits for the disk, and SQLite has one writer at a time. Sixteen threads that each commit
one upload wait for each other, and for the disk sixteen times; one thread that commits what waits
does so once (decision 49). Each upload is a savepoint of the transaction, so one that fails takes
no other along. An upload is answered after the commit that it is part of.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import peewee

from gifster.api.to_the_end import to_the_end
from gifster.app.database import db
from gifster.jobs import transaction
from gifster.jobs.outbox import send_committed

logger = logging.getLogger("gifster.api")

#: How many uploads share a commit at most. Other processes wait for its end.
MOST = 64
#: How long the database is left to other writers before the next commit, if more uploads wait
#: (seconds). SQLite lets nobody queue: a waiting writer looks again every few ms, and would find a
#: database that is always taken.
PAUSE_S = 0.005
#: How many jobs wait at most while the broker hangs. The relay sends the others after a minute.
MOST_UNSENT = 1000

R = TypeVar("R")


@dataclass(eq=False)
class _Task:
    """Work that waits for the writer, and how it ended."""

    work: Callable[[], Any]
    committed: Callable[[], object]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None

    def attempt(self) -> None:
        try:
            with transaction(db):  # a savepoint: what the work wrote goes with its error
                self.result = self.work()
        except BaseException as error:  # noqa: BLE001 whatever it is, the request gets it
            self.error = error

    def fail(self, error: BaseException) -> None:
        self.error = self.error or error

    def settle(self) -> None:
        """Tell the request, on its event loop."""
        if self.future.cancelled():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class GroupCommit:
    """Runs work that writes some rows, one after the other on one thread, and commits what waits
    together."""

    def __init__(self) -> None:
        #: None ends the thread.
        self._waiting: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        # The broker may be slow, or away: uploads do not wait for it.
        self._sending = ThreadPoolExecutor(1, thread_name_prefix="sending")
        self._unsent: list[Any] = []
        self._unsent_lock = threading.Lock()

    async def run(self, work: Callable[[], R], committed: Callable[[], object]) -> R:
        """The result of the work, after its rows are committed.

        A request that is cancelled waits for the end all the same (`to_the_end()`).

        Parameters:
          work: writes within `transaction(db)`, which is a savepoint here. It runs once, with a
            database connection open.
          committed: is called on the thread after the commit, before anybody hears of it. It must
            not raise.

        Raises:
          Exception: the work raised it, or the commit; nothing is written.
        """
        loop = asyncio.get_running_loop()
        task = _Task(work, committed, loop, loop.create_future())
        self._start()
        self._waiting.put(task)
        return cast("R", await to_the_end(task.future))

    def _start(self) -> None:
        """Start the thread with the first upload, and again if it has died."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._serve, name="group-commit", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        task = self._waiting.get()
        while task is not None:
            tasks = [task]
            while len(tasks) < MOST and not self._waiting.empty():
                task = self._waiting.get()
                if task is None:
                    break
                tasks.append(task)
            self._carry_out(tasks)
            for loop in {task.loop for task in tasks}:
                ours = [task for task in tasks if task.loop is loop]
                loop.call_soon_threadsafe(_settle, ours)
            if not self._waiting.empty():
                time.sleep(PAUSE_S)
            task = task and self._waiting.get()

    def close(self) -> None:
        """Wait for the end of what was begun: of its commits, and of the sending of its jobs."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
        self._sending.shutdown()

    def _carry_out(self, tasks: Sequence[_Task]) -> None:
        """Do the work of some tasks, and commit it."""
        attempted: list[_Task] = []
        try:
            with db.connection_context(), transaction(db, send=self._send):
                for task in tasks:
                    attempted.append(task)
                    task.attempt()
                    if task.error is not None:
                        _check_open(task.error)
        except BaseException as error:  # noqa: BLE001 each request gets it
            for task in attempted or tasks:
                task.fail(error)
            rest = tasks[len(attempted) :] if attempted else []
            if rest:
                self._carry_out(rest)
            return
        for task in tasks:
            if task.error is None:
                task.committed()

    def _send(self, jobs: list[Any]) -> None:
        """Have jobs sent, together with those that come while the thread is busy."""
        with self._unsent_lock:
            if len(self._unsent) >= MOST_UNSENT:
                return
            is_first = not self._unsent
            self._unsent += jobs
        if is_first:
            self._sending.submit(self._send_unsent)

    def _send_unsent(self) -> None:
        with self._unsent_lock:
            jobs, self._unsent = self._unsent, []
        _send(jobs)


def _check_open(error: BaseException) -> None:
    """Raise the error of a task if it has ended the transaction, with all that was written in it.

    SQLite does so by itself when the disk is full. What another task wrote then would be committed
    alone, although the transaction fails.
    """
    if not db.obj.connection().in_transaction:
        raise error


def _settle(tasks: Sequence[_Task]) -> None:
    for task in tasks:
        task.settle()


def _send(jobs: list[Any]) -> None:
    """Send jobs, with a connection for those that cannot be sent."""
    try:
        with db.connection_context():
            send_committed(jobs)
    except peewee.PeeweeException:  # the relay sends them after a minute
        logger.exception("deferred jobs=%d", len(jobs))
