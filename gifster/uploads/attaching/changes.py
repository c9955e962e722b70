"""One save of a record, as one mounted column goes through it: from what was assigned or removed to
the end of the transaction.

The attacher decides what is written; a change remembers what the row had before, so that the save
can be undone. `saving.py` takes the steps in order, and `outcome.py` finds out how they ended.
"""

import json
from typing import Any

from gifster.jobs import Job
from gifster.uploads.attaching.attacher import Attacher, Values
from gifster.uploads.columns.rows import Record, texts_of


class Change:
    """What one save of a record does to one mounted column."""

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

    def write(self, before: Values | None) -> None:
        """Put the new values into the record: in the transaction, before the row is written.

        Parameters:
          before: the columns of the row as it is now; None for a new row.
        """
        self.before = before
        self.attacher.write(before, self.incoming)

    def written(self) -> None:
        """Store the files or enqueue their jobs: in the transaction, when the row has an id."""
        for incoming in self.incoming:
            if not incoming.deferred:
                self.attacher.add(incoming.store(), later=incoming.background is not None)
                self.attacher.write_columns()
            incoming.written()

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
