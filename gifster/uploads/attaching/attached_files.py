"""The files that a record has in a list-valued column: to show them, and to save them.

`UploaderList` inherits from it, and adds what changes the list.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Generic, Self, TypeVar, overload

from gifster.uploads.attaching.incoming import own
from gifster.uploads.columns.column import UploadColumn
from gifster.uploads.columns.record import Slot
from gifster.uploads.columns.rows import Record
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.uploader import Uploader

T = TypeVar("T")
U = TypeVar("U", bound=Uploader)


class AttachedFiles(Sequence[U]):
    """The files of a record in a list-valued column, each as an uploader."""

    def __init__(self, record: Record, mount: UploadColumn[U]) -> None:
        self.record, self.mount = record, mount
        self._uploaders: list[U] = []
        #: The keys of the files that the row had when the record was loaded.
        self.known: set[str] = set()
        #: Whether the save also detaches files that are not `known`.
        self.replaces_all = False
        #: The URLs that were assigned last, for a form that is shown again.
        self.remote_urls: list[str] | None = None
        #: The headers of their requests, for all URLs or for each.
        self.request_headers: Mapping[str, str] | Sequence[Mapping[str, str]] = {}
        self._changed = False
        #: The files before all were to be detached, in case that is cancelled.
        self._removed: State[U] | None = None
        self._read()

    def __repr__(self) -> str:
        owner = f"{type(self.record).__name__} {self.record._pk!r}"
        files = f"{len(self)} file{'' if len(self) == 1 else 's'}"
        return f"<{type(self).__name__} of {owner}.{self.mount.name}: {files}>"

    def _read(self) -> None:
        """Start again from the files in the record's columns."""
        items: list[CachedFile | StoredFile]
        items = [*self.mount.stored_files(self.record), *self.mount.pending(self.record)]
        items.sort(key=lambda item: item.position)
        present = {uploader.identifier: uploader for uploader in self._uploaders}
        self._uploaders = [self._uploader_of(item, present) for item in items]
        self.known = {item.key for item in items}
        self._changed = self.replaces_all = False
        self.remote_urls = self._removed = None

    def _uploader_of(self, item: CachedFile | StoredFile, present: Mapping[str | None, U]) -> U:
        """The uploader of a file in the record's columns: the one that it has had before, if any,
        because the caller may hold it."""
        uploader = present.get(item.identifier)
        if uploader is None:
            return self.mount.uploader(self.record, self.mount, item)
        uploader.item, uploader.slot = item, Slot()
        return uploader

    @property
    def changed(self) -> bool:
        """Whether the next save has to change this column."""
        return self._changed or any(one.assigned is not None for one in self._uploaders)

    @property
    def removing(self) -> bool:
        """Whether the next save detaches all files that the list had."""
        return self._removed is not None

    def _change(self, uploaders: list[U]) -> None:
        self._uploaders, self._changed = uploaders, True
        self.record._dirty.add(self.mount.name)

    # What saving does to it.

    def decisions(self) -> "Decisions[U]":
        """What the next save has to do; a snapshot for `restore()`."""
        uploaders = [(one, one.item, one.slot) for one in self._uploaders]
        return uploaders, set(self.known), self.changed

    def forget(self, keys: set[str]) -> None:
        """Clear what a save has carried out, and keep what another thread has added since; `keys`
        are those of the cached files that were saved."""
        newer = [u for u in self._uploaders if u.assigned and u.assigned.key not in keys]
        self._uploaders = [u for u in self._uploaders if u not in newer]
        self._read()
        self._uploaders += newer

    def restore(self, decided: "Decisions[U]") -> None:
        """After a rollback, leave to the next save what this one had to do, and newer files."""
        snapshot, self.known, _ = decided
        before = [uploader for uploader, _, _ in snapshot]
        newer = [u for u in self._uploaders if u.assigned and u not in before]
        for uploader, item, slot in snapshot:
            uploader.item = item
            if uploader.assigned is None:
                uploader.slot = slot
        self._change([*before, *newer])

    def copy(self, record: Record) -> Self:
        """The same list for a copy of the record."""
        found = copy(self)
        found.record, found.known = record, set(self.known)
        found._uploaders = [self._copy_of(one, record) for one in self._uploaders]
        if self._removed is not None:
            found._removed = copy(self._removed)
            found._removed._files = found
            found._removed.uploaders = [
                self._copy_of(one, record) for one in self._removed.uploaders
            ]
        return found

    def _copy_of(self, one: U, record: Record) -> U:
        uploader = self.mount.uploader(record, self.mount, one.item)
        uploader.slot = one.slot.copy()
        return uploader

    def copy_shared_files(self, *, creating: bool) -> None:
        """Copy the files that another record holds (see `Attacher.prepare()`)."""
        for uploader in self._uploaders:
            if uploader.assigned is not None:
                own(uploader)
            elif creating and uploader.item is not None:
                uploader.assign(uploader.item)
                uploader.item, self._changed = None, True
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

    def __add__(self, files: Iterable[T]) -> list[U | T]:
        """These files and others, for `album.photos += [file]`."""
        return [*self._uploaders, *files]

    # To show it.

    def urls(self, version: str | None = None, expires_s: int | None = None) -> list[str | None]:
        """The URLs of all files, or of a version of each; see `Uploader.url()`."""
        return [uploader.url(version, expires_s) for uploader in self._uploaders]

    def as_json(self) -> list[dict[str, Any]]:
        """What others may know of the files, for JSON; see `Uploader.as_json()`."""
        return [uploader.as_json() for uploader in self._uploaders]

    @property
    def identifiers(self) -> list[str]:
        """The identifiers of the files, in their order (CarrierWave's `photos_identifiers`). Every
        file of a list has one; an uploader by itself may have no file, so its `identifier` may be
        None."""
        return [one.file.identifier for one in self._uploaders if one.file is not None]

    @property
    def cache_ids(self) -> str | None:
        """The list with its new files, for a hidden field when a form is shown again: a JSON list
        of cache ids, and of the identifiers of the files that stay. None without a new file."""
        if all(one.assigned is None for one in self._uploaders):
            return None
        return json.dumps([one.cache_id or one.identifier for one in self._uploaders])


#: The uploaders of a list, each with its file and what was to be done to it; the keys that were
#: known, and whether there was anything to do.
Decisions = tuple[list[tuple[U, CachedFile | StoredFile | None, Slot]], set[str], bool]


class State(Generic[U]):
    """A list as it is now, to be restored later."""

    def __init__(self, files: AttachedFiles[U]) -> None:
        self._files, self.uploaders = files, files._uploaders
        self._changed = files._changed
        self._dirty = files.mount.name in files.record._dirty

    def restore(self) -> None:
        """Let the list be as it was."""
        self._files._uploaders, self._files._changed = self.uploaders, self._changed
        if not self._dirty:
            self._files.record._dirty.discard(self._files.mount.name)
