"""Checks the queries that write rows without `save()`, on models with mounted columns.

A query is refused if it would make two rows name the same file, or if it is given a source that
only an uploader can read. So is an expression, such as another column or a subquery: nobody knows
what it will be. `HasUploads` makes its queries here. The framework's own queries run within
`saving()`, which lifts the checks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import peewee
from peewee import Field, Node

from gifster.uploads.columns.column import mounts_of

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


class Insert(peewee.ModelInsert):
    """Peewee's query, whose `on_conflict()` cannot write files either."""

    @classmethod
    def of(cls, query: peewee.ModelInsert) -> peewee.ModelInsert:
        """The same query as Peewee's; one of a class of the application's stays as it is."""
        if type(query) is not peewee.ModelInsert:
            return query
        found = cls.__new__(cls)
        found.__dict__.update(query.__dict__)  # as Peewee copies its queries
        return found

    def on_conflict(self, *arguments: Any, **options: Any) -> Any:
        query: Any = super().on_conflict(*arguments, **options)
        found = query._on_conflict
        if found is not None and found._update and not _saving.get():
            check(query.model, found._update)
        return query


def insert(
    model: Any, query: Query[peewee.ModelInsert], data: Any = None, /, **values: Any
) -> peewee.ModelInsert:
    """`insert()` of a model; `query` is Peewee's.

    Raises:
      TypeError: a row has a file.
    """
    if not mounts_of(model) or _saving.get():
        return query(data, **values)
    row = model._normalize_data(data, values)
    if isinstance(row, Mapping):
        check(model, row)
    elif isinstance(row, Node):  # rows of a query, for all columns of the table
        check(model, dict.fromkeys(model._meta.sorted_fields, row))
    else:  # Peewee also accepts several rows here.
        return Insert.of(query(checked(model, row, ())))
    return Insert.of(query(data, **values))


def update(model: Any, query: Query[Q], data: Any = None, /, **values: Any) -> Q:
    """`update()` of a model; `query` is Peewee's.

    Raises:
      TypeError: it has a file.
    """
    if mounts_of(model) and not _saving.get():
        check(model, model._normalize_data(data, values))
    return query(data, **values)


def insert_many(
    model: Any, query: Query[peewee.ModelInsert], rows: Iterable[Any], fields: Any = None
) -> peewee.ModelInsert:
    """`insert_many()` of a model; `query` is Peewee's.

    Raises:
      TypeError: a row has a file.
    """
    if not mounts_of(model):
        return query(rows, fields)
    return Insert.of(query(checked(model, rows, fields or ()), fields))


def insert_from(
    model: Any, query: Query[peewee.ModelInsert], source: Any, fields: Iterable[Any]
) -> peewee.ModelInsert:
    """`insert_from()` of a model; `query` is Peewee's.

    Raises:
      TypeError: a mounted column is among the fields.
    """
    fields = list(fields)
    check(model, dict.fromkeys(fields or model._meta.sorted_fields, True))
    return Insert.of(query(source, fields))


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
    """Check the values that a query is to write into a row.

    Raises:
      TypeError: it has a file.
    """
    _check(model, row, _files_of(model))


def _check(model: Any, row: Mapping[Any, Any], files: Mapping[str, Any]) -> None:
    for key, value in row.items():
        field = key if isinstance(key, Field) else model._meta.combined.get(key)
        # Nobody may ask a query whether it is true: it would run.
        if field is not None and field.name in files and (isinstance(value, Node) or value):
            raise files[field.name].query_refused()
