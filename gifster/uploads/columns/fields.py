"""The columns that accompany a mounted column, found by their names: `image_tmp`,
`image_processing`, `image_state`, `image_error`."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import peewee

from gifster.uploads.columns.states import UploadState
from gifster.uploads.errors import UnreadableColumn
from gifster.uploads.files.cache import CachedFile, dumps


@dataclass(frozen=True)
class UploadFailure:
    """Why an upload failed.

    Attributes:
      code: that of an `UploadError`, for programs.
      message: a sentence for people.
    """

    code: str
    message: str

    def as_json(self) -> dict[str, str]:
        """As a dict that goes into JSON."""
        return asdict(self)


V = TypeVar("V")

#: What a text raises that is no JSON, or the JSON of something else.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


def unreadable(field: Any, value: object, error: Exception) -> UnreadableColumn:
    """The error of a text in a column that cannot be read; `error` says why."""
    column = f"{field.model._meta.table_name}.{field.column_name}"
    found = UnreadableColumn(
        f"a row has in {column} the text {str(value)[:80]!r}, which cannot be read ({error!r}): "
        "write it anew from a backup, or NULL"
    )
    found.unreadable_column = column
    return found


def parsed_list(text: str) -> list[Any]:
    """A JSON list.

    Raises:
      ValueError, TypeError, RecursionError: the text is none.
    """
    found = json.loads(text)
    if not isinstance(found, list):
        raise TypeError("not a list")
    return found


if TYPE_CHECKING:

    class _Text(peewee.Field[V]):
        """To a type checker, a text field with Python values of its own."""

    _Char = peewee.Field[UploadState | None]
    _Boolean = peewee.Field[bool]
else:

    class _Text(peewee.TextField, Generic[V]):
        pass

    _Char, _Boolean = peewee.CharField, peewee.BooleanField


class _Nullable(_Text[V]):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"null": True} | options)


class CacheField(_Nullable[CachedFile | None]):
    """The `<column>_tmp` column: the cached file that waits to be stored, or null."""

    def db_value(self, value: CachedFile | None) -> str | None:
        return None if value is None else dumps(value.dump())

    def python_value(self, value: str | None) -> CachedFile | None:
        if value in (None, "", "null"):
            return None
        try:
            return CachedFile.load(json.loads(value))
        except UNREADABLE as error:
            raise unreadable(self, value, error) from error


class CacheListField(_Nullable[list[CachedFile]]):
    """The `<column>_tmp` column of a list-valued mount: the cached files that wait to be stored."""

    def db_value(self, value: list[CachedFile] | None) -> str | None:
        return dumps([cached.dump() for cached in value]) if value else None

    def python_value(self, value: str | None) -> list[CachedFile]:
        if value in (None, "", "null"):
            return []
        try:
            return [CachedFile.load(item) for item in parsed_list(value)]
        except UNREADABLE as error:
            raise unreadable(self, value, error) from error


class ProcessingField(_Boolean):
    """The optional `<column>_processing` column: true from the enqueueing of the job to its end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"default": False} | options)


class StateField(_Char):
    """The optional `<column>_state` column: `queued`, `processing`, `ready`, `failed`, or null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 16, "null": True, "index": True} | options)


class ErrorField(_Nullable[UploadFailure | None]):
    """The optional `<column>_error` column: an `UploadFailure`, or null."""

    def db_value(self, value: UploadFailure | None) -> str | None:
        return None if value is None else json.dumps(asdict(value), ensure_ascii=False)

    def python_value(self, value: str | None) -> UploadFailure | None:
        if value in (None, "", "null"):
            return None
        try:
            return UploadFailure(**json.loads(value))
        except UNREADABLE as error:
            raise unreadable(self, value, error) from error
