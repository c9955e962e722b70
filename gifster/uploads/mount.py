"""Mounting: an uploader on a column of a Peewee model.

`image = mount_uploader(ImageUploader)` is the column, and `gif.image` the uploader of that record;
of `photos = mount_uploaders(PhotoUploader)`, `album.photos` is a list of uploaders. Beside a column
a model may have companions, each found by its name (`fields.py`).
"""

import warnings
from typing import TYPE_CHECKING, Any, TypeVar, overload

import peewee

from gifster.jobs import Job
from gifster.uploads.attacher import Attacher
from gifster.uploads.column import UploadColumn, mounts_of
from gifster.uploads.model import HasUploads
from gifster.uploads.rows import real_database
from gifster.uploads.saving import attacher_of
from gifster.uploads.uploader import Uploader
from gifster.uploads.uploader_list import UploaderList

U = TypeVar("U", bound=Uploader)

#: All models with mounted columns, in the order of their definition. Several may have one table.
_models: dict[Any, None] = {}


class _MountAccessor(peewee.FieldAccessor):
    def __get__(self, instance: Any, instance_type: Any = None) -> Any:
        return self.field if instance is None else self.field.attacher(instance).value

    def __set__(self, instance: Any, value: Any) -> None:
        self.field.attacher(instance).set(value)


class Mount(UploadColumn[U]):
    """The column of a mounted uploader. Made by `mount_uploader()`."""

    accessor_class = _MountAccessor

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: Any) -> "Mount[U]": ...
        @overload
        def __get__(self, instance: object, owner: Any) -> U: ...
        def __get__(self, instance: object | None, owner: Any) -> "Mount[U] | U": ...
        def __set__(self, instance: object, value: Any) -> None: ...

    def attacher(self, record: Any) -> Attacher[U]:
        """The attacher of this column of a record."""
        return attacher_of(record, self)

    def bind(self, model: Any, name: str, set_attribute: bool = True) -> None:
        super().bind(model, name, set_attribute)
        if set_attribute:
            _require_base(model)
            _models[model] = None
            setattr(model, f"remove_{name}", _RemoveFlag(self))
            if not self.many:
                setattr(model, f"remote_{name}_url", _RemoteUrl(self))
                setattr(model, f"{name}_cache", _CacheId(self))

    def db_value(self, value: Any) -> str | None:
        # In an expression, such as `Gif.image == other.image`.
        if isinstance(value, Uploader) and not value.changed:
            value = value.stored
        elif isinstance(value, UploaderList) and not value.changed:
            value = self.stored_files(value.record)
        return super().db_value(value)


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


def _require_base(model: Any) -> None:
    """See to it that a model's `save()` is ours. For one release, a model that does not say so gets
    the base class here."""
    if not issubclass(model, HasUploads):
        warnings.warn(
            f"{model.__name__} has uploads: declare it, class {model.__name__}"
            "(gifster.uploads.HasUploads, ...), before its other base classes. Models that do not "
            "will be refused",
            DeprecationWarning,
            stacklevel=2,
        )
        model.__bases__ = (HasUploads, *model.__bases__)
    if model.__mro__.index(HasUploads) > model.__mro__.index(peewee.Model):
        raise TypeError(
            f"{model.__name__} has uploads, and Peewee's Model stands before HasUploads: write "
            f"class {model.__name__}(HasUploads, ...), also in the classes that it inherits from"
        )


class _Attribute:
    """An attribute of a record that does something to a mounted column."""

    def __init__(self, mount: Mount[Any]) -> None:
        self._mount = mount


class _RemoveFlag(_Attribute):
    """`record.remove_image = True`, as a form's check box sets it."""

    def __get__(self, instance: Any, owner: Any) -> bool:
        return instance is not None and self._mount.attacher(instance).removing

    def __set__(self, instance: Any, value: bool) -> None:
        if value:
            self._mount.attacher(instance).remove()


class _RemoteUrl(_Attribute):
    """`record.remote_image_url = "https://…"` fetches the file; empty does nothing."""

    def __get__(self, instance: Any, owner: Any) -> None:
        return None

    def __set__(self, instance: Any, value: str | None) -> None:
        if value:
            self._mount.attacher(instance).uploader.assign_remote(value)


class _CacheId(_Attribute):
    """`record.image_cache`, for the hidden field of a form that is shown again. Empty, or beside a
    newly assigned file, it does nothing."""

    def __get__(self, instance: Any, owner: Any) -> str | None:
        return None if instance is None else self._mount.attacher(instance).uploader.cache_id

    def __set__(self, instance: Any, value: str | None) -> None:
        uploader = self._mount.attacher(instance).uploader
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


def mount_named(table: str, column: str) -> Mount[Any]:
    """The mounted column of that name; of several, the one whose rows are beside the outbox, and
    that was defined last.

    Raises:
      LookupError: this process knows none; says what to do.
    """
    found: list[Mount[Any]] = [
        mount
        for mount in sorted(all_mounts(), key=lambda mount: is_beside_outbox(mount.model))
        if mount.model._meta.table_name == table and mount.name == column
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


def all_mounts() -> list[Mount[Any]]:
    """The mounted columns of these models."""
    found = [mount for model in mounted_models() for mount in mounts_of(model)]
    return [mount for mount in found if isinstance(mount, Mount)]


def is_beside_outbox(model: Any) -> bool:
    """Whether a model's rows are in the database of the outbox."""
    database = real_database(model._meta.database)
    return database is not None and database is real_database(Job._meta.database)
