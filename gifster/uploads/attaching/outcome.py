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

from gifster.jobs.database_errors import is_database_error
from gifster.jobs.transactions import outermost_transaction
from gifster.uploads.attaching.saved import Saved
from gifster.uploads.columns.record import in_another_thread, uploads_of
from gifster.uploads.columns.rows import Record, real_database
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.storage.base import StorageUnavailable

logger = logging.getLogger("gifster.uploads")


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
