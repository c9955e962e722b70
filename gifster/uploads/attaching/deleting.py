"""What deleting rows does on a model with mounted columns: their files go, too.

`Model.delete()` is a query. Peewee's `delete_instance(recursive=True)` deletes children with such
queries, so the children's files go whether or not the parent has uploads. All of it is in one
transaction with the jobs that delete the files; a rollback keeps rows and files.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import peewee

from gifster.jobs import transaction
from gifster.uploads.attaching.list_attacher import attacher_of
from gifster.uploads.attaching.saved import Saved
from gifster.uploads.columns.column import mounts_of
from gifster.uploads.columns.record import uploads_of
from gifster.uploads.columns.rows import Record, locked_row, real_database, select

#: The record that `delete_instance()` deletes now: its model and its primary key.
_deleting: ContextVar[tuple[Any, Any] | None] = ContextVar("gifster_uploads_deleting", default=None)


def delete(
    record: Record, delete_instance: Callable[..., int], *arguments: Any, **options: Any
) -> int:
    """Delete a record, and detach its files, unless its model only marks the row as deleted.

    Parameters:
      delete_instance: Peewee's method, or one that the model overrides; gets `arguments` and
        `options`.
    """
    if not mounts_of(record):
        if not (arguments or options) or not _children_with_uploads(record):
            return delete_instance(*arguments, **options)
        with transaction(record._meta.database):
            return delete_instance(*arguments, **options)
    with transaction(record._meta.database):
        row = locked_row(record)
        deleting = Saved(record, [], deleting=True)
        with _is_deleted(record):
            deleted = delete_instance(*arguments, **options)
        # With soft deletion the row is still there, and keeps its files.
        if row is not None and locked_row(record) is None:
            _detach_all(row)
            if uploads_of(record).open:
                uploads_of(record).open.append(deleting)
    return deleted


def _children_with_uploads(record: Any) -> bool:
    return any(mounts_of(key.model) for _, key in record.dependencies())


@contextmanager
def _is_deleted(record: Record) -> Iterator[None]:
    token = _deleting.set((type(record), record._pk))
    try:
        yield
    finally:
        _deleting.reset(token)


def _detach_all(row: Record) -> None:
    for mount in mounts_of(row):
        attacher = attacher_of(row, mount)
        attacher.detach(mount.stored_files(row), deleting=True)
        attacher.drop(mount.pending(row), row.__data__)


def delete_query(model: Any, query: Callable[[], Any]) -> Any:
    """`delete()` of a model; `query` is Peewee's."""
    return DeleteWithFiles(model) if mounts_of(model) else query()


class DeleteWithFiles(peewee.ModelDelete):
    """A query that deletes rows, and detaches their files."""

    if TYPE_CHECKING:  # of Peewee's queries
        _return_cursor: bool
        _where: Any

    def _execute(self, database: Any) -> Any:
        with transaction(real_database(database)):
            if self._return_cursor:  # The caller wants columns of the deleted rows.
                rows, result = self._rows_to_delete(database), self._delete(database)
                result.fill_cache()  # SQLite refuses the jobs while it has rows to give.
            else:
                query: Any = self.clone()
                rows = list(query.returning(self.model)._delete(database))
                result = len(rows)
            for row in rows:
                if _deleting.get() != (self.model, row._pk):  # `delete()` sees to that one.
                    _detach_all(row)
        return result

    def _delete(self, database: Any) -> Any:
        return super()._execute(database)  # type: ignore[misc]

    def _rows_to_delete(self, database: Any) -> list[Any]:
        rows = select(self.model)
        if self._where is not None:
            rows = rows.where(self._where)
        return list(rows.for_update() if database.for_update else rows)
