"""What a record holds in memory for its mounted columns: what was assigned and not saved yet, and
the saves whose transaction has not ended.

It lies on the record and holds no uploader of a column, so that a record that nobody uses any more
is gone at once, with what it held. It does hold a list's uploaders: such a record is gone when
Python has collected it.
"""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gifster.uploads.cache import CachedFile
from gifster.uploads.rows import Record, real_database

_NAME = "_uploads"


class Slot:
    """What was decided about one column, or one file of a list, since the record was saved."""

    def __init__(self) -> None:
        #: The upload that the next save takes.
        self.assigned: CachedFile | None = None
        #: Whether the next save detaches the file.
        self.removing = False

    def clear(self) -> None:
        """Nothing is decided any more."""
        self.assigned, self.removing = None, False

    def copy(self) -> "Slot":
        """The same, for a copy of the record."""
        slot = Slot()
        slot.assigned, slot.removing = self.assigned, self.removing
        return slot


class RecordUploads:
    """What one record holds in memory for its mounted columns."""

    def __init__(self, record: Record) -> None:
        self._owner = weakref.ref(record)
        self._slots: dict[str, Slot] = {}
        #: The uploaders of the columns, as long as somebody holds one.
        self.uploaders: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        #: Their attributes, which another uploader of the same column goes on with.
        self.states: dict[str, dict[str, Any]] = {}
        #: The lists of the list-valued columns.
        self.lists: dict[str, Any] = {}
        #: Saves whose transaction has not ended, as far as is known, the oldest first; and what
        #: tells how it ends, weakly. Both are `outcome.py`'s.
        self.open: list[Any] = []
        self.outcome: weakref.ref[Any] | None = None
        self._lock = threading.RLock()

    def slot(self, column: str) -> Slot:
        """What was decided about a column."""
        return self._slots.setdefault(column, Slot())

    @contextmanager
    def saving(self, record: Record) -> Iterator[None]:
        """Let one thread at a time save the record.

        Raises:
          RuntimeError: another thread is saving it, and cannot be waited for: it may wait for what
            this thread's transaction has locked.
        """
        waits = not real_database(record._meta.database).in_transaction()
        if not self._lock.acquire(blocking=waits):
            raise in_another_thread(record)
        try:
            yield
        finally:
            self._lock.release()

    def copy(self, record: Record) -> "RecordUploads":
        """The same for a copy of the record, which gets files of its own when it is saved."""
        copied = RecordUploads(record)
        copied._slots = {column: slot.copy() for column, slot in self._slots.items()}
        copied.lists = {column: files.copy(record) for column, files in self.lists.items()}
        return copied

    def belongs_to(self, record: Record) -> bool:
        """Whether it is that record's, and not that of one that it was copied from."""
        return self._owner() is record

    def __deepcopy__(self, memo: Any) -> "RecordUploads":
        return self  # the copied record makes its own, when it is asked for

    def __reduce__(self) -> Any:
        """Pickles as None: what is pickled of a record is what its row says."""
        lists = any(files.changed for files in self.lists.values())
        if lists or any(slot.assigned or slot.removing for slot in self._slots.values()):
            raise TypeError("a record with a change to its uploads must be saved to be pickled")
        return type(None), ()


def in_another_thread(record: Record) -> RuntimeError:
    """What is wrong with a save that would have to wait for another thread."""
    return RuntimeError(
        f"another thread is saving this {type(record).__name__}: load the record in each thread "
        "that changes it"
    )


def undecide(record: Record, column: str) -> None:
    """Nothing is decided about a column any more. Loading a row comes here for each that is null:
    most records never hold anything."""
    if _NAME in record.__dict__:
        uploads_of(record).slot(column).clear()


_making = threading.Lock()


def uploads_of(record: Record) -> RecordUploads:
    """What a record holds in memory for its mounted columns."""
    found: RecordUploads | None = record.__dict__.get(_NAME)
    if found is None or not found.belongs_to(record):
        with _making:  # one of two threads
            found = record.__dict__.get(_NAME)
            if found is None:
                found = record.__dict__[_NAME] = RecordUploads(record)
            elif not found.belongs_to(record):
                found = record.__dict__[_NAME] = found.copy(record)
    return found
