"""The attacher of a list-valued column.

Each file has a job of its own, so it waits, is stored and fails independently of the others.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from gifster.uploads.attaching.attacher import Attacher, Values
from gifster.uploads.attaching.incoming import Incoming
from gifster.uploads.attaching.uploader_list import UploaderList
from gifster.uploads.columns.fields import UploadFailure
from gifster.uploads.columns.record import uploads_of
from gifster.uploads.columns.states import FAILED, PROCESSING, QUEUED, READY
from gifster.uploads.errors import ValueInvalid
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.form_values import is_blank, is_list
from gifster.uploads.uploader import Uploader

U = TypeVar("U", bound=Uploader)


class ListAttacher(Attacher[U]):
    """A list-valued mounted column of one record."""

    @property
    def files(self) -> UploaderList[U]:
        """The list of uploaders; the same object for as long as the record lives."""
        lists = uploads_of(self.record).lists
        if self.mount.name not in lists:
            lists.setdefault(self.mount.name, UploaderList(self.record, self.mount))
        files: UploaderList[U] = lists[self.mount.name]
        return files

    @property
    def value(self) -> UploaderList[U]:
        return self.files

    def uploader_of(self, item: CachedFile | StoredFile) -> U:
        return self.mount.uploader(self.record, self.mount, item)

    def set(self, value: Any) -> None:
        if is_blank(value):
            return  # as in CarrierWave; `[]` detaches all files
        record, name = self.record, self.mount.name
        if not is_list(value):
            raise ValueInvalid(
                f"{name} has a list of files, not an object of type {type(value).__name__}: "
                "assign a list, even of one file"
            )
        files = value if isinstance(value, UploaderList) else list(value)
        first = name not in record.__data__
        if first and all(isinstance(file, StoredFile) and file.is_from_row() for file in files):
            record.__data__[name] = files
            record._dirty.add(name)  # see `SingleAttacher.set`
        elif files is not uploads_of(record).lists.get(name):
            self.files.replace(files)

    def remove(self) -> None:
        self.files.remove_all()

    def keep(self) -> None:
        self.files.keep_all()

    def decisions(self) -> Any:
        return self.files.decisions()

    def forget(self, decided: Any, arrived: Iterable[Incoming]) -> None:
        self.files.forget({incoming.assigned.key for incoming in arrived})

    def restore(self, decided: Any) -> None:
        self.files.restore(decided)

    def prepare(self, *, creating: bool) -> None:
        files = self.files
        if not creating and not files.changed and self.is_set_unloaded():
            files.clear()
            files.extend(self.stored_files)
            files.replaces_all = True
        if files.changed or creating:
            files.copy_shared_files(creating=creating)

    def arriving(self) -> list[Incoming]:
        each = [(uploader, uploader.assigned) for uploader in self.files]
        return [Incoming(uploader, found) for uploader, found in each if found is not None]

    def write(self, before: Values | None, arriving: list[Incoming]) -> None:
        stored: list[StoredFile] = list((before or {}).get(self.mount.name) or [])
        pending: list[CachedFile] = list((before or {}).get(f"{self.mount.name}_tmp") or [])
        files = self.files
        order = {_key(uploader): place for place, uploader in enumerate(files)}

        def keeps(item: CachedFile | StoredFile) -> bool:
            names = {item.key, getattr(item, "source", item.key)}
            known = files.replaces_all or bool(names & files.known)
            return not known or bool(names & set(order))

        def placed(item: Any) -> Any:
            source = getattr(item, "source", item.key)
            return replace(item, position=order.get(item.key, order.get(source, len(order))))

        self.detach([item for item in stored if not keeps(item)])
        self.drop([item for item in pending if not keeps(item)], before or {})
        waiting = [placed(item) for item in pending if keeps(item)]
        for incoming in arriving:
            incoming.cached = replace(incoming.cached, position=order[incoming.assigned.key])
            if incoming.deferred:
                waiting.append(incoming.cached)
        kept = sorted((placed(item) for item in stored if keeps(item)), key=_position)
        unfinished = bool(waiting) or any(item.unprocessed for item in kept)
        state = QUEUED if unfinished else READY if kept or arriving else None
        self.put(stored=kept, tmp=waiting, processing=unfinished, state=state, error=None)

    def add(self, stored: StoredFile, *, later: bool) -> None:
        self.put(stored=sorted([*self.stored_files, stored], key=_position))
        if later:
            self.put(processing=True, state=QUEUED)

    def may_be_dead(self, row: Values) -> bool:
        # The row has one state for all its files: a later save or file may have overwritten that
        # of a file whose job is dead. A job too many does no harm.
        return True

    def stored_now(self, uploader: U) -> StoredFile | None:
        of = uploader.identifier  # of a cached file, too
        return next((stored for stored in self.stored_files if stored.identifier == of), None)

    def working(self) -> Values:
        # This leaves the error alone: it may be another file's.
        return self.mount.values(processing=True, state=PROCESSING)

    def promoted(self, cached: CachedFile, stored: StoredFile) -> tuple[Values, list[StoredFile]]:
        files = [*self.stored_files, replace(stored, position=cached.position)]
        left = [item for item in self.pending if item.key != cached.key]
        failed = self.record.__data__.get(f"{self.mount.name}_error") is not None
        values = {
            "stored": sorted(files, key=_position),
            "tmp": left,
            "processing": bool(left),
            "state": QUEUED if left else FAILED if failed else READY,
        }
        return self.mount.values(**values), []

    def processed(self, *, first: bool, others_wait: bool) -> Values:
        # Another file may have failed before, and the error is its.
        failed = first and self.record.__data__.get(f"{self.mount.name}_error")
        done = FAILED if failed else READY
        state = PROCESSING if others_wait else done
        return self.mount.values(processing=others_wait, state=state)

    def recreated(self, old: StoredFile, new: StoredFile) -> Values:
        files = [new if item.key == old.key else item for item in self.stored_files]
        return self.mount.values(stored=files)

    def failed(self, cached: CachedFile, failure: UploadFailure, *, give_up: bool) -> Values:
        left = [item for item in self.pending if item.key != cached.key or not give_up]
        waiting = [item for item in left if item.key != cached.key]
        values = {
            "tmp": left,
            "processing": bool(waiting),
            "state": QUEUED if waiting else FAILED,
            "error": failure,
        }
        return self.mount.values(**values)


def _key(uploader: Uploader) -> str:
    item = uploader.assigned or uploader.item
    return item.key if item is not None else ""


def _position(item: CachedFile | StoredFile) -> int:
    return item.position
