"""The attributes that a mounted column gives its records: for `image` these are `remove_image`,
`remote_image_url`, `image_cache` and `process_image_upload`; for a list `photos`, `remove_photos`,
`remote_photos_urls`, `photos_cache` and `process_photos_upload`. Both also have
`remote_image_request_headers`.

Every record has them. A model may also declare them, so that type checkers know them (mypy and
pyright see no attribute that is added while the program runs):

    class User(HasUploads, peewee.Model):
        avatar = mount_uploader(AvatarUploader)
        remove_avatar = RemoveFlag()

As with `avatar_tmp`, the name says to which column it belongs. `check_attributes()` refuses one
that belongs to none.
"""

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from gifster.uploads.attaching.attacher import Attacher
from gifster.uploads.attaching.uploader_list import Headers
from gifster.uploads.columns.column import UploadColumn, mounts_of
from gifster.uploads.form_values import is_blank, is_true

if TYPE_CHECKING:
    from typing import Self

Value = TypeVar("Value")
Assigned = TypeVar("Assigned")


class Attribute(Generic[Value, Assigned]):
    """An attribute of records that acts on a mounted column, which its name says."""

    #: Its name, with `{}` for the column's.
    pattern: ClassVar[str]
    #: Whether the columns that have it are list-valued; None if both kinds have it.
    many: ClassVar[bool | None] = False
    #: When a constructor sets it: 1 before the column itself, which is the second, or after it.
    turn: ClassVar[int] = 3

    #: Whether a class body has it; otherwise the mounted column has added it.
    declared = False
    name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.declared = name, True

    @overload
    def __get__(self, record: None, model: Any) -> "Self": ...
    @overload
    def __get__(self, record: object, model: Any) -> Value: ...
    def __get__(self, record: Any, model: Any = None) -> Any:
        return self if record is None else self.read(self.mount(record).attacher(record))

    def __set__(self, record: Any, value: Assigned) -> None:
        self.write(self.mount(record).attacher(record), value)

    def read(self, attacher: Attacher[Any]) -> Any:
        """What `record.<attribute>` is."""
        raise NotImplementedError

    def write(self, attacher: Attacher[Any], value: Any) -> None:
        """What `record.<attribute> = value` does."""
        raise NotImplementedError

    @classmethod
    def called(cls, column: str) -> str:
        """The attribute's name for a column."""
        return cls.pattern.format(column)

    @property
    def column(self) -> str:
        """The name of its column; empty if no column can have an attribute of this name."""
        before, _, after = self.pattern.partition("{}")
        named = self.name.removeprefix(before).removesuffix(after)
        return named if self.called(named) == self.name else ""

    def mount(self, model: Any) -> UploadColumn[Any]:
        """Its column of a model; also takes a record.

        Raises:
          TypeError: the model has no such column; says what to write.
        """
        whose, kind = model._meta.model.__name__, type(self).__name__
        mounts = [mount for mount in mounts_of(model) if self.many in (None, mount.many)]
        for mount in mounts:
            if mount.name == self.column:
                return mount
        fitting = ", ".join(self.called(mount.name) for mount in mounts)
        raise TypeError(
            f"{whose}.{self.name} = {kind}() belongs to no mounted column: "
            + (f"name it {fitting}" if fitting else f"{whose} has no column that can have it")
        )


class RemoveFlag(Attribute[bool, bool | str | None]):
    """`record.remove_image = True` detaches the file with the next save, and False cancels that;
    for a form's check box, whose value is a text (see `form_values.py`)."""

    pattern, many, turn = "remove_{}", None, 5

    def read(self, attacher: Attacher[Any]) -> bool:
        return attacher.removing

    def write(self, attacher: Attacher[Any], value: bool | str | None) -> None:
        (attacher.remove if is_true(value) else attacher.keep)()


class RemoteUrl(Attribute[str | None, str | None]):
    """`record.remote_image_url = "https://…"` fetches a file and assigns it.

    An empty URL does nothing, nor does a URL beside a file that the form has just uploaded. Reading
    gives the URL that was assigned, until the record is saved; None forgets it.
    """

    pattern, turn = "remote_{}_url", 4

    def read(self, attacher: Attacher[Any]) -> str | None:
        url: str | None = attacher.value.slot.remote_url
        return url

    def write(self, attacher: Attacher[Any], value: str | None) -> None:
        uploader = attacher.value
        if value is None:
            uploader.slot.remote_url = None
        elif not is_blank(value) and (
            uploader.assigned is None or uploader.slot.remote_url is not None
        ):
            try:
                uploader.assign_remote(value)
            finally:
                uploader.slot.remote_url = value if isinstance(value, str) else None


