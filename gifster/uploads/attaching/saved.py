"""What a save of a record has done: whether a row has it, and how it is finished or undone.

`saving.py` takes the steps of a save in order. `outcome.py` finds out how the transaction around it
has ended.
"""

import json
from typing import Any

from gifster.jobs import Job
from gifster.jobs.transactions import piece_of_work
from gifster.uploads.attaching.attacher import Attacher, Values
from gifster.uploads.columns.rows import Record, key_names, row_of, texts_of


class Change:
    """What one save of a record does to one mounted column, from what was assigned or removed to
    the end of the transaction. It remembers what the row had before."""

    def __init__(self, attacher: Attacher[Any]) -> None:
        self.attacher = attacher
        self.mount = attacher.mount
        #: The columns of the row before the save; None if it was a new row.
        self.before: Values | None = None
        #: The columns as the save left them; None until it went through.
        self.after: Values | None = None
        self._at_first = attacher.columns()
        self._decided = attacher.decisions()
        self.incoming = attacher.arriving()

    # What the record holds after `save()`.

    def finish(self) -> None:
        """Clear what the save has carried out, after `save()` went through.

        What another thread has assigned or removed in the meantime waits for the next save.
        """
        self.after = self.attacher.columns()
        self.attacher.forget(self._decided, self.incoming)

    def restore(self) -> None:
        """After a rollback, give the record its old columns and what it had to save.

        Something newer that was assigned or removed since wins.
        """
        before = self._at_first if self.before is None else self.before
        values = {name: before.get(name) for name in self.mount.columns}
        self.attacher.record.__data__.update(values)
        self.attacher.restore(self._decided)

    # How the transaction ended.

    @property
    def jobs(self) -> list[Job]:
        """The jobs that the save enqueued, in its transaction."""
        return [incoming.job for incoming in self.incoming if incoming.job is not None]

    def is_named_by(self, row: Record) -> bool:
        """Whether a row names one of the uploads that were saved."""
        named = {cached.key for cached in self.mount.pending(row)}
        for stored in self.mount.stored_files(row):
            named |= {stored.key, stored.source}
        return any(incoming.key in named for incoming in self.incoming)

    def is_named_by_row_of(self, pk: Any) -> bool:
        """Whether the row with a primary key names one of the uploads that were saved.

        The columns have JSON texts. Nobody can guess the key of an upload, so a text with the key
        in it names the upload.
        """
        texts = texts_of(self.mount, pk)
        keys = [json.dumps(incoming.key, ensure_ascii=False) for incoming in self.incoming]
        return any(key in text for key in keys for text in texts if text)

    def is_as_before(self, row: Record) -> bool:
        """Whether a row has the columns from before the save."""
        return self._is(row, self.before)

    def is_as_after(self, row: Record) -> bool:
        """Whether a row has the columns as the save left them."""
        return self._is(row, self.after)

    def _is(self, row: Record, columns: Values | None) -> bool:
        names = self.mount.columns
        return columns is not None and all(row.__data__.get(n) == columns.get(n) for n in names)

    def undo(self) -> None:
        """After a rollback, delete what was stored."""
        for incoming in self.incoming:
            incoming.undo()

    def committed(self) -> None:
        """After the commit, delete what is not needed any more."""
        for incoming in self.incoming:
            incoming.committed()


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
