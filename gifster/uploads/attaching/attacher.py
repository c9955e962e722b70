"""The attacher: every change to one mounted column of one record.

    attacher = Person.avatar.attacher(person)
    attacher.set(open("me.gif", "rb"))      # what `person.avatar = …` does
    attacher.uploader                       # what `person.avatar` is
    attacher.prepare(creating=False)        # `person.save()` begins …
    attacher.write(before, arriving)        # … and writes the row, in a transaction
    attacher.promoted(cached, stored)       # what a worker writes when it has stored the upload

An attacher has no state of its own, so one is made whenever it is needed. The uploader has the
rules, `column.py` the place in the table, and `list_attacher.py` the attacher for several files.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from gifster.uploads.attaching.incoming import Incoming, own
from gifster.uploads.attaching.storing import MIXED
from gifster.uploads.columns import bulk
from gifster.uploads.columns.column import UploadColumn
from gifster.uploads.columns.fields import UploadFailure
from gifster.uploads.columns.record import clear_slot, uploads_of
from gifster.uploads.columns.rows import Record, check_outbox, key_names
from gifster.uploads.columns.states import FAILED, PROCESSING, QUEUED, READY
from gifster.uploads.enqueueing import enqueue_removal
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.stored import Files, StoredFile
from gifster.uploads.uploader import Uploader

U = TypeVar("U", bound=Uploader)

#: Columns by name, with their values.
Values = dict[str, Any]


class Attacher(Generic[U]):
    """One mounted column of one record."""

    def __init__(self, record: Record, mount: UploadColumn[U]) -> None:
        self.record, self.mount = record, mount

    # What the record has.

    @property
    def uploader(self) -> U:
        """The uploader of the column; the same object for as long as somebody holds it."""
        memory, name = uploads_of(self.record), self.mount.name
        found: U | None = memory.uploaders.get(name)
        if found is None:
            found = self.mount.uploader(self.record, self.mount)
            found.__dict__ = memory.states.setdefault(name, found.__dict__)
            memory.uploaders[name] = found
        return found

    def uploader_of(self, item: CachedFile | StoredFile) -> U:
        """The uploader of one file of the record."""
        return self.uploader

    @property
    def value(self) -> Any:
        """What `record.<column>` is."""
        return self.uploader

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
        """Whether the next save detaches the file."""
        return self.uploader.removing

    @property
    def has_files(self) -> bool:
        """Whether the record has a file here: assigned, waiting or stored."""
        return self.changed or bool(self.pending or self.stored_files)

    # Changes that take effect with the next save.

    def set(self, value: Any) -> None:
        """What `record.<column> = value` does."""
        record, name = self.record, self.mount.name
        # Peewee sets a loaded value, a StoredFile or None, in this way, too; but only once.
        first = name not in record.__data__
        if isinstance(value, Uploader) and value.record is record and value.mount is self.mount:
            return  # `record.avatar = record.avatar` changes nothing.
        if first and isinstance(value, StoredFile) and value.is_from_row():
            record.__data__[name] = value
            # Peewee clears the dirty fields after loading a row. If it stays dirty, somebody has
            # assigned the value (see `is_set_unloaded()`).
            record._dirty.add(name)
        elif value is not None and value != record.__data__.get(name):
            self.uploader.assign(value)
        elif value is None and (self.stored_files or self.pending) and not first:
            self.uploader.remove()
        else:
            record.__data__[name] = value
            clear_slot(record, name)
            (record._dirty.add if value is None else record._dirty.discard)(name)

    def remove(self) -> None:
        """Detach the files with the next save: what `record.remove_<column> = True` does."""
        self.uploader.remove()

    def keep(self) -> None:
        """Cancel `remove()`: what `record.remove_<column> = False` does."""
        self.uploader.keep()

    def decisions(self) -> Any:
        """What the next save has to do; a snapshot for `forget()` and `restore()`."""
        slot = uploads_of(self.record).slot(self.mount.name)
        return slot.assigned, slot.removing

    def forget(self, decided: Any, arrived: Iterable[Incoming]) -> None:
        """Clear what a save has carried out, and keep what another thread has assigned since.

        Parameters:
          decided: the `decisions()` that the save began with.
          arrived: the uploads that it saved.
        """
        slot, (assigned, removing) = uploads_of(self.record).slot(self.mount.name), decided
        if slot.assigned is assigned:
            slot.assigned = slot.remote_url = None
        if removing:
            slot.removing, slot.set_aside = False, None

    def restore(self, decided: Any) -> None:
        """After a rollback, leave to the next save what this one had to do, unless something newer
        was assigned or removed since.

        Parameters:
          decided: the `decisions()` that the save began with.
        """
        slot = uploads_of(self.record).slot(self.mount.name)
        if slot.assigned is None and not slot.removing:
            slot.assigned, slot.removing = decided
            self.record._dirty.add(self.mount.name)

    # Saving.

    def prepare(self, *, creating: bool) -> None:
        """Give the record files of its own, before a save.

        No two rows may name one file. So this copies an assigned file that belongs to another
        record, such as the one that this record was copied from. It also copies a file that a new
        row would share with an existing row, and one that has waited for too long.

        Parameters:
          creating: whether the save inserts a new row.
        """
        uploader = self.uploader
        if not creating and not uploader.changed and self.is_set_unloaded():
            stored = self.stored_files
            uploader.assign(stored[0]) if stored else uploader.remove()
        if uploader.assigned is not None:
            own(uploader)
        elif creating and not uploader.removing:
            for item in (self.pending or self.stored_files)[:1]:
                uploader.assign(item)

    def is_set_unloaded(self) -> bool:
        """Whether the column was assigned in a record that was loaded without it.

        Records made of a row's values (`User(**row)`) do not count. Their values may be stale: the
        row may have got an upload since.
        """
        made = key_names(self.record) <= self.record._dirty
        return self.mount.name in self.record._dirty and not made

    def arriving(self) -> list[Incoming]:
        """The uploads that the next save writes."""
        assigned = self.uploader.assigned
        return [] if assigned is None else [Incoming(self.uploader, assigned)]

    def write(self, before: Values | None, arriving: list[Incoming]) -> None:
        """Put the columns' new values into the record, and detach the files that these replace.

        It runs in the transaction, before the row is written.

        Parameters:
          before: the columns of the row as it is now; None for a new row.
          arriving: the uploads that the save writes.
        """
        stored = (before or {}).get(self.mount.name)
        if arriving and arriving[0].deferred:
            # The present file stays until the new one is stored.
            pending = self._drop_pending(before or {})
            if stored is not None and pending is not None and stored.source == pending.key:
                # Its `later` versions have yet to be made. If the new upload fails, they are.
                stored = replace(stored, steps=MIXED)
            tmp = arriving[0].cached
            self.put(stored=stored, tmp=tmp, processing=True, state=QUEUED, error=None)
        else:
            self.detach([] if stored is None else [stored])
            self._drop_pending(before or {})
            self.put(stored=None, tmp=None, processing=False, state=None, error=None)

    def add(self, stored: StoredFile, *, later: bool) -> None:
        """Name a file that this save has stored: in the transaction, when the row has an id.

        Parameters:
          later: whether a worker has still to make its versions.
        """
        self.put(stored=stored, processing=later, state=QUEUED if later else READY)

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

    def may_be_dead(self, row: Values) -> bool:
        """Whether the job of an upload that a row waits for may be dead, as far as the row tells.
        Models need not have columns for that."""
        if self.mount.companion("state") is not None:
            return bool(row.get(f"{self.mount.name}_state") == FAILED)
        return not row.get(f"{self.mount.name}_processing")

    def _drop_pending(self, row: Values) -> CachedFile | None:
        """`drop()` the upload that a row waits for, given its columns, and return it."""
        tmp = self.mount.companion("tmp")
        pending: CachedFile | None = None if tmp is None else row.get(tmp.name)
        if pending is not None:
            self.drop([pending], row)
        return pending

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

    def stored_now(self, uploader: U) -> StoredFile | None:
        """The stored file of the row that an uploader is for, which may know of an earlier one, or
        of none; None if there is none."""
        return next(iter(self.stored_files), None)

    def working(self) -> Values:
        """The column values while a worker works on an upload; they clear an earlier failure."""
        return self.mount.values(processing=True, state=PROCESSING, error=None)

    def promoted(self, cached: CachedFile, stored: StoredFile) -> tuple[Values, list[StoredFile]]:
        """The column values after an upload was stored, and the stored files that it replaces."""
        done = {"tmp": None, "processing": False, "state": READY, "error": None}
        return self.mount.values(stored=stored, **done), self.stored_files

    def recreated(self, old: StoredFile, new: StoredFile) -> Values:
        """The column values after a stored file got new versions."""
        return self.mount.values(stored=new)

    def failed(self, cached: CachedFile, failure: UploadFailure, *, give_up: bool) -> Values:
        """The column values after an upload failed.

        Parameters:
          give_up: whether no retry can help, so that the row stops waiting for the upload.
        """
        values: Values = {"processing": False, "state": FAILED, "error": failure}
        return self.mount.values(**values | ({"tmp": None} if give_up else {}))
