"""Mounting a list: an uploader on a column with any number of files.

`photos = mount_uploaders(PhotoUploader)` is the column, and `album.photos` a list of uploaders.
Each file waits, is stored and fails by itself, and has a job of its own.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from gifster.uploads.attached import attached
from gifster.uploads.cache import CachedFile, dumps
from gifster.uploads.fields import UploadFailure
from gifster.uploads.mount import Mount, RemoveFlag
from gifster.uploads.stored import StoredFile
from gifster.uploads.uploader import Uploader

U = TypeVar("U", bound=Uploader)


class UploaderList(Sequence[U]):
    """The files of a list-valued column, in their order; those that a worker has not stored yet
    are among them, and false.

    Changes take effect when the record is saved. What others have added meanwhile stays, at the
    end.
    """

    def __init__(self, record: Any, mount: "MountList[U]") -> None:
        self.record, self.mount = record, mount
        self._uploaders: list[U] = []
        #: The keys of what was there when the record was loaded.
        self.known: set[str] = set()
        #: Whether what was there besides goes, too.
        self.knows_all = False
        self.changed = False
        self._read()

    def _read(self) -> None:
        """Have the files that the record has."""
        items: list[CachedFile | StoredFile]
        items = [*self.mount.stored_files(self.record), *self.mount.pending(self.record)]
        items.sort(key=lambda item: item.position)
        self._uploaders = [self.mount.uploader(self.record, self.mount, item) for item in items]
        self.known = {item.key for item in items}
        self.changed = self.knows_all = False

    # What saving does to it.

    def decided(self) -> tuple[list[U], set[str], bool]:
        """What there is to do."""
        return list(self._uploaders), set(self.known), self.changed

    def taken(self, keys: set[str]) -> None:
        """A save has done what there was to do: it saved the assigned files of these keys. What
        another thread has added meanwhile is still to be done."""
        newer = [u for u in self._uploaders if u.assigned and u.assigned.key not in keys]
        self._read()
        self._uploaders += newer
        self.changed = bool(newer)

    def restore(self, decided: tuple[list[U], set[str], bool]) -> None:
        """A save was rolled back: what it did is to be done again, and what was added since."""
        newer = [u for u in self._uploaders if u.assigned and u not in decided[0]]
        before, self.known, _ = decided
        self._uploaders = [*before, *newer]
        self.changed = True

    def copy(self, record: Any) -> "UploaderList[U]":
        """The same for a copy of the record."""
        copied = UploaderList(record, self.mount)
        copied._uploaders = []
        for one in self._uploaders:
            uploader = self.mount.uploader(record, self.mount, one.item)
            uploader.slot = one.slot.copy()
            copied._uploaders.append(uploader)
        copied.known, copied.changed = set(self.known), self.changed
        return copied

    def take_copies(self, *, creating: bool) -> None:
        """Have files of their own for what another record has; see `Mount.prepare`."""
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
        """Add a file at the end; see `Uploader.assign`."""
        return self._add(lambda uploader: uploader.assign(source, filename))

    def append_remote(self, url: str) -> U:
        """Fetch a file by its URL and add it; see `Uploader.assign_remote`."""
        return self._add(lambda uploader: uploader.assign_remote(url))

    def append_cache_id(self, text: str) -> U:
        """Add the file that a cache id stands for; see `Uploader.assign_cache_id`."""
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
        """Let one of the files go."""
        self._uploaders.remove(uploader)
        self.changed = True

    def clear(self) -> None:
        """Let all files go."""
        self._uploaders.clear()
        self.changed = True

    def replace(self, files: Iterable[Any]) -> None:
        """Have these files, in this order: uploaders of this list, and sources of new files."""
        files = list(files)  # it may be read from this very list
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


class MountList(Mount[U]):
    """The column of a list-valued mount. Made by `mount_uploaders()`."""

    many = True

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: Any) -> "MountList[U]": ...
        @overload
        def __get__(self, instance: object, owner: Any) -> UploaderList[U]: ...
        def __get__(
            self, instance: object | None, owner: Any
        ) -> "MountList[U] | UploaderList[U]": ...

    def _add_attributes(self, model: Any) -> None:
        setattr(model, f"remove_{self.name}", RemoveFlag(self))

    def db_value(self, value: Any) -> str | None:
        if isinstance(value, UploaderList) and not value.changed:
            value = self.stored_files(value.record)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, StoredFile) for item in value):
            raise self.past_the_uploader()
        return dumps([stored.dump() for stored in value]) if value else None

    def python_value(self, value: str | None) -> list[StoredFile]:  # type: ignore[override]
        loaded = [] if value is None else json.loads(value)
        return [StoredFile.load(item).from_row() for item in loaded]

    def of(self, record: Any) -> UploaderList[U]:
        lists = attached(record).lists
        if self.name not in lists:
            lists.setdefault(self.name, UploaderList(record, self))
        files: UploaderList[U] = lists[self.name]
        return files

    def set(self, record: Any, value: Any) -> None:
        files = list(value or []) if not isinstance(value, UploaderList) else value
        first = self.name not in record.__data__
        if first and all(isinstance(file, StoredFile) and file.is_from_row() for file in files):
            record.__data__[self.name] = files
            record._dirty.add(self.name)  # see `Mount.set`
        elif files is not attached(record).lists.get(self.name):
            self.of(record).replace(files)

    def has_files(self, record: Any) -> bool:
        return bool(self.of(record).changed or len(self.of(record)))

    def prepare(self, record: Any, *, creating: bool) -> None:
        files = self.of(record)
        if not creating and not files.changed and self._is_set_unloaded(record):
            files.clear()
            files.extend(self.stored_files(record))
            files.knows_all = True
        if files.changed or creating:
            files.take_copies(creating=creating)

    def uploader_of(self, record: Any, item: CachedFile | StoredFile) -> U:
        return self.uploader(record, self, item)

    def pending(self, record: Any) -> list[CachedFile]:
        return list(record.__data__.get(f"{self.name}_tmp") or [])

    def stored_files(self, record: Any) -> list[StoredFile]:
        return list(record.__data__.get(self.name) or [])

    def working_values(self) -> dict[str, Any]:
        # The error may be another file's.
        return self.values(processing=True, state="processing")

    def stored_values(
        self, row: Any, cached: CachedFile, stored: StoredFile
    ) -> tuple[dict[str, Any], list[StoredFile]]:
        files = [*self.stored_files(row), replace(stored, position=cached.position)]
        left = [item for item in self.pending(row) if item.key != cached.key]
        failed = row.__data__.get(f"{self.name}_error") is not None
        values = {
            "stored": sorted(files, key=lambda item: item.position),
            "tmp": left,
            "processing": bool(left),
            "state": "queued" if left else "failed" if failed else "ready",
        }
        return self.values(**values), []

    def replaced_values(self, row: Any, old: StoredFile, new: StoredFile) -> dict[str, Any]:
        files = [new if item.key == old.key else item for item in self.stored_files(row)]
        return self.values(stored=files)

    def failed_values(
        self, row: Any, cached: CachedFile, failure: UploadFailure, give_up: bool
    ) -> dict[str, Any]:
        left = [item for item in self.pending(row) if item.key != cached.key or not give_up]
        waiting = [item for item in left if item.key != cached.key]
        values = {
            "tmp": left,
            "processing": bool(waiting),
            "state": "queued" if waiting else "failed",
            "error": failure,
        }
        return self.values(**values)


def mount_uploaders(uploader: type[U], **options: Any) -> MountList[U]:
    """A column with any number of files (CarrierWave's `mount_uploaders :photos, …`).

    Parameters:
      uploader: the uploader class, of each file.
      options: as for any Peewee field.
    """
    return MountList(uploader, **options)
