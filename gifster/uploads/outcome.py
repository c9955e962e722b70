"""A save whose transaction may still be rolled back: by the caller's, around `save()`.

Peewee tells when a transaction is committed. Of a rollback it only forgets the callbacks for that,
so being forgotten is how an `Outcome` learns of it. Either way the row is asked what became of the
save: a savepoint may have been rolled back within, and a commit may have gone through and something
behind it failed.
"""

import logging
import threading
import weakref
from typing import Any

from gifster.jobs import Job
from gifster.uploads.cache import CachedFile
from gifster.uploads.changes import Change
from gifster.uploads.record import in_another_thread, uploads_of
from gifster.uploads.rows import Record, outermost_transaction, primary_key, real_database, row_of
from gifster.uploads.storage.base import StorageUnavailable

logger = logging.getLogger("gifster.uploads")


class Saved:
    """One save of a record, or its deletion after a save.

    Parameters:
      changes: what it did to mounted columns.
      creating: whether it was to make the row.
      deleting: whether it removed the row.
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
        #: Of the row that it wrote. The record may have come to stand for another since.
        self.pk = record._pk

    def taken(self) -> None:
        """`save()` is through: what was decided is done."""
        self.pk = self.record._pk
        for change in self.changes:
            change.taken()

    def row(self) -> Record | None:
        """The row that it wrote, as it is now; None if there is none.

        Raises:
          PeeweeException: the database cannot be asked.
        """
        return None if self.pk is None else row_of(type(self.record), self.pk)

    def is_undone(self, row: Record | None, *, rolled_back: bool) -> bool | None:
        """Whether the row does not have it.

        Parameters:
          row: as it is now.
          rolled_back: a transaction around it was. Otherwise it goes on, or was committed.

        Returns:
          None where that cannot be told of it alone: the row has been changed since.

        Raises:
          PeeweeException: the database cannot be asked.
        """
        if self._deleting:
            return row is not None or (None if rolled_back else False)
        if row is None:
            return True
        if not self.changes or any(change.is_named(row) for change in self.changes):
            return False
        jobs = {job.id: job.arguments for change in self.changes for job in change.jobs}
        if jobs:  # in the same transaction, and not sent before the outcome is known
            there = Job.select().where(Job.id.in_(list(jobs)))
            # Another record's job may have the name by now, if both were to get one cached file.
            return not any(job.arguments == jobs[job.id] for job in there)
        is_before = all(change.is_as_before(row) for change in self.changes)
        is_after = all(change.is_as_after(row) for change in self.changes)
        if is_before is not is_after:
            return is_before
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
        if self._creating and self._pk is None and self.record._pk == self.pk:
            self.record.__data__.pop(primary_key(type(self.record)).name, None)
        self.record._dirty |= self._dirty

    def superseded(self) -> None:
        """Somebody else has changed the row since: what it stored is not needed any more."""
        for change in self.changes:
            change.undo()


class Outcome:
    """Learns how a transaction ends in which a record was saved: its commit calls it, its rollback
    throws it away."""

    def __init__(self, record: Record) -> None:
        #: Whose transaction it is, and which.
        self.thread = threading.get_ident()
        self._transaction = outermost_transaction(record._meta.database)
        self._record = [record]
        self._forgotten = weakref.finalize(self, _end, self._record, rolled_back=True)
        self._forgotten.atexit = False

    def __call__(self) -> None:
        self._forgotten.detach()
        _end(self._record, rolled_back=False)

    def is_over(self, record: Record) -> bool:
        """Whether the transaction has ended, although nobody has said so: a callback before this
        one failed, and somebody keeps its traceback. It will say nothing then any more."""
        present = outermost_transaction(record._meta.database)
        over = self.thread == threading.get_ident() and self._transaction is not present
        if over:
            self._forgotten.detach()
        return over


def _outcome(record: Record) -> Outcome | None:
    """What is going to tell how the transaction ends in which the record was saved."""
    memory = uploads_of(record)
    outcome = None if memory.outcome is None else memory.outcome()
    return None if outcome is None or outcome.is_over(record) else outcome


def follow(record: Record) -> bool:
    """See what becomes of the saves of a record in the transaction that there is.

    Returns:
      False if nobody will tell: within `manual_commit()`.
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
    """Before another save: undo those of the same record that have been rolled back.

    Raises:
      PeeweeException: the database cannot be asked.
      RuntimeError: another thread's transaction has saved it, and has not ended.
    """
    outcome = _outcome(record)
    if outcome is not None and outcome.thread != threading.get_ident():
        raise in_another_thread(record)
    if uploads_of(record).open:
        # Nobody told how it ended: the connection was lost, or could not be asked.
        ended = outcome is None
        _remove_forgotten(_settle_all(record, ended=ended, rolled_back=ended))


def _end(box: list[Any], *, rolled_back: bool) -> None:
    record = box.pop()
    memory = uploads_of(record)
    memory.outcome = None
    if not rolled_back and not any(saved.changes for saved in memory.open):
        memory.open = []  # no upload's: not worth a query
        return
    if real_database(record._meta.database).is_closed():
        return  # the connection was lost, with or without the commit: the next save will ask
    try:
        cached = _settle_all(record, ended=True, rolled_back=rolled_back)
    except Exception:
        # Peewee would take it for a failure of the commit. The next save asks again.
        logger.exception("not known whether it was saved: %s %s", type(record).__name__, record._pk)
        return
    del record, memory
    _remove_forgotten(cached)


#: Uploads that are to be saved again: each weakly, and a copy that says where it is.
_Undone = list[tuple[weakref.ref[CachedFile], CachedFile]]


def _settle_all(record: Record, *, ended: bool, rolled_back: bool) -> _Undone:
    memory = uploads_of(record)
    undone: list[CachedFile] = []
    going_on = []
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
            going_on.append(saved)
        elif is_undone is None:
            saved.superseded()
        else:
            saved.committed()
    memory.open = going_on[::-1]
    return [(weakref.ref(upload), CachedFile(**upload.__getstate__())) for upload in undone]


def _verdicts(saves: list[Saved], *, rolled_back: bool) -> list[bool | None]:
    """Which of the saves are undone, the oldest first.

    Each was found to be there before the next was begun. So what came before one that is there was
    not undone, only replaced perhaps; and what came after one that is undone was undone with it.
    """
    verdicts: list[bool | None] = []
    row: Record | None = None
    for number, saved in enumerate(saves):
        if number == 0 or saved.pk != saves[number - 1].pk:
            row = saved.row()
        verdicts.append(saved.is_undone(row, rolled_back=rolled_back))
    there = len(verdicts) - verdicts[::-1].index(False) if False in verdicts else 0
    rest = verdicts[there:]
    unclear = rest.index(True) if True in rest else len(rest)
    return [False] * there + [None] * unclear + [True] * (len(rest) - unclear)


def _remove_forgotten(undone: _Undone) -> None:
    """What nobody can save again is not left behind."""
    for reference, upload in undone:
        if reference() is None:
            try:
                upload.delete()
            except (OSError, StorageUnavailable, LookupError) as error:  # the sweep will find it
                logger.warning("left in the cache key=%s reason=%r", upload.key, str(error))
