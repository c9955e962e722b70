"""How the transaction around a `save()` ends, and what that means for the record's uploads.

The transaction may be the caller's, and can still be rolled back after `save()` has returned:

    with db.atomic():
        person.avatar = file
        person.save()
        enroll(person)      # may raise

It ends in one of three ways:

- It commits. Peewee calls the `Outcome`, which is an `after_commit()` callback.
- It is rolled back. Peewee has no callback for that; it only drops those of the commit. Nothing
  else refers to the `Outcome`, so Python deletes it, and its finalizer runs.
- The connection is lost, and nobody knows whether the commit arrived. The next `person.save()`
  finds out (`settle()`).

None of these alone tells what became of one save: a savepoint inside a committed transaction may
have been rolled back, and a callback may have failed after the commit. So each of them reads the
row, and checks whether it has the save (`Saved.is_undone()`). If not, the record gets its uploads
back, and the next `save()` writes them.
"""

import logging
import threading
import weakref
from typing import Any

from gifster.jobs import Job
from gifster.jobs.database_errors import is_database_error
from gifster.jobs.transactions import outermost_transaction, piece_of_work
from gifster.uploads.attaching.changes import Change
from gifster.uploads.columns.record import in_another_thread, uploads_of
from gifster.uploads.columns.rows import (
    Record,
    key_names,
    real_database,
    row_of,
)
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.storage.base import StorageUnavailable

logger = logging.getLogger("gifster.uploads")


class Saved:
    """One save of a record, or its deletion after a save in the same transaction.

    Parameters:
      changes: what the save did to mounted columns.
      creating: whether the save was to insert the row.
      deleting: whether it deleted the row.
    """

    def __init__(
        self,
        record: Record,
        changes: list[Change],
        *,
        creating: bool = False,
        deleting: bool = False,
    ) -> None:
        self.record, self.changes = record, changes
        self._creating, self._deleting = creating, deleting
        self._pk, self._dirty = record._pk, set(record._dirty)
        #: The primary key of the row that was written. The record may have got another since.
        self.pk = record._pk
        #: The piece of work that it is a part of: both stay, or neither.
        self._piece = piece_of_work(record._meta.database) if changes else None

    def finish(self) -> None:
        """Clear what the save has carried out from the record, after `save()` went through."""
        self.pk = self.record._pk
        for change in self.changes:
            change.finish()

    def row(self) -> Record | None:
        """The row that the save wrote, as it is now; None if there is no such row.

        Raises:
          PeeweeException: the database cannot be asked.
        """
        return None if self.pk is None else row_of(type(self.record), self.pk)

    def is_there(self, *, rolled_back: bool) -> bool:
        """Whether the row certainly has the save: it names one of the uploads. If it does not,
        `is_undone()` tells. This is quicker, because it reads only the columns of the uploads; and
        nothing for a piece of work that was committed.

        Parameters:
          rolled_back: as for `is_undone()`.

        Raises:
          PeeweeException: the database cannot be asked.
        """
        if self._deleting or self.pk is None:
            return False
        if self._piece is not None and not rolled_back and not self._piece.is_undone:
            return True
        return any(change.is_named_by_row_of(self.pk) for change in self.changes)

    def is_undone(self, row: Record | None, *, rolled_back: bool) -> bool | None:
        """Whether the row lacks what the save wrote.

        Parameters:
          row: the row as it is now.
          rolled_back: whether the transaction around the save was rolled back. Otherwise it is
            still open, or it was committed.

        Returns:
          None if the row alone cannot tell, because it has been changed since.

        Raises:
          PeeweeException: the database cannot be asked.
        """
        if self._deleting:
            return row is not None or (None if rolled_back else False)
        if row is None:
            return True
        if not self.changes or any(change.is_named_by(row) for change in self.changes):
            return False
        jobs = {job.id: job.arguments for change in self.changes for job in change.jobs}
        if jobs:  # They are in the same transaction, and not sent before the outcome is known.
            present = Job.select().where(Job.id.in_(list(jobs)))
            # Compare the arguments: if two records wanted one cached file, the job of that id may
            # be the other record's by now.
            return not any(job.arguments == jobs[job.id] for job in present)
        is_before = all(change.is_as_before(row) for change in self.changes)
        is_after = all(change.is_as_after(row) for change in self.changes)
        if is_before is not is_after:
            return is_before
        # If the save was to insert the row, another record's row has the id now.
        return True if rolled_back or self._creating else None

    def committed(self) -> None:
        """Clean up after the commit: the row has the save for good."""
        for change in self.changes:
            change.committed()

    def undo(self) -> None:
        """Delete what the save stored, and give the record back what it had to save."""
        for change in self.changes:
            change.undo()
            change.restore()
        if self._creating and self._pk is None and self.record._pk == self.pk:
            for name in key_names(self.record):
                self.record.__data__.pop(name, None)
        self.record._dirty |= self._dirty

    def superseded(self) -> None:
        """Delete what the save stored: somebody has changed the row since, and needs none of it."""
        for change in self.changes:
            change.undo()


