"""Mounting: an uploader on a column of a Peewee model.

`image = mount_uploader(ImageUploader)` is the column, a JSON text that describes the stored file;
`gif.image` is the uploader of that record. `photos = mount_uploaders(PhotoUploader)` is a column
with several files, and `album.photos` a list of uploaders. Beside them a model may have companions,
each found by its name (`fields.py`). What `save()` does with them is in `saving.py`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import peewee

from gifster.jobs import Job
from gifster.uploads.cache import CachedFile, dumps
from gifster.uploads.fields import UploadFailure
from gifster.uploads.saving import real_database, teach_saving
from gifster.uploads.stored import StoredFile
from gifster.uploads.uploader import Uploader

if TYPE_CHECKING:
    from gifster.uploads.backgrounder import Background

U = TypeVar("U", bound=Uploader)

COMPANIONS = ("tmp", "processing", "state", "error")

_models: dict[str, Any] = {}


class _MountAccessor(peewee.FieldAccessor):
    def __get__(self, instance: Any, instance_type: Any = None) -> Any:
        return self.field if instance is None else self.field.of(instance)

    def __set__(self, instance: Any, value: Any) -> None:
        self.field.set(instance, value)


class Mount(peewee.Field, Generic[U]):
    """The column of a mounted uploader. Made by `mount_uploader()`."""

    field_type = "TEXT"
    accessor_class = _MountAccessor
    #: Whether the column has several files.
    many = False

    def __init__(self, uploader: type[U], **options: Any) -> None:
        super().__init__(**{"null": True} | options)
        self.uploader = uploader
        #: What is left to a worker; set by `store_in_background` and `process_in_background`.
        self.background: Background | None = None

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: Any) -> "Mount[U]": ...
        @overload
        def __get__(self, instance: object, owner: Any) -> U: ...
        def __get__(self, instance: object | None, owner: Any) -> "Mount[U] | U": ...
        def __set__(self, instance: object, value: Any) -> None: ...

    def bind(self, model: Any, name: str, set_attribute: bool = True) -> None:
        super().bind(model, name, set_attribute)
        if set_attribute:
            teach_saving(model)
            _models[model._meta.table_name] = model
            self._add_attributes(model)

    def _add_attributes(self, model: Any) -> None:
        setattr(model, f"remove_{self.name}", _RemoveFlag(self))
        setattr(model, f"remote_{self.name}_url", _RemoteUrl(self))
        setattr(model, f"{self.name}_cache", _CacheId(self))

    def db_value(self, value: StoredFile | None) -> str | None:
        return None if value is None else json.dumps(value.dump(), ensure_ascii=False)

    def python_value(self, value: str | None) -> StoredFile | None:
        return None if value is None else StoredFile.load(json.loads(value))

    # One record's column.

    def of(self, record: Any) -> Any:
        """The uploader of a record's column."""
        mounted: dict[str, Any] = record.__dict__.setdefault("_mounted", {})
        if self.name not in mounted:
            mounted[self.name] = self._new(record)
        return mounted[self.name]

    def _new(self, record: Any) -> Any:
        return self.uploader(record, self)

    def set(self, record: Any, value: Any) -> None:
        """What `record.<column> = value` does."""
        # Peewee sets what it has loaded the same way: a StoredFile, or None on a new object.
        if isinstance(value, StoredFile) or (
            value is None and record.__data__.get(self.name) is None
        ):
            record.__data__[self.name] = value
        elif value is None:
            self.of(record).remove()
        else:
            self.of(record).assign(value)

    def reset(self, record: Any) -> None:
        """After a save: what was assigned has been taken care of."""
        uploader = self.of(record)
        uploader.assigned, uploader.removing = None, False

    def uploader_of(self, record: Any, item: CachedFile | StoredFile) -> U:
        """The uploader of one file of a record."""
        uploader: U = self.of(record)
        return uploader

    def pending(self, record: Any) -> list[CachedFile]:
        """The uploads that wait to be stored."""
        cached = record.__data__.get(f"{self.name}_tmp")
        return [] if cached is None else [cached]

    def stored_files(self, record: Any) -> list[StoredFile]:
        """The files that are stored."""
        stored = record.__data__.get(self.name)
        return [] if stored is None else [stored]

    # The columns' values after a worker's step; `row` is locked and fresh.

    def stored_values(
        self, row: Any, cached: CachedFile, stored: StoredFile
    ) -> tuple[dict[str, Any], list[StoredFile]]:
        """After an upload was stored: the values, and the stored files that are let go of."""
        done = {"tmp": None, "processing": False, "state": "ready", "error": None}
        return self.values(stored=stored, **done), self.stored_files(row)

    def replaced_values(self, row: Any, old: StoredFile, new: StoredFile) -> dict[str, Any]:
        """After other versions were made of a stored file."""
        return self.values(stored=new)

    def failed_values(
        self, row: Any, cached: CachedFile, failure: UploadFailure, give_up: bool
    ) -> dict[str, Any]:
        """After an upload failed; `give_up`: it will not be tried again."""
        values: dict[str, Any] = {"processing": False, "state": "failed", "error": failure}
        return self.values(**values | ({"tmp": None} if give_up else {}))

    # The columns.

    def companion(self, suffix: str) -> peewee.Field | None:
        """The field `<column>_<suffix>`, if the model has it."""
        found: peewee.Field | None = self.model._meta.fields.get(f"{self.name}_{suffix}")
        return found

    @property
    def columns(self) -> list[str]:
        """The names of this column and of the companions that the model has."""
        names = [f"{self.name}_{suffix}" for suffix in COMPANIONS if self.companion(suffix)]
        return [self.name, *names]

    def values(self, **values: Any) -> dict[str, Any]:
        """Values for this column (`stored`) and its companions, less what the model lacks."""
        named = {
            self.name if suffix == "stored" else f"{self.name}_{suffix}": value
            for suffix, value in values.items()
        }
        return {name: value for name, value in named.items() if name in self.columns}


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
        setattr(model, f"remove_{self.name}", _RemoveFlag(self))

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


