"""What deleting rows does on a model with mounted columns: their files go, too.

`Model.delete()` is a query. Peewee's `delete_instance(recursive=True)` deletes children with such
queries, so the children's files go whether or not the parent has uploads. All of it is in one
transaction with the jobs that delete the files; a rollback keeps rows and files.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import peewee

from gifster.uploads.attaching.saved import Saved
from gifster.uploads.columns.column import mounts_of
from gifster.uploads.columns.record import uploads_of
from gifster.uploads.columns.rows import (
    Record,
    database_of,
    locking,
    locking_transaction,
    read_by_columns,
    real_database,
    select,
)
from gifster.uploads.uploader import Uploader

logger = logging.getLogger("gifster.uploads")

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
    has_own = bool(mounts_of(record))
    if not has_own and not ((arguments or options) and _children_with_uploads(record)):
        return delete_instance(*arguments, **options)
    database = database_of(record)
    query = locking(select(type(record)).where(record._pk_expr()), to_delete=True)
    if not has_own:
        with locking_transaction(database, lambda: database.execute(query).close()):
            return delete_instance(*arguments, **options)

    def lock() -> list[tuple[Any, dict[str, Exception]]]:
        return read_by_columns(type(record), database.execute(query))

    with locking_transaction(database, lock) as rows:
        deleting = Saved(record, [], deleting=True)
        with _is_deleted(record):
            deleted = delete_instance(*arguments, **options)
        # With soft deletion the row is still there, and keeps its files.
        if rows and not database.execute(query).fetchall():
            _detach_all(*rows[0])
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


def _detach_all(row: Record, unreadable: dict[str, Exception]) -> None:
    """Detach the files of a deleted row. Those that it named in a column that cannot be read are
    left to the sweep, which finds them when no row names them.

    Parameters:
      unreadable: these columns, by name, with the reason.
    """
    for name, error in unreadable.items():
        table = row._meta.table_name
        said = "deleted, and its files left to the sweep: table=%s id=%s column=%s reason=%s"
        logger.warning(said, table, row._pk, name, error)
    for mount in mounts_of(row):
        if mount.name in unreadable and _may_refuse(mount.uploader):
            raise unreadable[mount.name]
        attacher = mount.attacher(row)
        attacher.detach(mount.stored_files(row), deleting=True)
        attacher.drop(mount.pending(row), row.__data__)


def _may_refuse(uploader: type[Uploader]) -> bool:
    """Whether an uploader has a hook of its own that may keep a file."""
    return uploader.before_remove is not Uploader.before_remove


def delete_query(model: Any, query: Callable[[], Any]) -> Any:
    """`delete()` of a model; `query` is Peewee's."""
    return DeleteWithFiles(model) if mounts_of(model) else query()


class DeleteWithFiles(peewee.ModelDelete):
    """A query that deletes rows, and detaches their files."""

    if TYPE_CHECKING:  # of Peewee's queries
        _return_cursor: bool
        _where: Any
        _cte_list: Any

    def _execute(self, database: Any) -> Any:
        database = real_database(database)

        def lock() -> None:
            if database.for_update:
                keys = self.model._meta.get_primary_keys()
                database.execute(self._rows_to_delete(*keys)).close()

        with locking_transaction(database, lock):
            deleted: Any = self.clone()
            query = self._rows_to_delete() if self._return_cursor else deleted.returning(self.model)
            rows = read_by_columns(self.model, database.execute(query))
            result: Any = len(rows)
            if self._return_cursor:  # The caller wants columns of the deleted rows.
                result = super()._execute(database)  # type: ignore[misc]
                result.fill_cache()  # SQLite refuses the jobs while it has rows to give.
            for row, unreadable in rows:
                if _deleting.get() != (self.model, row._pk):  # `delete()` sees to that one.
                    _detach_all(row, unreadable)
        return result

    def _rows_to_delete(self, *fields: Any) -> Any:
        rows = select(self.model, *fields)
        if self._where is not None:
            rows = rows.where(self._where)
        if self._cte_list:
            rows = rows.with_cte(*self._cte_list)
        return locking(rows, to_delete=True)
