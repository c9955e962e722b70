"""Lets the threads of a process that change rows at the same time share one commit (SQLite).

A commit waits for the disk, and SQLite has one writer at a time: a thread that meets another sleeps
and looks again. A worker commits twice for each job, when it leases the row and when it deletes it.
Here one of the threads that wait carries out the changes of all in one transaction ("group
commit"). Nobody goes on before the commit that has its change.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import peewee

from gifster.jobs.transactions import real_database, transaction

logger = logging.getLogger("gifster.jobs")

R = TypeVar("R")


@dataclass(eq=False)
class _Change:
    work: Callable[[], Any]
    result: Any = None
    committed: bool = False
    #: Whether an attempt to commit it with others is over.
    settled: bool = False


class SharedCommits:
    """Carries out the changes of several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[_Change] = []
        #: Whether a thread carries out changes now.
        self._busy = False

    def run(
        self, database: peewee.Database | peewee.DatabaseProxy | None, work: Callable[[], R]
    ) -> R:
        """The result of some statements, after their commit.

        On other databases than SQLite they run at once: PostgreSQL's server shares the commits of
        its connections by itself.

        Parameters:
          work: executes one statement that writes, and any that read. Another thread may call it.
            It is called once more, by this thread, if a commit with others failed.

        Raises:
          Exception: the work raised it, or the commit.
        """
        real = real_database(database)
        if not isinstance(real, peewee.SqliteDatabase) or real.in_transaction():
            return work()
        change = _Change(work)
        every: list[_Change] = []
        try:
            with self._changed:
                self._waiting.append(change)
                self._changed.wait_for(lambda: change.settled or not self._busy)
                if not change.settled:
                    every, self._waiting, self._busy = self._waiting, [], True
            if every:
                self._carry_out(real, every)
        finally:  # Dramatiq may interrupt a thread anywhere, and the others wait for it
            if every:
                self._settle(every)
        return cast("R", change.result) if change.committed else work()

    def _carry_out(self, database: peewee.Database, changes: Sequence[_Change]) -> None:
        if len(changes) == 1:  # it needs no transaction around its one statement that writes
            changes[0].result, changes[0].committed = changes[0].work(), True
            return
        try:
            with transaction(database):
                for each in changes:
                    each.result = each.work()
        except Exception as error:  # noqa: BLE001 each thread tries again, and gets its own error
            logger.debug("%d changes are committed one by one: %r", len(changes), error)
        else:
            for each in changes:
                each.committed = True

    def _settle(self, changes: Sequence[_Change]) -> None:
        with self._changed:
            self._busy = False
            for each in changes:
                each.settled = True
            self._changed.notify_all()
