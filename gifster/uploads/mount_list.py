"""Mounting a list: an uploader on a column with any number of files.

`photos = mount_uploaders(PhotoUploader)` is the column, and `album.photos` a list of uploaders.
Each file waits, is stored and fails by itself, and has a job of its own.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

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
        items: list[CachedFile | StoredFile]
        items = [*mount.stored_files(record), *mount.pending(record)]
        items.sort(key=lambda item: item.position)
        self._uploaders = [mount.uploader(record, mount, item) for item in items]
        #: The keys of what was there when the record was loaded.
        self.known = {item.key for item in items}
        self.changed = False

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
                if isinstance(file, Uploader) and file in before:
                    self._uploaders.append(file)
                else:
                    self.append(file)
        except BaseException:
            for uploader in self._uploaders:
                if uploader.assigned is not None and uploader not in before:
                    uploader.assigned.delete()
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

    def db_value(self, value: list[StoredFile] | None) -> str | None:  # type: ignore[override]
        return dumps([stored.dump() for stored in value]) if value else None

    def python_value(self, value: str | None) -> list[StoredFile]:  # type: ignore[override]
        return [] if value is None else [StoredFile.load(item) for item in json.loads(value)]

    def _new(self, record: Any) -> UploaderList[U]:
        return UploaderList(record, self)

    def set(self, record: Any, value: Any) -> None:
        loaded = value is None or (
            isinstance(value, list) and all(isinstance(item, StoredFile) for item in value)
        )
        if loaded and not (value in (None, []) and self.name in record.__data__):
            record.__data__[self.name] = value or []
        else:
            self.of(record).replace(value or [])

    def reset(self, record: Any) -> None:
        record.__dict__.get("_mounted", {}).pop(self.name, None)

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