class _Attribute:
    """An attribute of a record that does something to the uploader of a column."""

    def __init__(self, mount: Mount[Any]) -> None:
        self._mount = mount


class _RemoveFlag(_Attribute):
    """`record.remove_image = True`, as a form's check box sets it."""

    def __get__(self, instance: Any, owner: Any) -> bool:
        return instance is not None and getattr(self._mount.of(instance), "removing", False)

    def __set__(self, instance: Any, value: bool) -> None:
        if value:
            mounted = self._mount.of(instance)
            mounted.clear() if isinstance(mounted, UploaderList) else mounted.remove()


class _RemoteUrl(_Attribute):
    """`record.remote_image_url = "https://…"` fetches the file; empty does nothing."""

    def __get__(self, instance: Any, owner: Any) -> None:
        return None

    def __set__(self, instance: Any, value: str | None) -> None:
        if value:
            self._mount.of(instance).assign_remote(value)


class _CacheId(_Attribute):
    """`record.image_cache`, for the hidden field of a form that is shown again. Empty, or beside a
    newly assigned file, it does nothing."""

    def __get__(self, instance: Any, owner: Any) -> str | None:
        cached: str | None = None if instance is None else self._mount.of(instance).cache_id
        return cached

    def __set__(self, instance: Any, value: str | None) -> None:
        uploader = self._mount.of(instance)
        if value and uploader.assigned is None:
            uploader.assign_cache_id(value)


def mount_uploader(uploader: type[U], **options: Any) -> Mount[U]:
    """A column whose file an uploader looks after (CarrierWave's `mount_uploader :image, …`).

    Parameters:
      uploader: the uploader class.
      options: as for any Peewee field.
    """
    return Mount(uploader, **options)


def mount_uploaders(uploader: type[U], **options: Any) -> MountList[U]:
    """A column with any number of files (CarrierWave's `mount_uploaders :photos, …`).

    Parameters:
      uploader: the uploader class, of each file.
      options: as for any Peewee field.
    """
    return MountList(uploader, **options)


def mounts_of(model: Any) -> list[Mount[Any]]:
    """The mounted columns of a model."""
    return [field for field in model._meta.sorted_fields if isinstance(field, Mount)]


def mount_named(table: str, column: str) -> Mount[Any]:
    """The mounted column of that name.

    Raises:
      LookupError: this process knows none; says what to do.
    """
    found = {mount.name: mount for mount in mounts_of(_models[table])} if table in _models else {}
    if column not in found:
        raise LookupError(
            f"no model with an uploader has the column {table}.{column}: "
            "import its module where the actors are imported"
        )
    return found[column]


def mounted_models() -> list[Any]:
    """The models that have mounted columns, and a table in the outbox's database."""
    return [
        model
        for model in _models.values()
        if model._meta.database is not None
        and real_database(model._meta.database) is real_database(Job._meta.database)
        and model.table_exists()
    ]
