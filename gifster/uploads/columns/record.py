"""What a record holds in memory for its mounted columns: what was assigned and is not saved yet,
and the saves whose transaction is still open.

It is kept in the record's `__dict__`, and refers to a column's uploader only weakly. So there is no
reference cycle: Python deletes a record as soon as nobody uses it. A list-valued column is the
exception: the list holds its uploaders, and these records wait for the garbage collector.
"""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gifster.uploads.columns.rows import Record, database_of
from gifster.uploads.files.cache import CachedFile

_NAME = "_gifster_uploads"


class Slot:
    """What the next save has to do to one column, or to one file of a list."""

    def __init__(self) -> None:
        #: The upload that the next save writes.
        self.assigned: CachedFile | None = None
        #: Whether the next save detaches the file.
        self.removing = False
        #: What was assigned before the file was to be detached, in case that is cancelled.
        self.set_aside: CachedFile | None = None
        #: Whether the column was dirty before all this.
        self.was_dirty = False
        #: The URL that was assigned last, for a form that is shown again.
        self.remote_url: str | None = None

    def clear(self) -> None:
        """Leave the next save nothing to do."""
        self.assigned = self.set_aside = self.remote_url = None
        self.removing = False

    def copy(self) -> "Slot":
        """A slot with the same content, for a copy of the record."""
        slot = Slot()
        vars(slot).update(vars(self))
        return slot


class RecordUploads:
    """What one record holds in memory for its mounted columns."""

    def __init__(self, record: Record) -> None:
        self._owner = weakref.ref(record)
        self._slots: dict[str, Slot] = {}
        #: The uploader of each column, for as long as somebody holds it.
        self.uploaders: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        #: Their attributes, which the next uploader object of the same column continues with.
        self.states: dict[str, dict[str, Any]] = {}
        #: The lists of the list-valued columns.
        self.lists: dict[str, Any] = {}
        #: Saves whose transaction is still open, as far as is known, the oldest first; and a weak
        #: reference to the `Outcome` that learns how it ends. Both belong to `outcome.py`.
        self.open: list[Any] = []
        self.outcome: weakref.ref[Any] | None = None
        self._lock = threading.RLock()

    def slot(self, column: str) -> Slot:
        """What the next save has to do to a column."""
        return self._slots.setdefault(column, Slot())

    @contextmanager
    def saving(self, record: Record) -> Iterator[None]:
        """Let one thread at a time save the record.

        Raises:
          InterfaceError: its model has no database.
          RuntimeError: another thread is saving it, and this thread has a transaction open. Waiting
            could deadlock: the other thread may need a row that this transaction has locked.
        """
        waits = not database_of(record).in_transaction()
        if not self._lock.acquire(blocking=waits):
            raise in_another_thread(record)
        try:
            yield
        finally:
            self._lock.release()

    def copy(self, record: Record) -> "RecordUploads":
        """The same for a copy of the record. Saving the copy gives it files of its own."""
        copied = RecordUploads(record)
        copied._slots = {column: slot.copy() for column, slot in self._slots.items()}
        for column, state in self.states.items():
            copied.states[column] = state | {"slot": copied.slot(column)}
        copied.lists = {column: files.copy(record) for column, files in self.lists.items()}
        return copied

    def belongs_to(self, record: Record) -> bool:
        """Whether this was made for that record. In a copy that `separate()` has not seen, such as
        by a `__copy__()` of the model's own, it is still the original's."""
        return self._owner() is record

    def __deepcopy__(self, memo: Any) -> "RecordUploads":
        record = memo.get(id(self._owner()))
        return self if record is None else self.copy(record)

    def __reduce__(self) -> Any:
        """Pickle as None: a pickled record has only what its row has."""
        lists = any(files.changed for files in self.lists.values())
        if lists or any(slot.assigned or slot.removing for slot in self._slots.values()):
            raise TypeError(
                "cannot pickle a record whose uploads have unsaved changes: save() it first"
            )
        return type(None), ()


def in_another_thread(record: Record) -> RuntimeError:
    """The error of a save that would have to wait for another thread."""
    return RuntimeError(
        f"another thread is saving this {type(record).__name__}: load the record in each thread "
        "that changes it"
    )


def clear_slot(record: Record, column: str) -> None:
    """Leave the next save nothing to do to a column.

    This runs for each null column of each row that is loaded, so it makes no `RecordUploads` for
    the many records that never need one.
    """
    if _NAME in record.__dict__:
        uploads_of(record).slot(column).clear()


def separate(record: Record, copied: Record) -> None:
    """Give a shallow copy of a record what was assigned until now, for itself: what either gets
    later, the other does not have (as after CarrierWave's `dup`)."""
    # Peewee keeps the values of the columns in these, and a save writes the file into them.
    copied.__data__, copied.__rel__ = dict(record.__data__), dict(record.__rel__)
    copied._dirty = set(record._dirty)
    if _NAME in record.__dict__:
        copied.__dict__[_NAME] = uploads_of(record).copy(copied)


_making = threading.Lock()


def uploads_of(record: Record) -> RecordUploads:
    """What a record holds in memory for its mounted columns."""
    found: RecordUploads | None = record.__dict__.get(_NAME)
    if found is None or not found.belongs_to(record):
        with _making:  # Two threads must not make two.
            found = record.__dict__.get(_NAME)
            if found is None:
                found = record.__dict__[_NAME] = RecordUploads(record)
            elif not found.belongs_to(record):
                found = record.__dict__[_NAME] = found.copy(record)
    return found
