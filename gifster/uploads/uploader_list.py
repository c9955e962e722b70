"""Several files in one column: the list of uploaders that `album.photos` is, and its attacher.

Each file has a job of its own, so it waits, is stored and fails independently of the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar, overload

from gifster.uploads.attacher import Attacher, Values
from gifster.uploads.cache import CachedFile
from gifster.uploads.column import UploadColumn
from gifster.uploads.fields import UploadFailure
from gifster.uploads.incoming import Incoming
from gifster.uploads.record import uploads_of
from gifster.uploads.rows import Record
from gifster.uploads.stored import StoredFile
from gifster.uploads.uploader import Uploader

U = TypeVar("U", bound=Uploader)


class UploaderList(Sequence[U]):
    """The files of a list-valued column, in order.

    The list includes files that a worker has yet to store; these uploaders are false. Changes take
    effect with the next save. Files that others have added since the record was loaded stay, at the
    end.
    """

    def __init__(self, record: Record, mount: UploadColumn[U]) -> None:
        self.record, self.mount = record, mount
        self._uploaders: list[U] = []
        #: The keys of the files that the row had when the record was loaded.
        self.known: set[str] = set()
        #: Whether the save also detaches files that are not `known`.
        self.replaces_all = False
        self.changed = False
        self._read()

    def _read(self) -> None:
        """Start again from the files in the record's columns."""
        items: list[CachedFile | StoredFile]
        items = [*self.mount.stored_files(self.record), *self.mount.pending(self.record)]
        items.sort(key=lambda item: item.position)
        self._uploaders = [self.mount.uploader(self.record, self.mount, item) for item in items]
        self.known = {item.key for item in items}
        self.changed = self.replaces_all = False

    # What saving does to it.

    def decisions(self) -> tuple[list[U], set[str], bool]:
        """What the next save has to do; a snapshot for `restore()`."""
        return list(self._uploaders), set(self.known), self.changed

    def forget(self, keys: set[str]) -> None:
        """Clear what a save has carried out, and keep what another thread has added since; `keys`
        are those of the cached files that were saved."""
        newer = [u for u in self._uploaders if u.assigned and u.assigned.key not in keys]
        self._read()
        self._uploaders += newer
        self.changed = bool(newer)

    def restore(self, decided: tuple[list[U], set[str], bool]) -> None:
        """After a rollback, leave to the next save what this one had to do, and newer files."""
        newer = [u for u in self._uploaders if u.assigned and u not in decided[0]]
        before, self.known, _ = decided
        self._uploaders = [*before, *newer]
        self.changed = True

    def copy(self, record: Record) -> "UploaderList[U]":
        """The same list for a copy of the record."""
        copied = UploaderList(record, self.mount)
        copied._uploaders = []
        for one in self._uploaders:
            uploader = self.mount.uploader(record, self.mount, one.item)
            uploader.slot = one.slot.copy()
            copied._uploaders.append(uploader)
        copied.known, copied.changed = set(self.known), self.changed
        return copied

    def copy_shared_files(self, *, creating: bool) -> None:
        """Copy the files that another record holds (see `Attacher.prepare()`)."""
        for uploader in self._uploaders:
            assigned = uploader.assigned
            if assigned is not None:
                if not assigned.claim(uploader.slot):
                    uploader.assign(assigned)
            elif creating and uploader.item is not None:
                uploader.assign(uploader.item)
                uploader.item, self.changed = None, True
        if creating:
            self.known = set()

    @overload
    def __getitem__(self, index: int) -> U: ...
    @overload
    def __getitem__(self, index: slice) -> list[U]: ...
    def __getitem__(self, index: int | slice) -> U | list[U]:
        return self._uploaders[index]

    def __len__(self) -> int:
        return len(self._uploaders)

    def __iter__(self) -> Iterator[U]:
        return iter(list(self._uploaders))

    def append(self, source: Any, filename: str = "") -> U:
        """Add a file at the end (see `Uploader.assign()`); returns its uploader."""
        return self._add(lambda uploader: uploader.assign(source, filename))

    def append_remote(self, url: str) -> U:
        """Fetch a file by its URL, and add it (see `Uploader.assign_remote()`)."""
        return self._add(lambda uploader: uploader.assign_remote(url))

    def append_cache_id(self, text: str) -> U:
        """Retrieve a cached file by its cache id, and add it (see `Uploader.assign_cache_id()`)."""
        return self._add(lambda uploader: uploader.assign_cache_id(text))

    def _add(self, assign: Any) -> U:
        uploader = self.mount.uploader(self.record, self.mount)
        assign(uploader)
        self._uploaders.append(uploader)
        self.changed = True
        return uploader

    def extend(self, sources: Iterable[Any]) -> None:
        """Add files at the end."""
        for source in sources:
            self.append(source)

    def remove(self, uploader: U) -> None:
        """Detach one of the files with the next save."""
        self._uploaders.remove(uploader)
        self.changed = True

    def clear(self) -> None:
        """Detach all files with the next save."""
        self._uploaders.clear()
        self.changed = True

    def replace(self, files: Iterable[Any]) -> None:
        """Replace the list with these files, in this order: uploaders of this list to keep, and
        sources of new files (see `Uploader.assign()`). If one is refused, the list stays as it was.
        """
        files = list(files)  # It may be an iterator over this very list.
        before, self._uploaders = self._uploaders, []
        try:
            for file in files:
                same = [one for one in before if one is file or (file and one.item == file)]
                if same:
                    self._uploaders.append(same[0])
                else:
                    self.append(file)
        except BaseException:
            for uploader in self._uploaders:
                if uploader.assigned is not None and uploader not in before:
                    uploader.assigned.discard()
            self._uploaders = before
            raise
        self.changed = True


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

    @property
    def removing(self) -> bool:
        return False

    def uploader_of(self, item: CachedFile | StoredFile) -> U:
        return self.mount.uploader(self.record, self.mount, item)

    @property
    def has_files(self) -> bool:
        return bool(self.files.changed or len(self.files))

    def set(self, value: Any) -> None:
        record, name = self.record, self.mount.name
        files = list(value or []) if not isinstance(value, UploaderList) else value
        first = name not in record.__data__
        if first and all(isinstance(file, StoredFile) and file.is_from_row() for file in files):
            record.__data__[name] = files
            record._dirty.add(name)  # see `Attacher.set`
        elif files is not uploads_of(record).lists.get(name):
            self.files.replace(files)

    def remove(self) -> None:
        self.files.clear()

    def decisions(self) -> Any:
        return self.files.decisions()

    def forget(self, decided: Any, arrived: Iterable[Incoming]) -> None:
        self.files.forget({incoming.assigned.key for incoming in arrived})

    def restore(self, decided: Any) -> None:
        self.files.restore(decided)
        self.record._dirty.add(self.mount.name)

    def prepare(self, *, creating: bool) -> None:
        files = self.files
        if not creating and not files.changed and self.is_set_unloaded():
            files.clear()
            files.extend(self.stored_files)
            files.replaces_all = True
        if files.changed or creating:
            files.copy_shared_files(creating=creating)

    def arriving(self) -> list[Incoming]:
        return [
            Incoming(uploader, uploader.assigned)
            for uploader in self.files
            if uploader.assigned is not None
        ]

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
        waiting = [placed(item) for item in pending if keeps(item)]
        for incoming in arriving:
            incoming.cached = replace(incoming.cached, position=order[incoming.cached.key])
            if incoming.deferred:
                waiting.append(incoming.cached)
        kept = sorted((placed(item) for item in stored if keeps(item)), key=_position)
        unfinished = bool(waiting) or any(item.unprocessed for item in kept)
        state = "queued" if unfinished else "ready" if kept or arriving else None
        self.put(stored=kept, tmp=waiting, processing=unfinished, state=state, error=None)

    def add(self, stored: StoredFile, *, later: bool) -> None:
        self.put(stored=sorted([*self.stored_files, stored], key=_position))
        if later:
            self.put(processing=True, state="queued")

    def working(self) -> Values:
        # This leaves the error alone: it may be another file's.
        return self.mount.values(processing=True, state="processing")

    def promoted(self, cached: CachedFile, stored: StoredFile) -> tuple[Values, list[StoredFile]]:
        files = [*self.stored_files, replace(stored, position=cached.position)]
        left = [item for item in self.pending if item.key != cached.key]
        failed = self.record.__data__.get(f"{self.mount.name}_error") is not None
        values = {
            "stored": sorted(files, key=_position),
            "tmp": left,
            "processing": bool(left),
            "state": "queued" if left else "failed" if failed else "ready",
        }
        return self.mount.values(**values), []

    def recreated(self, old: StoredFile, new: StoredFile) -> Values:
        files = [new if item.key == old.key else item for item in self.stored_files]
        return self.mount.values(stored=files)

    def failed(self, cached: CachedFile, failure: UploadFailure, *, give_up: bool) -> Values:
        left = [item for item in self.pending if item.key != cached.key or not give_up]
        waiting = [item for item in left if item.key != cached.key]
        values = {
            "tmp": left,
            "processing": bool(waiting),
            "state": "queued" if waiting else "failed",
            "error": failure,
        }
        return self.mount.values(**values)


def _key(uploader: Uploader) -> str:
    item = uploader.assigned or uploader.item
    return item.key if item is not None else ""


def _position(item: CachedFile | StoredFile) -> int:
    return item.position
