"""The files that the rows of all models name, in any database that has the models' tables.

A backup reads them in one transaction, so that they are the files of one moment. It reads columns,
not records, as the sweep does (`reading.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import peewee

from gifster.uploads.columns.rows import bare_record
from gifster.uploads.mount import Mount, all_mounts, is_beside_outbox
from gifster.uploads.sweep.reading import any_text, streamed


@dataclass(frozen=True)
class NamedFile:
    """A file that a row names.

    Attributes:
      storage, key: the name of its storage, and its key there.
      sha256: of its content, in hexadecimal; empty if an earlier release stored it.
      row: the row, for people: table, primary key and column.
    """

    storage: str
    key: str
    sha256: str
    row: str


def named_files(
    database: peewee.Database, *, waiting: bool, unreadable: list[str]
) -> Iterator[NamedFile]:
    """The files that rows of the outbox's database name, those of a row one after the other.

    Parameters:
      database: reads there, on this thread's connection and in its transaction.
      waiting: the cached files that wait to be stored; otherwise the stored ones.
      unreadable: gets a text for each row that cannot be read, as a later release wrote it, or
        something else than the framework.
    """
    for mount in all_mounts():
        column = mount.companion("tmp") if waiting else mount
        if column is not None and is_beside_outbox(mount.model):
            yield from _named(database, mount, column, unreadable)


def _named(
    database: peewee.Database, mount: Mount[Any], column: peewee.Field, unreadable: list[str]
) -> Iterator[NamedFile]:
    model = mount.model
    keys = model._meta.get_primary_keys()
    query: Any = peewee.ModelSelect(model, [*keys, column]).where(column.is_null(False))
    sql, values = database.get_sql_context().sql(query).query()
    with any_text(database):
        for row in streamed(database, sql, values):
            pk = ",".join(str(part) for part in row[: len(keys)])
            name = f"{model._meta.table_name} {pk} {mount.name}"
            try:
                yield from list(_files_of(mount, column, row[-1], name))
            except Exception as error:  # noqa: BLE001 reported by the caller
                unreadable.append(f"{name}: {error!r}")


def _files_of(
    mount: Mount[Any], column: peewee.Field, value: object, row: str
) -> Iterator[NamedFile]:
    record = bare_record(mount.model, {column.name: column.python_value(value)})
    for cached in mount.pending(record):
        yield NamedFile(cached.storage, cached.key, cached.sha256, row)
    for stored in mount.stored_files(record):
        yield NamedFile(stored.storage, stored.key, stored.sha256, row)
        for version in stored.versions.values():
            yield NamedFile(version.storage, version.key, version.sha256, row)
