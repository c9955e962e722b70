"""Mounts uploaders on columns of Peewee models.

With `image = mount_uploader(ImageUploader)`, `gif.image` is the uploader of that record; with
`photos = mount_uploaders(PhotoUploader)`, `album.photos` is a list of uploaders. A model may have
companion columns beside a mounted one, which are found by name (`fields.py`). `column.py` has the
database's side, `attacher.py` what assigning and saving do.
"""

import json
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, overload

import peewee

from gifster.jobs import Job
from gifster.uploads import undeclared
from gifster.uploads.attaching.attacher import Attacher
from gifster.uploads.attaching.list_attacher import ListAttacher
from gifster.uploads.attaching.single_attacher import SingleAttacher
from gifster.uploads.attaching.uploader_list import UploaderList
from gifster.uploads.attributes import ProcessFlag, add_attribute, kinds_of
from gifster.uploads.columns.column import UploadColumn, mounts_of
from gifster.uploads.columns.rows import real_database, select
from gifster.uploads.config import witness
from gifster.uploads.files.keys import table_of
from gifster.uploads.files.sources import Source
from gifster.uploads.model import HasUploads
from gifster.uploads.uploader import Uploader

U = TypeVar("U", bound=Uploader)

#: All models with mounted columns, in the order of their definition. Two may share a table.
_models: dict[Any, None] = {}


class _MountAccessor(peewee.FieldAccessor):
    def __get__(self, instance: Any, instance_type: Any = None) -> Any:
        return self.field if instance is None else self.field.attacher(instance).value

    def __set__(self, instance: Any, value: Any) -> None:
        self.field.attacher(instance).set(value)


class Mount(UploadColumn[U]):
    """A mounted column; `mount_uploader()` makes it."""

    accessor_class = _MountAccessor

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: Any) -> "Mount[U]": ...
        @overload
        def __get__(self, instance: object, owner: Any) -> U: ...
        def __get__(self, instance: object | None, owner: Any) -> "Mount[U] | U": ...
        def __set__(self, instance: object, value: Source | Uploader | None) -> None: ...

    def __init__(self, uploader: type[U], **options: Any) -> None:
        if not (isinstance(uploader, type) and issubclass(uploader, Uploader)):
            raise TypeError(f"{uploader!r} cannot be mounted: give a subclass of uploads.Uploader")
        super().__init__(uploader, **options)

    def attacher(self, record: Any) -> Attacher[U]:
        return SingleAttacher(record, self)

    def bind(self, model: Any, name: str, set_attribute: bool = True) -> None:
        super().bind(model, name, set_attribute)
        if set_attribute:
            _require_base(model)
            _models[model] = None
            for kind in kinds_of(self.many):
                if kind is not ProcessFlag:  # `backgrounder.py` adds that
                    add_attribute(model, self, kind)

    def db_value(self, value: Any) -> str | None:
        # Uploaders come here in an expression, such as `Gif.image == other.image`.
        if isinstance(value, Uploader) and not value.changed:
            value = value.stored
        elif isinstance(value, UploaderList) and not value.changed:
            value = self.stored_files(value.record)
        return super().db_value(value)


class MountList(Mount[U]):
    """A list-valued mounted column; `mount_uploaders()` makes it."""

    many = True

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: Any) -> "MountList[U]": ...
        @overload
        def __get__(self, instance: object, owner: Any) -> UploaderList[U]: ...
        def __get__(
            self, instance: object | None, owner: Any
        ) -> "MountList[U] | UploaderList[U]": ...
        def __set__(  # type: ignore[override]
            self, instance: object, value: Iterable[Source | Uploader] | None
        ) -> None: ...

    def attacher(self, record: Any) -> Attacher[U]:
        return ListAttacher(record, self)


