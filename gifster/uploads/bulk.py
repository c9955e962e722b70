"""What writes rows past `save()`, on models with mounted columns: record by record where there is
something to do for an upload, and as Peewee does it where there is not. Queries that would have two
rows name one file, or that are handed what only an uploader can take, are refused."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from peewee import Field, Node

from gifster.jobs import transaction
from gifster.uploads.rows import mounts_of

_saving: ContextVar[bool] = ContextVar("gifster_uploads_saving", default=False)


@contextmanager
def saving() -> Iterator[None]:
    """Within the block the framework writes a row, and may write what it likes."""
    token = _saving.set(True)
    try:
        yield
    finally:
        _saving.reset(token)


def teach(model: Any) -> None:
    """Wrap the class methods of a model that write rows past `save()`."""
    bulk_create, bulk_update = model.bulk_create, model.bulk_update
    insert, insert_many, insert_from = model.insert, model.insert_many, model.insert_from
    update = model.update

    def bulk_create_with_uploads(
        cls: Any, model_list: Iterable[Any], batch_size: int | None = None
    ) -> None:
        """As Peewee's; records with uploads are saved one by one, all in one transaction."""
        records = list(model_list)
        if not any(mount.has_files(record) for record in records for mount in mounts_of(cls)):
            bulk_create.__func__(cls, records, batch_size)
            return
        with transaction(cls._meta.database):
            for record in records:
                record.save(force_insert=True)

    def bulk_update_with_uploads(
        cls: Any, model_list: Iterable[Any], fields: Iterable[Any], batch_size: int | None = None
    ) -> int:
        """As Peewee's; records with uploads to be saved are saved one by one, all in one
        transaction."""
        records = list(model_list)
        chosen = [cls._meta.combined[f] if isinstance(f, str) else f for f in fields]
        names = {field.name for field in chosen}  # a field's == makes an expression
        mounts = [mount for mount in mounts_of(cls) if mount.name in names]
        uploads = {name for mount in mounts_of(cls) for name in mount.columns}
        plain = [field for field in chosen if field.name not in uploads]
        changed = [r for r in records if any(mount.of(r).changed for mount in mounts)]
        others = [record for record in records if all(record is not one for one in changed)]
        with transaction(cls._meta.database):
            updated = sum(record.save(only=[*plain, *mounts]) for record in changed)
            if plain and others:
                updated += bulk_update.__func__(cls, others, plain, batch_size)
        return int(updated)

    def insert_checked(cls: Any, data: Any = None, /, **values: Any) -> Any:
        if not _saving.get():
            row = cls._normalize_data(data, values)
            if not isinstance(row, Mapping):  # Peewee takes several here, too
                return insert.__func__(cls, _checked(cls, row, ()))
            _check(cls, row, _files_of(cls))
        return insert.__func__(cls, data, **values)

    def update_checked(cls: Any, data: Any = None, /, **values: Any) -> Any:
        if not _saving.get():
            for field, value in cls._normalize_data(data, values).items():
                if hasattr(field, "past_the_uploader") and value and not isinstance(value, Node):
                    raise field.past_the_uploader()
        return update.__func__(cls, data, **values)

    def insert_many_checked(cls: Any, rows: Iterable[Any], fields: Any = None) -> Any:
        return insert_many.__func__(cls, _checked(cls, rows, fields or ()), fields)

    def insert_from_checked(cls: Any, query: Any, fields: Iterable[Any]) -> Any:
        fields = list(fields)
        _check(cls, dict.fromkeys(fields, True), _files_of(cls))
        return insert_from.__func__(cls, query, fields)

    model.bulk_create = classmethod(bulk_create_with_uploads)
    model.bulk_update = classmethod(bulk_update_with_uploads)
    model.insert = classmethod(insert_checked)
    model.update = classmethod(update_checked)
    model.insert_many = classmethod(insert_many_checked)
    model.insert_from = classmethod(insert_from_checked)


def _checked(model: Any, rows: Any, fields: Iterable[Any]) -> Any:
    """The rows, looked at: at once if they are all there, else each before Peewee takes it."""
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


def _check(model: Any, row: Mapping[Any, Any], files: Mapping[str, Any]) -> None:
    """Raises `TypeError` if a row that is to be inserted has a file."""
    for key, value in row.items():
        field = key if isinstance(key, Field) else model._meta.combined.get(key)
        if field is not None and field.name in files and value:
            raise files[field.name].past_the_uploader()
