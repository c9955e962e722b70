"""What happens to one mounted column of one record, from an assignment to the end of its upload.

    attacher = Person.avatar.attacher(person)
    attacher.set(open("me.gif", "rb"))      # what `person.avatar = …` does
    attacher.value                          # what `person.avatar` is
    attacher.prepare(creating=False)        # `person.save()` begins …
    attacher.write(before, arriving)        # … and writes the row, in a transaction
    attacher.promoted(cached, stored)       # what a worker writes when it has stored the upload

An attacher has no state of its own, so one is made whenever it is needed. The uploader has the
rules, `column.py` the place in the table. A column has one file (`single_attacher.py`) or a list of
them (`list_attacher.py`); nobody else asks which.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from gifster.uploads.attaching.incoming import Incoming
from gifster.uploads.columns import bulk
from gifster.uploads.columns.column import UploadColumn
from gifster.uploads.columns.fields import UploadFailure
from gifster.uploads.columns.rows import Record, check_outbox, key_names
from gifster.uploads.enqueueing import enqueue_removal
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.stored import Files, StoredFile
from gifster.uploads.uploader import Uploader

U = TypeVar("U", bound=Uploader)

#: Columns by name, with their values.
Values = dict[str, Any]


class Attacher(ABC, Generic[U]):
    """One mounted column of one record."""

    def __init__(self, record: Record, mount: UploadColumn[U]) -> None:
        self.record, self.mount = record, mount

    # What the record has.

    @property
    @abstractmethod
    def value(self) -> Any:
        """What `record.<column>` is: an uploader, or a list of them."""

    @abstractmethod
    def uploader_of(self, item: CachedFile | StoredFile) -> U:
        """The uploader of one file of the record."""

    @property
    def pending(self) -> list[CachedFile]:
        """The cached files that wait to be stored."""
        return self.mount.pending(self.record)

    @property
    def stored_files(self) -> list[StoredFile]:
        """The record's stored files in this column."""
        return self.mount.stored_files(self.record)

    @property
    def changed(self) -> bool:
        """Whether the next save has to change this column."""
        return bool(self.value.changed)

    @property
    def removing(self) -> bool:
        """Whether the next save detaches all files."""
        return bool(self.value.removing)

    @property
    def has_files(self) -> bool:
        """Whether the record has a file here: assigned, waiting or stored."""
        return self.changed or bool(self.pending or self.stored_files)

    # Changes that take effect with the next save.

    @abstractmethod
    def set(self, value: Any) -> None:
        """What `record.<column> = value` does. Peewee sets a loaded value in this way, too; but
        only once."""

    @abstractmethod
    def remove(self) -> None:
        """Detach the files with the next save: what `record.remove_<column> = True` does."""

    @abstractmethod
    def keep(self) -> None:
        """Cancel `remove()`: what `record.remove_<column> = False` does."""

    @abstractmethod
    def decisions(self) -> Any:
        """What the next save has to do; a snapshot for `forget()` and `restore()`."""

    @abstractmethod
    def forget(self, decided: Any, arrived: Iterable[Incoming]) -> None:
        """Clear what a save has carried out, and keep what another thread has assigned since.

        Parameters:
          decided: the `decisions()` that the save began with.
          arrived: the uploads that it saved.
        """

    @abstractmethod
    def restore(self, decided: Any) -> None:
        """After a rollback, leave to the next save what this one had to do. Something newer that
        was assigned or removed since wins; a list gets both.

        Parameters:
          decided: the `decisions()` that the save began with.
        """

    # Saving.

    @abstractmethod
    def prepare(self, *, creating: bool) -> None:
        """Give the record files of its own, before a save.

        No two rows may name one file. So this copies an assigned file that belongs to another
        record, such as the one that this record was copied from. It also copies a file that a new
        row would share with an existing row, and one that has waited for too long.

        Parameters:
          creating: whether the save inserts a new row.
        """

    def is_set_unloaded(self) -> bool:
        """Whether the column was assigned in a record that was loaded without it.

        Records made of a row's values (`User(**row)`) do not count. Their values may be stale: the
        row may have got an upload since.
        """
        made = key_names(self.record) <= self.record._dirty
        return self.mount.name in self.record._dirty and not made

    @abstractmethod
    def arriving(self) -> list[Incoming]:
        """The uploads that the next save writes."""

    @abstractmethod
    def write(self, before: Values | None, arriving: list[Incoming]) -> None:
        """Put the columns' new values into the record, and detach the files that these replace.

        It runs in the transaction, before the row is written.

        Parameters:
          before: the columns of the row as it is now; None for a new row.
          arriving: the uploads that the save writes.
        """

    @abstractmethod
    def add(self, stored: StoredFile, *, later: bool) -> None:
        """Name a file that this save has stored: in the transaction, when the row has an id.

        Parameters:
          later: whether a worker has still to make its versions.
        """

    def put(self, **values: Any) -> None:
        """Set the column (`stored`), and those companions that the model has, in the record."""
        named = self.mount.values(**values)
        self.record.__data__.update(named)
        self.record._dirty.update(named)  # `only_save_dirty` must save them.

    def columns(self) -> Values:
        """The values of the column and its companions in the record."""
        return {name: self.record.__data__.get(name) for name in self.mount.columns}

    def write_columns(self) -> None:
        """Write the values of the column and its companions from the record into its row."""
        values = self.columns()
        with bulk.saving():
            type(self.record).update(**values).where(self.record._pk_expr()).execute()
        self.record._dirty -= set(values)

    # Detaching. A worker deletes the files once the current transaction has committed.

    def detach(self, files: Iterable[StoredFile], *, deleting: bool = False) -> None:
        """Have stored files deleted: in the transaction in which the row stops naming them.

        Parameters:
          deleting: whether the row is deleted, so that `keep_files` does not count.
        """
        if self.mount.uploader.keep_files and not deleting:
            return
        for stored in files:
            self.uploader_of(stored).before_remove(stored)
            self.discard(stored, stored.files)

    def drop(self, uploads: Iterable[CachedFile], row: Values) -> None:
        """Have the cached files of uploads deleted: in the transaction in which the row stops
        waiting for them. The job of each does that, when it finds its upload superseded. If it is
        dead, another one is enqueued.

        Parameters:
          row: the columns of the row until then.
        """
        background = self.mount.background
        if background is None or not background.stores or not self.may_be_dead(row):
            return
        for cached in uploads:
            group = self.uploader_of(cached).fair_by()
            background.enqueue(self.record, self.mount.name, cached, group)

    @abstractmethod
    def may_be_dead(self, row: Values) -> bool:
        """Whether the job of an upload that a row waits for may be dead, as far as the row tells.
        Models need not have columns for that."""

    def discard(self, stored: StoredFile, files: Files) -> None:
        """Have some of a stored file's files deleted: in the transaction in which the row stops
        naming these.

        Raises:
          TypeError: the outbox is in another database, so the job would outlive a rollback.
        """
        check_outbox(type(self.record))
        group = self.uploader_of(stored).fair_by()
        enqueue_removal(self.record, self.mount.name, files, group)

    # A worker's steps. Here the record is the current row, locked.

    def waiting(self, key: str) -> CachedFile | None:
        """The cached file with that key, if the row waits for it; otherwise None."""
        return next((cached for cached in self.pending if cached.key == key), None)

    def stored(self, key: str) -> StoredFile | None:
        """The stored file whose original has that key; None if the row names none."""
        return next((stored for stored in self.stored_files if stored.key == key), None)

    @abstractmethod
    def stored_now(self, uploader: U) -> StoredFile | None:
        """The stored file of the row that an uploader is for, which may know of an earlier one, or
        of none; None if there is none."""

    @abstractmethod
    def working(self) -> Values:
        """The column values while a worker works on an upload; they clear an earlier failure."""

    @abstractmethod
    def promoted(self, cached: CachedFile, stored: StoredFile) -> tuple[Values, list[StoredFile]]:
        """The column values after an upload was stored, and the stored files that it replaces."""

    @abstractmethod
    def processed(self, *, first: bool, others_wait: bool) -> Values:
        """The column values after a stored file got versions, beside the file itself.

        Parameters:
          first: whether these are its first ones.
          others_wait: whether other files wait for their first ones.
        """

    @abstractmethod
    def recreated(self, old: StoredFile, new: StoredFile) -> Values:
        """The column values after a stored file got new versions."""

    @abstractmethod
    def failed(self, cached: CachedFile, failure: UploadFailure, *, give_up: bool) -> Values:
        """The column values after an upload failed.

        Parameters:
          give_up: whether no retry can help, so that the row stops waiting for the upload.
        """
