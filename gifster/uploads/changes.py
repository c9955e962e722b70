"""What one save of a record does to one mounted column, from the decision to the end of the
transaction.

`saving.py` goes through the steps, and `outcome.py` asks what became of them. The attacher says
what is written; a change remembers what there was before, so that it can be taken back.
"""

from typing import Any

from gifster.jobs import Job
from gifster.uploads.attacher import Attacher, Values
from gifster.uploads.rows import Record


class Change:
    """What one save of a record does to one mounted column."""

    def __init__(self, attacher: Attacher[Any]) -> None:
        self.attacher = attacher
        self.mount = attacher.mount
        #: The columns of the row before, in the transaction; None if there was none.
        self.before: Values | None = None
        #: The same when the save was through; None as long as it is not.
        self.after: Values | None = None
        self._at_first = attacher.columns()
        self._decided = attacher.decisions()
        self.incoming = attacher.arriving()

    def write(self, before: Values | None) -> None:
        """In the transaction, before the row is written.

        Parameters:
          before: the columns of the row as it is now; None for a new one.
        """
        self.before = before
        self.attacher.write(before, self.incoming)

    def written(self) -> None:
        """In the transaction, after the row is written and has an id."""
        for incoming in self.incoming:
            if not incoming.deferred:
                self.attacher.add(incoming.store(), later=incoming.background is not None)
                self.attacher.write_columns()
            incoming.written()

    # What the record holds, once `save()` is through.

    def taken(self) -> None:
        """What was decided is done. What another thread has decided meanwhile is not."""
        self.after = self.attacher.columns()
        self.attacher.taken(self._decided, self.incoming)

    def restore(self) -> None:
        """After a rollback: what was decided is to be done still, unless something newer is."""
        before = self._at_first if self.before is None else self.before
        values = {name: before.get(name) for name in self.mount.columns}
        self.attacher.record.__data__.update(values)
        self.attacher.restore(self._decided)

    # How the transaction ended.

    @property
    def jobs(self) -> list[Job]:
        """The jobs that it enqueued, in its transaction."""
        return [incoming.job for incoming in self.incoming if incoming.job is not None]

    def is_named(self, row: Record) -> bool:
        """Whether a row names what came."""
        named = {cached.key for cached in self.mount.pending(row)}
        for stored in self.mount.stored_files(row):
            named |= {stored.key, stored.source}
        return any(incoming.key in named for incoming in self.incoming)

    def is_as_before(self, row: Record) -> bool:
        """Whether a row is as it was before."""
        return self._is(row, self.before)

    def is_as_after(self, row: Record) -> bool:
        """Whether a row is as the save left it."""
        return self._is(row, self.after)

    def _is(self, row: Record, columns: Values | None) -> bool:
        names = self.mount.columns
        return columns is not None and all(row.__data__.get(n) == columns.get(n) for n in names)

    def undo(self) -> None:
        """After a rollback: take away what was stored."""
        for incoming in self.incoming:
            incoming.undo()

    def committed(self) -> None:
        """After the commit."""
        for incoming in self.incoming:
            incoming.committed()