def _require_base(model: Any) -> None:
    """Make sure that a model inherits `HasUploads`, before Peewee's `Model`.

    For one release, the methods of a model that does not are wrapped, with a warning.

    Raises:
      TypeError: Peewee's `Model` comes first, so its `save()` would hide ours; or only a subclass
        declares `HasUploads`.
    """
    if not issubclass(model, HasUploads):
        if not undeclared.is_wrapped(model):
            undeclared.wrap(model)
        return
    if undeclared.is_wrapped(model):
        raise TypeError(
            f"{model.__name__} declares HasUploads, and a class that it inherits from has uploads "
            "without it: let that class declare it"
        )
    if model.__mro__.index(HasUploads) > model.__mro__.index(peewee.Model):
        raise TypeError(
            f"{model.__name__} has uploads, but Peewee's Model comes before HasUploads: write "
            f"class {model.__name__}(HasUploads, ...), also in the classes that it inherits from"
        )


def mount_uploader(uploader: type[U], **options: Any) -> Mount[U]:
    """A column with one file (CarrierWave's `mount_uploader :image, …`).

    Parameters:
      uploader: the uploader class.
      options: as for any Peewee field.
    """
    return Mount(uploader, **options)


def mount_uploaders(uploader: type[U], **options: Any) -> MountList[U]:
    """A column with any number of files (CarrierWave's `mount_uploaders :photos, …`).

    Parameters:
      uploader: the uploader class of the files.
      options: as for any Peewee field.
    """
    return MountList(uploader, **options)


def mount_named(table: str, column: str) -> Mount[Any]:
    """The mounted column with that name.

    Parameters:
      table: the name of its table, as `keys.table_of()` gives it.

    If several models share the table, a model in the outbox's database wins, and of several the one
    that was defined last. Jobs of the release before name a table without its schema: they are
    about the only model of that name, if there is only one.

    Raises:
      LookupError: this process has imported no such model; says what to do.
    """
    mounts: list[Mount[Any]] = [
        mount
        for mount in sorted(all_mounts(), key=lambda mount: is_beside_outbox(mount.model))
        if mount.name == column
    ]
    found = [mount for mount in mounts if table_of(mount.model) == table]
    if not found:
        unqualified = [mount for mount in mounts if mount.model._meta.table_name == table]
        found = unqualified if len(unqualified) == 1 else []
    if not found:
        raise LookupError(
            f"no imported model has the mounted column {table}.{column}: "
            "import its module where the actors are imported"
        )
    return found[-1]


def mounted_models() -> list[Any]:
    """The models with mounted columns that this process has imported."""
    return list(_models)


def all_mounts() -> list[Mount[Any]]:
    """The mounted columns of all these models."""
    found = [mount for model in mounted_models() for mount in mounts_of(model)]
    return [mount for mount in found if isinstance(mount, Mount)]


@witness
def names_files(storage: str) -> bool:
    """Whether a row beside the outbox names a file of a storage, stored or waiting."""
    return any(
        _names_files(mount, storage) for mount in all_mounts() if is_beside_outbox(mount.model)
    )


def _names_files(mount: Mount[Any], storage: str) -> bool:
    meta = mount.model._meta
    columns = list(filter(None, (mount, mount.companion("tmp"))))
    named: Any = peewee.SQL("1 = 0")
    for column in columns:
        text = column.cast("text")
        for pair in (f'"storage":{json.dumps(storage)}', f'"storage": {json.dumps(storage)}'):
            named |= text.contains(pair)
    database = real_database(meta.database)
    with database.connection_context() if database.is_closed() else nullcontext():
        # A process may know models whose tables are not made yet, or are of an earlier release.
        known = {column.name for column in database.get_columns(meta.table_name, meta.schema)}
        if not known.issuperset(column.column_name for column in columns):
            return False
        return bool(select(mount.model).where(named).exists())


def is_beside_outbox(model: Any) -> bool:
    """Whether a model and the outbox are in the same database."""
    database = real_database(model._meta.database)
    return database is not None and database is real_database(Job._meta.database)
