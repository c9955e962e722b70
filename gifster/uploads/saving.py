"""What `save()` and `delete_instance()` do on a model with mounted columns.

What was assigned is written in one transaction with its job. What was not assigned is left alone: a
record that was loaded before a worker stored its file, and is saved for another reason, cannot undo
what the worker did. Files that a row lets go of are removed by a job of the same transaction.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from gifster.jobs import transaction
from gifster.uploads.changes import Change, ListChange
from gifster.uploads.rows import locked_row


def teach_saving(model: Any) -> None:
    """Wrap `save()` and `delete_instance()` of a model class, once in a line of inheritance."""
    if getattr(model, "_saves_uploads", False):
        return
    model._saves_uploads = True
    save, delete_instance = model.save, model.delete_instance

    def save_with_uploads(
        record: Any, force_insert: bool = False, only: Iterable[Any] | None = None
    ) -> Any:
        mounts = _mounts(record)
        creating = force_insert or record._pk is None
        wanted = _names(record, only)
        changed = [mount for mount in mounts if mount.name in wanted and mount.of(record).changed]
        if not creating:
            hands_off = {name for mount in mounts for name in mount.columns}
            hands_off |= {field.name for field in record._meta.get_primary_keys()}
            only = [name for name in wanted if name not in hands_off]
            only += [name for mount in changed for name in mount.columns]
            if not only:
                return 0
        if changed:
            return _save(record, changed, creating, lambda: save(record, force_insert, only))
        return save(record, force_insert, only)

    def delete_with_uploads(record: Any, *arguments: Any, **options: Any) -> Any:
        with transaction(record._meta.database):
            row = locked_row(record)
            deleted = delete_instance(record, *arguments, **options)
            if row is not None:
                for mount in _mounts(row):
                    _change(row, mount).let_go(mount.stored_files(row))
        return deleted

    model.save, model.delete_instance = save_with_uploads, delete_with_uploads


def _save(record: Any, changed: list[Any], creating: bool, save_row: Callable[[], Any]) -> Any:
    changes = [_change(record, mount) for mount in changed]
    with ExitStack() as resources:
        for change in changes:
            for incoming in change.incoming:
                incoming.prepare(resources)
        try:
            with transaction(record._meta.database):
                before = {} if creating else _present_row(record).__data__
                for change in changes:
                    change.write(before)
                saved = save_row()
                for change in changes:
                    change.written()
        except BaseException:
            for change in changes:
                change.undo()
            raise
    for change in changes:
        change.saved()
    return saved


def _change(record: Any, mount: Any) -> Change:
    return (ListChange if mount.many else Change)(record, mount)


def _mounts(record: Any) -> list[Any]:
    return [field for field in record._meta.sorted_fields if hasattr(field, "stored_files")]


def _present_row(record: Any) -> Any:
    row = locked_row(record)
    if row is None:
        raise type(record).DoesNotExist(f"{record!r} is gone: nothing was saved")
    return row


def _names(record: Any, only: Iterable[Any] | None) -> list[str]:
    if only is not None:
        return [field if isinstance(field, str) else field.name for field in only]
    if record._meta.only_save_dirty:
        attached = [mount.name for mount in _mounts(record)]
        return [*attached, *(name for name in record.dirty_field_names if name not in attached)]
    return [field.name for field in record._meta.sorted_fields]
