"""The attacher of a column with one file."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from gifster.uploads.attaching.attacher import Attacher, Values
from gifster.uploads.attaching.incoming import Incoming, own
from gifster.uploads.attaching.storing import MIXED
from gifster.uploads.columns.fields import UploadFailure
from gifster.uploads.columns.record import Slot, clear_slot, uploads_of
from gifster.uploads.columns.states import FAILED, PROCESSING, QUEUED, READY
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.uploader import Uploader

U = TypeVar("U", bound=Uploader)


class SingleAttacher(Attacher[U]):
    """A mounted column of one record, with one file. The present file stays until a new one is
    stored."""

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

    @property
    def value(self) -> U:
        return self.uploader

    def uploader_of(self, item: CachedFile | StoredFile) -> U:
        return self.uploader

    @property
    def _slot(self) -> Slot:
        return uploads_of(self.record).slot(self.mount.name)

    def set(self, value: Any) -> None:
        record, name = self.record, self.mount.name
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
        self.uploader.remove()

    def keep(self) -> None:
        self.uploader.keep()

    def decisions(self) -> Any:
        return self._slot.assigned, self._slot.removing

    def forget(self, decided: Any, arrived: Iterable[Incoming]) -> None:
        slot, (assigned, removing) = self._slot, decided
        if slot.assigned is assigned:
            slot.assigned = slot.remote_url = None
        if removing:
            slot.removing, slot.set_aside = False, None

    def restore(self, decided: Any) -> None:
        slot = self._slot
        if slot.assigned is None and not slot.removing:
            slot.assigned, slot.removing = decided
            self.record._dirty.add(self.mount.name)

    def prepare(self, *, creating: bool) -> None:
        uploader = self.uploader
        if not creating and not uploader.changed and self.is_set_unloaded():
            stored = self.stored_files
            uploader.assign(stored[0]) if stored else uploader.remove()
        if uploader.assigned is not None:
            own(uploader)
        elif creating and not uploader.removing:
            for item in (self.pending or self.stored_files)[:1]:
                uploader.assign(item)

    def arriving(self) -> list[Incoming]:
        assigned = self.uploader.assigned
        return [] if assigned is None else [Incoming(self.uploader, assigned)]

    def write(self, before: Values | None, arriving: list[Incoming]) -> None:
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
        self.put(stored=stored, processing=later, state=QUEUED if later else READY)

    def _drop_pending(self, row: Values) -> CachedFile | None:
        """`drop()` the upload that a row waits for, given its columns, and return it."""
        tmp = self.mount.companion("tmp")
        pending: CachedFile | None = None if tmp is None else row.get(tmp.name)
        if pending is not None:
            self.drop([pending], row)
        return pending

    def may_be_dead(self, row: Values) -> bool:
        if self.mount.companion("state") is not None:
            return bool(row.get(f"{self.mount.name}_state") == FAILED)
        return not row.get(f"{self.mount.name}_processing")

    def stored_now(self, uploader: U) -> StoredFile | None:
        return next(iter(self.stored_files), None)

    def working(self) -> Values:
        return self.mount.values(processing=True, state=PROCESSING, error=None)

    def promoted(self, cached: CachedFile, stored: StoredFile) -> tuple[Values, list[StoredFile]]:
        done = {"tmp": None, "processing": False, "state": READY, "error": None}
        return self.mount.values(stored=stored, **done), self.stored_files

    def processed(self, *, first: bool, others_wait: bool) -> Values:
        return self.mount.values(processing=False, state=READY, error=None)

    def recreated(self, old: StoredFile, new: StoredFile) -> Values:
        return self.mount.values(stored=new)

    def failed(self, cached: CachedFile, failure: UploadFailure, *, give_up: bool) -> Values:
        values: Values = {"processing": False, "state": FAILED, "error": failure}
        return self.mount.values(**values | ({"tmp": None} if give_up else {}))
