"""Mounting: an uploader on a column of a Peewee model.

`image = mount_uploader(ImageUploader)` is the column, a JSON text that describes the stored file;
`gif.image` is the uploader of that record. Beside it a model may have companions, each found by its
name (`fields.py`). Columns with several files are in `mount_list.py`; what `save()` does is in
`saving.py`.
"""

import json
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import peewee

from gifster.jobs import Job
from gifster.uploads.attached import attached, undecide
from gifster.uploads.cache import CachedFile
from gifster.uploads.fields import UploadFailure
from gifster.uploads.rows import mounts_of, real_database
from gifster.uploads.saving import teach_saving
from gifster.uploads.stored import StoredFile
from gifster.uploads.uploader import Uploader

if TYPE_CHECKING:
    from gifster.uploads.backgrounder import Background

U = TypeVar("U", bound=Uploader)

COMPANIONS = ("tmp", "processing", "state", "error")

#: All models with mounted columns, in the order of their definition. Several may have one table.
_models: dict[Any, None] = {}


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
            _models[model] = None
            self._add_attributes(model)

    def _add_attributes(self, model: Any) -> None:
        setattr(model, f"remove_{self.name}", RemoveFlag(self))
        setattr(model, f"remote_{self.name}_url", _RemoteUrl(self))
        setattr(model, f"{self.name}_cache", _CacheId(self))

    def db_value(self, value: StoredFile | Uploader | None) -> str | None:
        if isinstance(value, Uploader) and not value.changed:
            value = value.stored
        if value is not None and not isinstance(value, StoredFile):
            raise self.past_the_uploader()
        return None if value is None else json.dumps(value.dump(), ensure_ascii=False)

    def python_value(self, value: str | None) -> StoredFile | None:
        return None if value is None else StoredFile.load(json.loads(value)).from_row()

    def past_the_uploader(self) -> TypeError:
        """What is wrong with a query that is handed a file."""
        record, column = self.model.__name__, self.name
        return TypeError(
            f"{record}.{column} cannot be written by a query, which goes past its uploader: assign "
            f"the file to a record and save() it, or use {record}.create({column}=...) or "
            f"{record}.bulk_create([...])"
        )

    # One record's column.

    def of(self, record: Any) -> Any:
        """The uploader of a record's column."""
        hand = attached(record)
        found = hand.uploaders.get(self.name)
        if found is None:
            found = self.uploader(record, self)
            found.__dict__ = hand.states.setdefault(self.name, found.__dict__)
            hand.uploaders[self.name] = found
        return found

    def set(self, record: Any, value: Any) -> None:
        """What `record.<column> = value` does."""
        # Peewee sets what it has loaded the same way: a StoredFile, or None; but only once.
        first = self.name not in record.__data__
        if isinstance(value, Uploader) and value.record is record and value.mount is self:
            return  # it is itself
        if first and isinstance(value, StoredFile) and value.is_from_row():
            record.__data__[self.name] = value
            # Peewee clears this when it has loaded a row: what stays was said by somebody.
            record._dirty.add(self.name)
        elif value is not None and value != record.__data__.get(self.name):
            self.of(record).assign(value)
        elif value is None and (self.stored_files(record) or self.pending(record)) and not first:
            self.of(record).remove()
        else:
            record.__data__[self.name] = value
            undecide(record, self.name)
            (record._dirty.add if value is None else record._dirty.discard)(self.name)

    def has_files(self, record: Any) -> bool:
        """Whether a record has a file here: assigned, waiting or stored."""
        return self.of(record).changed or bool(self.pending(record) or self.stored_files(record))

    def prepare(self, record: Any, *, creating: bool) -> None:
        """Before a save: see to it that the record has files of its own, and lets go of what it
        shall. What was assigned to the record that this one was copied from is copied, and so is
        what a new row would share with another."""
        uploader = self.of(record)
        if not creating and not uploader.changed and self._is_set_unloaded(record):
            stored = self.stored_files(record)
            uploader.assign(stored[0]) if stored else uploader.remove()
        assigned = uploader.assigned
        if assigned is not None:
            if not assigned.claim(uploader.slot):
                uploader.assign(assigned)
        elif creating and not uploader.removing:
            for item in (self.pending(record) or self.stored_files(record))[:1]:
                uploader.assign(item)

    def _is_set_unloaded(self, record: Any) -> bool:
        """Whether the column was set in a record that was loaded without it. In a record that was
        not loaded but made of a row's values (`User(**row)`), these say nothing: the row may have
        got an upload since."""
        made = record._meta.primary_key.name in record._dirty
        return self.name in record._dirty and not made

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

    def working_values(self) -> dict[str, Any]:
        """While a worker has an upload in hand, which may have failed before."""
        return self.values(processing=True, state="processing", error=None)

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


class Attribute:
    """An attribute of a record that does something to the uploader of a column."""

    def __init__(self, mount: Mount[Any]) -> None:
        self._mount = mount


class RemoveFlag(Attribute):
    """`record.remove_image = True`, as a form's check box sets it."""

    def __get__(self, instance: Any, owner: Any) -> bool:
        return instance is not None and getattr(self._mount.of(instance), "removing", False)

    def __set__(self, instance: Any, value: bool) -> None:
        if value:
            mounted = self._mount.of(instance)
            mounted.clear() if self._mount.many else mounted.remove()


class _RemoteUrl(Attribute):
    """`record.remote_image_url = "https://…"` fetches the file; empty does nothing."""

    def __get__(self, instance: Any, owner: Any) -> None:
        return None

    def __set__(self, instance: Any, value: str | None) -> None:
        if value:
            self._mount.of(instance).assign_remote(value)


class _CacheId(Attribute):
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


def mount_named(table: str, column: str) -> Mount[Any]:
    """The mounted column of that name; of several, the one whose rows are beside the outbox, and
    that was defined last.

    Raises:
      LookupError: this process knows none; says what to do.
    """
    found: list[Mount[Any]] = [
        mount
        for model in sorted(mounted_models(), key=is_beside_outbox)
        if model._meta.table_name == table
        for mount in mounts_of(model)
        if mount.name == column
    ]
    if not found:
        raise LookupError(
            f"no model with an uploader has the column {table}.{column}: "
            "import its module where the actors are imported"
        )
    return found[-1]


def mounted_models() -> list[Any]:
    """The models that have mounted columns, as far as this process has imported them."""
    return list(_models)


def is_beside_outbox(model: Any) -> bool:
    """Whether a model's rows are in the database of the outbox."""
    database = real_database(model._meta.database)
    return database is not None and database is real_database(Job._meta.database)
