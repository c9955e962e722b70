"""Commits the uploads that wait in one transaction, on one thread.

A commit waits for the disk, and SQLite has one writer at a time. Sixteen threads that each commit
one upload wait for each other, for the disk sixteen times, and on PostgreSQL for Python's lock
after each statement; one thread that commits what waits does not (decisions 49 and 57). Each upload
is a savepoint of the transaction, so one that fails takes no other along. An upload is answered
after the commit that it is part of.

An upload that cannot share the transaction, because it waits for somebody's lock or because the
database rejects a statement of it, gets a transaction and a thread of its own.
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

from gifster.app import shared_commits
from gifster.app.database import db
from gifster.app.shared_commits import CommitUnknown
from gifster.jobs import transaction
from gifster.jobs.database_errors import Fault, fault_of, is_database_error
from gifster.jobs.outbox import send_committed
from gifster.jobs.transactions import HalfDone, Piece, Transaction
from gifster.uploads.to_the_end import to_the_end

logger = logging.getLogger("gifster.api")

#: How many uploads share a commit at most. Other processes wait for its end. PostgreSQL keeps so
#: many savepoints of a transaction at hand for other sessions, and has to look up more.
MOST = 64
#: How many uploads have a transaction of their own at a time.
MOST_ALONE = 8
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
    #: Whether it has to be done once more, in a transaction of its own.
    again: bool = False

    def share(self, outermost: Transaction) -> None:
        """Do the work as a part of a transaction."""
        try:
            with Piece(outermost):  # what the work wrote goes with its error
                self.result = self.work()
        except BaseException as error:
            if not shared_commits.is_open():
                raise  # with all that was written in it
            self.error = error
            # In a transaction of its own, the work can look at the database after an error.
            self.again = isinstance(error, HalfDone) or is_database_error(error)

    def end(self, error: BaseException | None) -> None:
        """Note how the transaction ended.

        Parameters:
          error: of the commit, or that led to a rollback; None after a commit.
        """
        self.error = self.error or error
        if self.error is None or isinstance(self.error, CommitUnknown):
            self.committed()

    def settle(self) -> None:
        """Tell the request. To be called on its event loop."""
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
        self._alone = ThreadPoolExecutor(MOST_ALONE, thread_name_prefix="commit-alone")
        # The broker may be slow, or away: uploads do not wait for it.
        self._sending = ThreadPoolExecutor(1, thread_name_prefix="sending")
        self._unsent: list[Any] = []
        self._unsent_lock = threading.Lock()

    async def run(self, work: Callable[[], R], committed: Callable[[], object]) -> R:
        """The result of the work, after its rows are committed.

        A request that is cancelled waits for the end all the same (`to_the_end()`).

        Parameters:
          work: writes within `transaction(db)`, with a database connection open. After a database
            error it runs once more, in a transaction of its own; nothing is left of the first run.
          committed: is called on the thread after the commit, before anybody hears of it. It must
            not raise. It is also called, and the error raised, if the connection was lost during
            the commit and nobody can tell whether that arrived.

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
            for again in [task for task in tasks if task.again]:
                self._alone.submit(self._carry_out_alone, again)
            _settle([task for task in tasks if not task.again])
            if not self._waiting.empty() and not shared_commits.is_postgresql():
                time.sleep(PAUSE_S)
            task = task and self._waiting.get()

    def close(self) -> None:
        """Wait for the end of what was begun: of its commits, and of the sending of its jobs."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
        self._alone.shutdown()
        self._sending.shutdown()

    def _carry_out(self, tasks: Sequence[_Task]) -> None:
        """Do the work of some tasks, and commit it."""
        attempted: list[_Task] = []

        def work(outermost: Transaction) -> None:
            for task in tasks:
                attempted.append(task)
                task.share(outermost)
                if task.again and _is_busy(task.error):
                    shared_commits.wait_no_longer()  # the others have waited long enough

        error = self._commit(work, shared_commits.LOCK_WAIT_MS)
        for task in attempted or tasks:
            task.end(error)
            task.again |= bool(attempted) and _is_busy(error) and task.error is error
        rest = tasks[len(attempted) :] if attempted else []
        if rest:
            self._carry_out(rest)

    def _carry_out_alone(self, task: _Task) -> None:
        """Do the work of a task that could not share a transaction, and tell its request."""

        def work(outermost: Transaction) -> None:
            task.result = task.work()

        task.error = None
        task.end(self._commit(work))
        _settle([task])

    def _commit(
        self, work: Callable[[Transaction], None], lock_wait_ms: int | None = None
    ) -> BaseException | None:
        """Do work in a transaction. Returns None after its commit, else the error."""
        in_commit: shared_commits.Begun | None = None
        try:
            with (
                db.connection_context(),
                shared_commits.undo_in_memory(),
                transaction(db, send=self._send) as outermost,
            ):
                begun = shared_commits.begin(cast("Transaction", outermost), lock_wait_ms)
                work(begun.transaction)
                in_commit = begun
        except BaseException as error:  # noqa: BLE001 each request gets it
            if in_commit is None:
                return error
            return shared_commits.after_failed_commit(in_commit, error)
        return None

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


def _is_busy(error: BaseException | None) -> bool:
    return error is not None and fault_of(error) is Fault.BUSY


def _settle(tasks: Sequence[_Task]) -> None:
    """Tell the requests, on their event loops."""
    for loop in {task.loop for task in tasks}:
        loop.call_soon_threadsafe(_settle_here, [task for task in tasks if task.loop is loop])


def _settle_here(tasks: Sequence[_Task]) -> None:
    for task in tasks:
        task.settle()


def _send(jobs: list[Any]) -> None:
    """Send jobs. Those that cannot be sent need a connection to the database."""
    try:
        send_committed(jobs)
    finally:
        db.close()
