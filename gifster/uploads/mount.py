"""Mounting: an uploader on a column of a Peewee model.

`image = mount_uploader(ImageUploader)` is the column, a JSON text that describes the stored file;
`gif.image` is the uploader of that record. Beside it a model may have the companions that
CarrierWave users know, each found by its name: `image_tmp` (a `CacheField`), `image_processing`
(a `ProcessingField`), and `image_state` and `image_error`.

`save()` leaves a mount's columns alone unless something was assigned: a record that was loaded
before a worker stored its file, and is saved for another reason, cannot undo what the worker did.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import peewee

from gifster.jobs import Job, transaction
from gifster.uploads.uploader import StoredFile, Uploader

U = TypeVar("U", bound=Uploader)

COMPANIONS = ("tmp", "processing", "state", "error")

_models: list[Any] = []


@dataclass(frozen=True)
class UploadFailure:
    """Why an upload failed: a stable code, and a sentence for people."""

    code: str
    message: str


class ProcessingField(peewee.BooleanField):
    """The optional `<column>_processing` column: true from the enqueueing to the end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"default": False} | options)


class StateField(peewee.CharField):
    """The optional `<column>_state` column: `queued`, `processing`, `ready`, `failed`, or null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 16, "null": True, "index": True} | options)


class ErrorField(peewee.TextField):
    """The optional `<column>_error` column: an `UploadFailure`, or null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"null": True} | options)

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any) -> UploadFailure | None: ...  # type: ignore[override]

    def db_value(self, value: UploadFailure | None) -> str | None:
        return None if value is None else json.dumps(asdict(value), ensure_ascii=False)

    def python_value(self, value: str | None) -> UploadFailure | None:
        return None if value is None else UploadFailure(**json.loads(value))


class _MountAccessor(peewee.FieldAccessor):
    def __get__(self, instance: Any, instance_type: Any = None) -> Any:
        return self.field if instance is None else uploader_of(instance, self.field)

    def __set__(self, instance: Any, value: Any) -> None:
        # Peewee sets what it has loaded the same way: a StoredFile, or None on a new object.
        if isinstance(value, StoredFile) or (
            value is None and instance.__data__.get(self.name) is None
        ):
            instance.__data__[self.name] = value
        elif value is None:
            uploader_of(instance, self.field).remove()
        else:
            uploader_of(instance, self.field).assign(value)


class Mount(peewee.Field, Generic[U]):
    """The column of a mounted uploader. Made by `mount_uploader()`."""

    field_type = "TEXT"
    accessor_class = _MountAccessor

    def __init__(self, uploader: type[U], **options: Any) -> None:
        super().__init__(**{"null": True} | options)
        self.uploader = uploader
        #: The actor that stores in the background; set by `store_in_background`.
        self.background: str | None = None

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
            _teach_saving(model)
            setattr(model, f"remove_{name}", _RemoveFlag(self))

    def db_value(self, value: StoredFile | None) -> str | None:
        return None if value is None else json.dumps(value.dump(), ensure_ascii=False)

    def python_value(self, value: str | None) -> StoredFile | None:
        return None if value is None else StoredFile.load(json.loads(value))

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


class _RemoveFlag:
    """`record.remove_image = True`, as a form's check box sets it."""

    def __init__(self, mount: Mount[Any]) -> None:
        self._mount = mount

    def __get__(self, instance: Any, owner: Any) -> bool:
        return instance is not None and uploader_of(instance, self._mount).removing

    def __set__(self, instance: Any, value: bool) -> None:
        if value:
            uploader_of(instance, self._mount).remove()


def mount_uploader(uploader: type[U], **options: Any) -> Mount[U]:
    """A column whose files an uploader looks after (CarrierWave's `mount_uploader :image, …`).

    Parameters:
      uploader: the uploader class.
      options: as for any Peewee field.
    """
    return Mount(uploader, **options)


def mounts_of(model: Any) -> list[Mount[Any]]:
    """The mounted columns of a model."""
    return [field for field in model._meta.sorted_fields if isinstance(field, Mount)]


def mounted_models() -> list[Any]:
    """The models that have mounted columns, and a table in the outbox's database."""
    return [
        model
        for model in _models
        if model._meta.database is not None
        and _real(model._meta.database) is _real(Job._meta.database)
        and model.table_exists()
    ]


def _real(database: Any) -> Any:
    return database.obj if isinstance(database, peewee.DatabaseProxy) else database


def uploader_of(record: Any, mount: Mount[U]) -> U:
    """The one uploader of a record's column."""
    uploaders: dict[str, U] = record.__dict__.setdefault("_uploaders", {})
    if mount.name not in uploaders:
        uploaders[mount.name] = mount.uploader(record, mount)
    return uploaders[mount.name]


def locked_row(record: Any) -> Any:
    """The row as it is now, locked until the transaction ends; None if it is gone.

    SQLite has locked the whole database by then.
    """
    query = type(record).select().where(record._pk_expr())
    return (query.for_update() if _real(record._meta.database).for_update else query).get_or_none()


def _teach_saving(model: Any) -> None:
    """Wrap `save()` and `delete_instance()` of a model class, once in a line of inheritance."""
    if getattr(model, "_saves_uploads", False):
        return
    model._saves_uploads = True
    _models.append(model)
    save, delete_instance = model.save, model.delete_instance

    def save_with_uploads(
        record: Any, force_insert: bool = False, only: Iterable[Any] | None = None
    ) -> Any:
        mounts = mounts_of(type(record))
        creating = force_insert or record._pk is None
        wanted = _names(record, only)
        changed = [
            uploader
            for mount in mounts
            if mount.name in wanted and (uploader := uploader_of(record, mount)).changed
        ]
        if not creating:
            hands_off = {name for mount in mounts for name in mount.columns}
            hands_off |= {field.name for field in record._meta.get_primary_keys()}
            only = [name for name in wanted if name not in hands_off]
            only += [name for uploader in changed for name in uploader.mount.columns]
            if not only:
                return 0
        if changed:
            return _save(record, changed, creating, lambda: save(record, force_insert, only))
        return save(record, force_insert, only)

    def delete_with_uploads(record: Any, *arguments: Any, **options: Any) -> Any:
        with transaction(record._meta.database):
            row = locked_row(record)
            deleted = delete_instance(record, *arguments, **options)
            if row is not None:
                for mount in mounts_of(type(record)):
                    uploader = uploader_of(row, mount)
                    uploader.discard(uploader.stored)
        return deleted

    model.save, model.delete_instance = save_with_uploads, delete_with_uploads


def _save(record: Any, changed: list[Uploader], creating: bool, save_row: Callable[[], Any]) -> Any:
    with ExitStack() as resources:
        for uploader in changed:
            uploader.prepare(resources)
        try:
            with transaction(record._meta.database):
                before = {} if creating else _present_row(record).__data__
                for uploader in changed:
                    uploader.write(before)
                saved = save_row()
                for uploader in changed:
                    uploader.written()
        except BaseException:
            for uploader in changed:
                uploader.undo()
            raise
    for uploader in changed:
        uploader.saved()
    return saved


def _present_row(record: Any) -> Any:
    row = locked_row(record)
    if row is None:
        raise type(record).DoesNotExist(f"{record!r} is gone: nothing was saved")
    return row


def _names(record: Any, only: Iterable[Any] | None) -> list[str]:
    if only is not None:
        return [field if isinstance(field, str) else field.name for field in only]
    if record._meta.only_save_dirty:
        attached = [mount.name for mount in mounts_of(type(record))]
        return [*attached, *(name for name in record.dirty_field_names if name not in attached)]
    return [field.name for field in record._meta.sorted_fields]
