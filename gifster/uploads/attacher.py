"""An attacher: what happens to one mounted column of one record.

    attacher = Person.avatar.attacher(person)
    attacher.set(open("me.gif", "rb"))      # what `person.avatar = …` does
    attacher.uploader                       # what `person.avatar` is
    attacher.prepare(creating=False)        # `person.save()` begins …
    attacher.write(before, arriving)        # … and writes the row, in a transaction
    attacher.promoted(cached, stored)       # what a worker writes when it has stored the upload

The uploader has the rules, and the column its place in the table; an attacher keeps nothing of its
own, and is made whenever one is needed. `uploader_list.py` has the one for several files.
"""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from gifster.uploads import bulk
from gifster.uploads.background import enqueue_removal
from gifster.uploads.cache import CachedFile
from gifster.uploads.column import UploadColumn
from gifster.uploads.fields import UploadFailure
from gifster.uploads.incoming import Incoming
from gifster.uploads.record import clear_slot, uploads_of
from gifster.uploads.rows import Record, primary_key
from gifster.uploads.stored import Files, StoredFile
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
        """The uploader of the column, which is the same one as long as somebody holds it."""
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
        """The uploads that wait to be stored."""
        return self.mount.pending(self.record)

    @property
    def stored_files(self) -> list[StoredFile]:
        """The files that are stored."""
        return self.mount.stored_files(self.record)

    @property
    def changed(self) -> bool:
        """Whether saving the record has something to do here."""
        return bool(self.value.changed)

    @property
    def removing(self) -> bool:
        """Whether the file goes when the record is saved."""
        return self.uploader.removing

    @property
    def has_files(self) -> bool:
        """Whether the record has a file here: assigned, waiting or stored."""
        return self.changed or bool(self.pending or self.stored_files)

    # What is decided, and takes effect with the next save.

    def set(self, value: Any) -> None:
        """What `record.<column> = value` does."""
        record, name = self.record, self.mount.name
        # Peewee sets what it has loaded the same way: a StoredFile, or None; but only once.
        first = name not in record.__data__
        if isinstance(value, Uploader) and value.record is record and value.mount is self.mount:
            return  # it is itself
        if first and isinstance(value, StoredFile) and value.is_from_row():
            record.__data__[name] = value
            # Peewee clears this when it has loaded a row: what stays was said by somebody.
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
        """Have no file: what `record.remove_<column> = True` does."""
        self.uploader.remove()

    def decisions(self) -> Any:
        """What there is to do, for `forget()` and `restore()`."""
        slot = uploads_of(self.record).slot(self.mount.name)
        return slot.assigned, slot.removing

    def forget(self, decided: Any, arrived: Iterable[Incoming]) -> None:
        """A save has done what was decided. What another thread has decided meanwhile stays."""
        slot, (assigned, removing) = uploads_of(self.record).slot(self.mount.name), decided
        if slot.assigned is assigned:
            slot.assigned = None
        if removing:
            slot.removing = False

    def restore(self, decided: Any) -> None:
        """A save was rolled back: what it did is to be done again, unless something newer is."""
        slot = uploads_of(self.record).slot(self.mount.name)
        if slot.assigned is None and not slot.removing:
            slot.assigned, slot.removing = decided
            self.record._dirty.add(self.mount.name)

    # Saving.

    def prepare(self, *, creating: bool) -> None:
        """Before a save: see to it that the record has files of its own, and detaches what it
        should. What was assigned to the record that this one was copied from is copied, and so is
        what a new row would share with another."""
        uploader = self.uploader
        if not creating and not uploader.changed and self.is_set_unloaded():
            stored = self.stored_files
            uploader.assign(stored[0]) if stored else uploader.remove()
        assigned = uploader.assigned
        if assigned is not None:
            if not assigned.claim(uploader.slot):
                uploader.assign(assigned)
        elif creating and not uploader.removing:
            for item in (self.pending or self.stored_files)[:1]:
                uploader.assign(item)

    def is_set_unloaded(self) -> bool:
        """Whether the column was set in a record that was loaded without it. In a record that was
        not loaded but made of a row's values (`User(**row)`), these say nothing: the row may have
        got an upload since."""
        made = primary_key(type(self.record)).name in self.record._dirty
        return self.mount.name in self.record._dirty and not made

    def arriving(self) -> list[Incoming]:
        """The uploads that the save takes."""
        assigned = self.uploader.assigned
        return [] if assigned is None else [Incoming(self.uploader, assigned)]

    def write(self, before: Values | None, arriving: list[Incoming]) -> None:
        """In the transaction, before the row is written.

        Parameters:
          before: the columns of the row as it is now; None for a new one.
        """
        stored = (before or {}).get(self.mount.name)
        if arriving and arriving[0].deferred:
            # The stored file stays until the new one is stored. A cached file of before is removed
            # by its own job, which will find that it is superseded.
            tmp = arriving[0].cached
            self.put(stored=stored, tmp=tmp, processing=True, state="queued", error=None)
        else:
            self.detach([] if stored is None else [stored])
            self.put(stored=None, tmp=None, processing=False, state=None, error=None)

    def add(self, stored: StoredFile, *, later: bool) -> None:
        """In the transaction, when a file has been stored at once.

        Parameters:
          later: whether a worker makes its versions.
        """
        self.put(stored=stored, processing=later, state="queued" if later else "ready")

    def put(self, **values: Any) -> None:
        """Give the record values for the column (`stored`) and its companions."""
        named = self.mount.values(**values)
        self.record.__data__.update(named)
        self.record._dirty.update(named)  # so that `only_save_dirty` saves them

    def columns(self) -> Values:
        """The column and its companions as the record has them."""
        return {name: self.record.__data__.get(name) for name in self.mount.columns}

    def write_columns(self) -> None:
        """Write the column and its companions, as the record has them."""
        values = self.columns()
        with bulk.saving():
            type(self.record).update(**values).where(self.record._pk_expr()).execute()
        self.record._dirty -= set(values)

    # Detaching. Both leave the removal to a worker, once the current transaction has committed.

    def detach(self, files: Iterable[StoredFile]) -> None:
        """In the transaction in which the row stops naming these stored files."""
        for stored in files:
            uploader = self.uploader_of(stored)
            uploader.before_remove(stored)
            enqueue_removal(self.record, self.mount.name, stored.files, uploader.fair_by())

    def discard(self, stored: StoredFile, files: Files) -> None:
        """In the transaction in which the row stops naming some files of one stored file."""
        group = self.uploader_of(stored).fair_by()
        enqueue_removal(self.record, self.mount.name, files, group)

    # A worker's steps. The record is the row as it is now, locked.

    def waiting(self, key: str) -> CachedFile | None:
        """The upload that waits under that key of the cache."""
        return next((cached for cached in self.pending if cached.key == key), None)

    def stored(self, key: str) -> StoredFile | None:
        """The stored file whose original has that key."""
        return next((stored for stored in self.stored_files if stored.key == key), None)

    def working(self) -> Values:
        """The columns while a worker works on an upload, which may have failed before."""
        return self.mount.values(processing=True, state="processing", error=None)

    def promoted(self, cached: CachedFile, stored: StoredFile) -> tuple[Values, list[StoredFile]]:
        """The columns after an upload was stored, and the stored files that it replaces."""
        done = {"tmp": None, "processing": False, "state": "ready", "error": None}
        return self.mount.values(stored=stored, **done), self.stored_files

    def recreated(self, old: StoredFile, new: StoredFile) -> Values:
        """The columns after other versions of a stored file were made."""
        return self.mount.values(stored=new)

    def failed(self, cached: CachedFile, failure: UploadFailure, *, give_up: bool) -> Values:
        """The columns after an upload failed.

        Parameters:
          give_up: it will not be tried again.
        """
        values: Values = {"processing": False, "state": "failed", "error": failure}
        return self.mount.values(**values | ({"tmp": None} if give_up else {}))