class RequestHeaders(Attribute[Headers, Headers | None]):
    """`record.remote_image_request_headers = {"Authorization": …}` goes with the requests for
    `remote_image_url`, or with all for `remote_images_urls`; set it before that. A list-valued
    column also takes a list, with the headers for each URL."""

    pattern, many, turn = "remote_{}_request_headers", None, 1

    def read(self, attacher: Attacher[Any]) -> Headers:
        headers: Headers = attacher.value.request_headers
        return headers

    def write(self, attacher: Attacher[Any], value: Headers | None) -> None:
        attacher.value.request_headers = value or {}


class RemoteUrls(Attribute[list[str] | None, str | Iterable[str] | None]):
    """`record.remote_images_urls = […]` fetches files; see `UploaderList.assign_remote()`."""

    pattern, many, turn = "remote_{}_urls", True, 4

    def read(self, attacher: Attacher[Any]) -> list[str] | None:
        urls: list[str] | None = attacher.value.remote_urls
        return urls

    def write(self, attacher: Attacher[Any], value: str | Iterable[str] | None) -> None:
        attacher.value.assign_remote(value)


class CacheId(Attribute[str | None, str | None]):
    """`record.image_cache` is the cache id of the assigned file, for a form that is shown again.

    Setting it retrieves that file. An empty id does nothing, nor does an id beside a file that the
    form has just uploaded.
    """

    pattern = "{}_cache"

    def read(self, attacher: Attacher[Any]) -> str | None:
        found: str | None = attacher.value.cache_id
        return found

    def write(self, attacher: Attacher[Any], value: str | None) -> None:
        uploader = attacher.value
        if value is not None and not is_blank(value) and uploader.assigned is None:
            uploader.assign_cache_id(value)


class CacheIds(Attribute[str | None, str | Iterable[str] | None]):
    """`record.images_cache` is the list with its new files, for a form that is shown again; see
    `UploaderList.cache_ids`."""

    pattern, many = "{}_cache", True

    def read(self, attacher: Attacher[Any]) -> str | None:
        ids: str | None = attacher.value.cache_ids
        return ids

    def write(self, attacher: Attacher[Any], value: str | Iterable[str] | None) -> None:
        attacher.value.assign_cache_ids(value)


class ProcessFlag(Attribute[bool, bool | str | None]):
    """`record.process_image_upload = True`, set before the file, has `save()` do everything itself;
    a form's check box can be assigned, as to `RemoveFlag`.

    Only a column that leaves work to a worker has it (see `backgrounder.py`).
    """

    pattern, many, turn = "process_{}_upload", None, 1

    def read(self, attacher: Attacher[Any]) -> bool:
        return bool(attacher.record.__dict__.get(self.name, False))

    def write(self, attacher: Attacher[Any], value: bool | str | None) -> None:
        mount = attacher.mount
        if mount.background is None:
            raise TypeError(
                f"{mount.model.__name__}.{mount.name} leaves nothing to a worker, so it has no "
                f'{self.name}: decorate the model with @store_in_background("{mount.name}")'
            )
        attacher.record.__dict__[self.name] = is_true(value)


def kinds_of(many: bool) -> list[type[Attribute[Any, Any]]]:
    """The attributes of a column; `many` says whether it is list-valued."""
    kinds: list[type[Attribute[Any, Any]]] = [
        RemoveFlag, RequestHeaders, RemoteUrl, RemoteUrls, CacheId, CacheIds, ProcessFlag
    ]  # fmt: skip
    return [kind for kind in kinds if kind.many in (None, many)]


def add_attribute(model: Any, mount: UploadColumn[Any], kind: type[Attribute[Any, Any]]) -> None:
    """Give the records of a model an attribute, unless the model declares it.

    Raises:
      TypeError: the model has something else of that name, which one of the two would hide.
    """
    name = kind.called(mount.name)
    present = inspect.getattr_static(model, name, None)
    if type(present) is kind:
        return
    if present is not None:
        raise TypeError(
            f"{model.__name__}.{name} is a {type(present).__name__}, but the mounted column "
            f"{mount.name} has an attribute of that name: rename yours, or declare "
            f"{name} = uploads.{kind.__name__}()"
        )
    attribute = kind()
    attribute.name = name
    setattr(model, name, attribute)


def check_attributes(model: Any) -> None:
    """Make sure that each attribute that a model declares belongs to a mounted column.

    Raises:
      TypeError: one does not; says what to write.
    """
    for name in {name for owner in model.__mro__ for name in vars(owner)}:
        attribute = inspect.getattr_static(model, name)
        if isinstance(attribute, Attribute) and attribute.declared:
            attribute.mount(model)
