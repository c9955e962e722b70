"""Queries that write rows past `save()`, on models with mounted columns.

A query that would have two rows name one file, or that is given what only an uploader can take, is
refused. The framework writes its columns by queries itself, within `saving()`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from peewee import Field, Node

from gifster.uploads.column import UploadColumn, mounts_of

_saving: ContextVar[bool] = ContextVar("gifster_uploads_saving", default=False)


@contextmanager
def saving() -> Iterator[None]:
    """Within the block the framework writes a row, and may write what it likes."""
    token = _saving.set(True)
    try:
        yield
    finally:
        _saving.reset(token)


def checked_insert(model: Any, data: Any, values: Any) -> Any:
    """What `insert()` is given, looked at.

    Raises:
      TypeError: it has a file.
    """
    if not _saving.get():
        row = model._normalize_data(data, values)
        if not isinstance(row, Mapping):  # Peewee takes several here, too
            return checked(model, row, ())
        check(model, row)
    return data


def check_update(model: Any, data: Any, values: Any) -> None:
    """Raises `TypeError` if `update()` is given a file."""
    if not _saving.get():
        for field, value in model._normalize_data(data, values).items():
            if isinstance(field, UploadColumn) and value and not isinstance(value, Node):
                raise field.past_the_uploader()


def checked(model: Any, rows: Any, fields: Iterable[Any]) -> Any:
    """The rows, looked at: at once if they are all there, else each before Peewee takes it.

    Raises:
      TypeError: one has a file.
    """
    if not isinstance(rows, (list, tuple)):
        return _each_checked(model, rows, fields)
    for _ in _each_checked(model, rows, fields):
        pass
    return rows


def _each_checked(model: Any, rows: Iterable[Any], fields: Iterable[Any]) -> Iterator[Any]:
    given, auto, files = list(fields), model._meta.auto_increment, _files_of(model)
    fields = given or [f for f in model._meta.sorted_fields if not (auto and f.primary_key)]
    for row in rows:
        named = row if isinstance(row, Mapping) else dict(zip(fields, row, strict=False))
        _check(model, named, files)
        yield row


def _files_of(model: Any) -> dict[str, Any]:
    """The names of the fields that name files, with their mounted columns."""
    return {
        name: mount
        for mount in mounts_of(model)
        for name in (mount.name, f"{mount.name}_tmp")
        if name in mount.columns
    }


def check(model: Any, row: Mapping[Any, Any]) -> None:
    """Raises `TypeError` if a row that is to be inserted has a file."""
    _check(model, row, _files_of(model))


def _check(model: Any, row: Mapping[Any, Any], files: Mapping[str, Any]) -> None:
    """Raises `TypeError` if a row that is to be inserted has a file."""
    for key, value in row.items():
        field = key if isinstance(key, Field) else model._meta.combined.get(key)
        if field is not None and field.name in files and value:
            raise files[field.name].past_the_uploader()
