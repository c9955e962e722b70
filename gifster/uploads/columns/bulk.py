"""Checks the queries that write rows without `save()`, on models with mounted columns.

A query is refused if it would make two rows name the same file, or if it is given a source that
only an uploader can read. `HasUploads` makes its queries here. The framework's own queries run
within `saving()`, which lifts the checks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from peewee import Field, Node

from gifster.uploads.columns.column import UploadColumn, mounts_of

Q = TypeVar("Q")

#: A method of Peewee's that makes a query.
Query = Callable[..., Q]

_saving: ContextVar[bool] = ContextVar("gifster_uploads_saving", default=False)


@contextmanager
def saving() -> Iterator[None]:
    """A `with` block in which the framework itself writes rows, unchecked."""
    token = _saving.set(True)
    try:
        yield
    finally:
        _saving.reset(token)


def insert(model: Any, query: Query[Q], data: Any = None, /, **values: Any) -> Q:
    """`insert()` of a model; `query` is Peewee's.

    Raises:
      TypeError: a row has a file.
    """
    if mounts_of(model) and not _saving.get():
        row = model._normalize_data(data, values)
        if not isinstance(row, Mapping):  # Peewee also accepts several rows here.
            return query(checked(model, row, ()))
        check(model, row)
    return query(data, **values)


def update(model: Any, query: Query[Q], data: Any = None, /, **values: Any) -> Q:
    """`update()` of a model; `query` is Peewee's.

    Raises:
      TypeError: it has a file.
    """
    if mounts_of(model) and not _saving.get():
        for field, value in model._normalize_data(data, values).items():
            if isinstance(field, UploadColumn) and value and not isinstance(value, Node):
                raise field.query_refused()
    return query(data, **values)


def insert_many(model: Any, query: Query[Q], rows: Iterable[Any], fields: Any = None) -> Q:
    """`insert_many()` of a model; `query` is Peewee's.

    Raises:
      TypeError: a row has a file.
    """
    return query(checked(model, rows, fields or ()) if mounts_of(model) else rows, fields)


def insert_from(model: Any, query: Query[Q], source: Any, fields: Iterable[Any]) -> Q:
    """`insert_from()` of a model; `query` is Peewee's.

    Raises:
      TypeError: a mounted column is among the fields.
    """
    fields = list(fields)
    check(model, dict.fromkeys(fields, True))
    return query(source, fields)


def checked(model: Any, rows: Any, fields: Iterable[Any]) -> Any:
    """Check rows that are to be inserted.

    Returns:
      the rows for Peewee. An iterator is not consumed: each row is checked when Peewee reads it.

    Raises:
      TypeError: a row has a file.
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
    """The fields in which a row names files, by name, each with its mounted column."""
    return {
        name: mount
        for mount in mounts_of(model)
        for name in (mount.name, f"{mount.name}_tmp")
        if name in mount.columns
    }


def check(model: Any, row: Mapping[Any, Any]) -> None:
    """Check a row that is to be inserted.

    Raises:
      TypeError: it has a file.
    """
    _check(model, row, _files_of(model))


def _check(model: Any, row: Mapping[Any, Any], files: Mapping[str, Any]) -> None:
    for key, value in row.items():
        field = key if isinstance(key, Field) else model._meta.combined.get(key)
        if field is not None and field.name in files and value:
            raise files[field.name].query_refused()
