"""A save whose transaction may still be rolled back: by the caller's, around `save()`.

Peewee tells when a transaction is committed. Of a rollback it only forgets the callbacks for that,
so being forgotten is how an `Outcome` learns of it. Either way the row is asked what became of the
save: a savepoint may have been rolled back within, and a commit may have gone through and something
behind it failed.
"""

import logging
import weakref
from typing import Any

from gifster.jobs import Job
from gifster.uploads.attached import attached
from gifster.uploads.cache import CachedFile
from gifster.uploads.changes import Change
from gifster.uploads.rows import real_database, row_of
from gifster.uploads.storage.base import StorageUnavailable

logger = logging.getLogger("gifster.uploads")


class Saved:
    """One save of a record.

    Parameters:
      changes: what it did to mounted columns.
      creating: whether it was to make the row.
    """

    def __init__(self, record: Any, changes: list[Change], *, creating: bool) -> None:
        self.record, self.changes, self._creating = record, changes, creating
        self._pk, self._dirty = record._pk, set(record._dirty)

    def is_undone(self, *, rolled_back: bool) -> bool | None:
        """Whether the row does not have it.

        Parameters:
          rolled_back: a transaction around it was. Otherwise it goes on, or was committed.

        Returns:
          None where that cannot be told: somebody else has changed the row since.

        Raises:
          PeeweeException: the database cannot be asked.
        """
        row = None if self.record._pk is None else row_of(self.record)
        if row is None:
            return True
        if any(change.is_named(row) for change in self.changes):
            return False
        jobs = [job.id for change in self.changes for job in change.jobs]
        if jobs:  # in the same transaction, and not sent before the outcome is known
            return not Job.select().where(Job.id.in_(jobs)).exists()
        if all(change.is_as_before(row) for change in self.changes):
            return bool(self.changes)
        if not any(change.incoming for change in self.changes):
            return False
        # Of a row that was to be made: another has the id now.
        return True if rolled_back or self._creating else None

    def committed(self) -> None:
        """The row has it for good."""
        for change in self.changes:
            change.committed()

    def undo(self) -> None:
        """The row does not have it: nothing of it is left, and the record can be saved again."""
        for change in self.changes:
            change.undo()
            change.restore()
        if self._creating and self._pk is None:
            self.record.__data__.pop(self.record._meta.primary_key.name, None)
        self.record._dirty |= self._dirty

    def overtaken(self) -> None:
        """Somebody else has changed the row since: what it stored is not needed any more."""
        for change in self.changes:
            change.undo()


class Outcome:
    """Learns how a transaction ends in which a record was saved: its commit calls it, its rollback
    throws it away."""

    def __init__(self, record: Any) -> None:
        self._record = [record]
        self._forgotten = weakref.finalize(self, _end, self._record, rolled_back=True)
        self._forgotten.atexit = False

    def __call__(self) -> None:
        self._forgotten.detach()
        _end(self._record, rolled_back=False)


def follow(record: Any) -> None:
    """See what becomes of the saves of a record in the transaction that there is."""
    hand = attached(record)
    if hand.outcome is None or hand.outcome() is None:
        outcome = Outcome(record)
        hand.outcome = weakref.ref(outcome)
        real_database(record._meta.database).after_commit(outcome)


def settle(record: Any) -> None:
    """Before another save: undo those of the same record that have been rolled back.

    Raises:
      PeeweeException: the database cannot be asked.
    """
    hand = attached(record)
    if not hand.open:
        return
    if hand.outcome is None or hand.outcome() is None:
        _settle_all(record, ended=True, rolled_back=True)  # a connection that was lost
    else:
        _settle_all(record, ended=False, rolled_back=False)


def _end(box: list[Any], *, rolled_back: bool) -> None:
    record = box.pop()
    if real_database(record._meta.database).is_closed():
        return  # the connection was lost, with or without the commit: the next save will ask
    try:
        cached = _settle_all(record, ended=True, rolled_back=rolled_back)
    except Exception:
        # Peewee would take it for a failure of the commit. The next save asks again.
        logger.exception("not known whether it was saved: %s %s", type(record).__name__, record._pk)
        return
    # What nobody can save again is not left behind.
    del record
    for reference, upload in cached:
        if reference() is None:
            _remove(upload)


def _settle_all(
    record: Any, *, ended: bool, rolled_back: bool
) -> list[tuple[weakref.ref[CachedFile], CachedFile]]:
    """Returns the uploads that are to be saved again, each weakly, and as a copy that says where it
    is."""
    hand = attached(record)
    going_on, undone = [], []
    for saved in reversed(hand.open):
        is_undone = saved.is_undone(rolled_back=rolled_back)
        if is_undone:
            saved.undo()
            undone += [incoming for change in saved.changes for incoming in change.incoming]
        elif not ended:
            going_on.append(saved)
        elif is_undone is None:
            saved.overtaken()
        else:
            saved.committed()
    hand.open = going_on[::-1]
    return [
        (weakref.ref(incoming.assigned), CachedFile(**incoming.assigned.__getstate__()))
        for incoming in undone
    ]


def _remove(upload: CachedFile) -> None:
    try:
        upload.delete()
    except (OSError, StorageUnavailable, LookupError) as error:  # the sweep will find it
        logger.warning("left in the cache key=%s reason=%r", upload.key, str(error))