class Outcome:
    """Learns how the transaction ends in which a record was saved.

    Peewee holds the only reference to it, as a callback of the commit. A commit calls it; a
    rollback drops it, and its finalizer runs.
    """

    def __init__(self, record: Record) -> None:
        #: The thread that has the transaction open.
        self.thread = threading.get_ident()
        self._transaction = outermost_transaction(record._meta.database)
        self._record = [record]
        self._finalizer = weakref.finalize(self, _end, self._record, rolled_back=True)
        self._finalizer.atexit = False

    def __call__(self) -> None:
        self._finalizer.detach()
        _end(self._record, rolled_back=False)

    def is_over(self, record: Record) -> bool:
        """Whether the transaction has ended without calling or dropping this callback.

        That happens if an earlier callback failed and somebody keeps its traceback, which refers to
        this callback, too. If so, its finalizer does not run any more.
        """
        present = outermost_transaction(record._meta.database)
        over = self.thread == threading.get_ident() and self._transaction is not present
        if over:
            self._finalizer.detach()
        return over


def _outcome(record: Record) -> Outcome | None:
    """The `Outcome` of the open transaction that has saved the record; None if there is none."""
    memory = uploads_of(record)
    outcome = None if memory.outcome is None else memory.outcome()
    return None if outcome is None or outcome.is_over(record) else outcome


def follow(record: Record) -> bool:
    """Follow the current transaction to its end, for the saves of a record in it.

    Returns:
      False within `manual_commit()`, where Peewee takes no callbacks.
    """
    if _outcome(record) is None:
        outcome = Outcome(record)
        try:
            real_database(record._meta.database).after_commit(outcome)
        except ValueError:
            return False
        uploads_of(record).outcome = weakref.ref(outcome)
    return True


def settle(record: Record) -> None:
    """Undo the earlier saves of a record that have been rolled back, before it is saved again.

    Raises:
      PeeweeException: the database cannot be asked.
      RuntimeError: another thread has saved the record in a transaction that is still open.
    """
    outcome = _outcome(record)
    if outcome is not None and outcome.thread != threading.get_ident():
        raise in_another_thread(record)
    if uploads_of(record).open:
        # Either the transaction is still open, or its end was missed: the connection was lost, or
        # the database could not be asked.
        ended = outcome is None
        _remove_forgotten(_settle_all(record, ended=ended, rolled_back=ended))


def _end(box: list[Any], *, rolled_back: bool) -> None:
    record = box.pop()
    memory = uploads_of(record)
    memory.outcome = None
    if not rolled_back and not any(saved.changes for saved in memory.open):
        memory.open = []  # No upload was saved: a query would be wasted.
        return
    if real_database(record._meta.database).is_closed():
        return  # The connection was lost, perhaps after the commit: the next save asks.
    try:
        cached = _settle_all(record, ended=True, rolled_back=rolled_back)
    except Exception as error:
        # Peewee would take it for a failure of the commit. The next save asks again.
        trace = None if is_database_error(error) else error
        name, why = type(record).__name__, " ".join(str(error).split())
        said = "not known whether it was saved: %s %s: %s"
        logger.exception(said, name, record._pk, why, exc_info=trace)
        return
    del record, memory
    _remove_forgotten(cached)


#: Uploads of undone saves: for each a weak reference, and a copy that knows where the file is.
_Undone = list[tuple[weakref.ref[CachedFile], CachedFile]]


def _settle_all(record: Record, *, ended: bool, rolled_back: bool) -> _Undone:
    """Finish or undo the saves of a record; those that an open transaction has stay open."""
    memory = uploads_of(record)
    undone: list[CachedFile] = []
    still_open = []
    verdicts = _verdicts(memory.open, rolled_back=rolled_back)
    for saved, is_undone in reversed(list(zip(memory.open, verdicts, strict=True))):
        if is_undone:
            saved.undo()
            undone += [
                incoming.assigned
                for change in saved.changes
                for incoming in change.incoming
                if not incoming.assigned.is_shared
            ]
        elif not ended:
            still_open.append(saved)
        elif is_undone is None:
            saved.superseded()
        else:
            saved.committed()
    memory.open = still_open[::-1]
    return [(weakref.ref(upload), CachedFile(**upload.__getstate__())) for upload in undone]


def _verdicts(saves: list[Saved], *, rolled_back: bool) -> list[bool | None]:
    """Which of the saves are undone (see `Saved.is_undone()`), the oldest first.

    `settle()` has made sure before each save that the earlier ones had not been undone. So if the
    row has one save, the earlier ones were at most replaced; and if one save is undone, the later
    ones were undone with it.
    """
    verdicts: list[bool | None] = []
    row: Record | None = None
    if len(saves) == 1 and saves[0].is_there(rolled_back=rolled_back):
        return [False]
    for number, saved in enumerate(saves):
        if number == 0 or saved.pk != saves[number - 1].pk:
            row = saved.row()
        verdicts.append(saved.is_undone(row, rolled_back=rolled_back))
    kept = len(verdicts) - verdicts[::-1].index(False) if False in verdicts else 0
    rest = verdicts[kept:]
    unclear = rest.index(True) if True in rest else len(rest)
    return [False] * kept + [None] * unclear + [True] * (len(rest) - unclear)


def _remove_forgotten(undone: _Undone) -> None:
    """Delete the cached files of uploads that nobody holds any more, so nobody can save them."""
    for reference, upload in undone:
        if reference() is None:
            try:
                upload.delete()
            except (OSError, StorageUnavailable, LookupError) as error:  # The sweep will find it.
                logger.warning("left in the cache key=%s reason=%r", upload.key, str(error))
