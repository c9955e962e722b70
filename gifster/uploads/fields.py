"""The columns that accompany a mounted column, found by their names: `image_tmp`,
`image_processing`, `image_state`, `image_error`."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import peewee

from gifster.uploads.cache import CachedFile, dumps


@dataclass(frozen=True)
class UploadFailure:
    """Why an upload failed: the `code` of an `UploadError`, and a sentence for people."""

    code: str
    message: str

    def as_json(self) -> dict[str, str]:
        """As a dict that goes into JSON."""
        return asdict(self)


class _Nullable(peewee.TextField):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"null": True} | options)


class CacheField(_Nullable):
    """The `<column>_tmp` column: the cached file that waits to be stored, or null."""

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any) -> CachedFile | None: ...  # type: ignore[override]

    def db_value(self, value: CachedFile | None) -> str | None:
        return None if value is None else dumps(value.dump())

    def python_value(self, value: str | None) -> CachedFile | None:
        return None if value is None else CachedFile.load(json.loads(value))


class CacheListField(_Nullable):
    """The `<column>_tmp` column of a list-valued mount: the cached files that wait to be stored."""

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any) -> list[CachedFile]: ...  # type: ignore[override]

    def db_value(self, value: list[CachedFile] | None) -> str | None:
        return dumps([cached.dump() for cached in value]) if value else None

    def python_value(self, value: str | None) -> list[CachedFile]:
        return [] if value is None else [CachedFile.load(item) for item in json.loads(value)]


class ProcessingField(peewee.BooleanField):
    """The optional `<column>_processing` column: true from the enqueueing of the job to its end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"default": False} | options)


class StateField(peewee.CharField):
    """The optional `<column>_state` column: `queued`, `processing`, `ready`, `failed`, or null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 16, "null": True, "index": True} | options)


class ErrorField(_Nullable):
    """The optional `<column>_error` column: an `UploadFailure`, or null."""

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any) -> UploadFailure | None: ...  # type: ignore[override]

    def db_value(self, value: UploadFailure | None) -> str | None:
        return None if value is None else json.dumps(asdict(value), ensure_ascii=False)

    def python_value(self, value: str | None) -> UploadFailure | None:
        return None if value is None else UploadFailure(**json.loads(value))
