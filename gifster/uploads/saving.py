"""What `save()` and `delete_instance()` do on a model with mounted columns.

What was assigned is written in one transaction with its job. What was not assigned is left alone: a
record that was loaded before a worker stored its file, and is saved for another reason, cannot undo
what the worker did. Files that a row lets go of are removed by a job of the same transaction. What
a rollback takes back is assigned again (`saved.py`).
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import peewee

from gifster.jobs import transaction
from gifster.uploads import bulk
from gifster.uploads.attached import attached
from gifster.uploads.changes import Change, ListChange
from gifster.uploads.rows import check_model, check_outbox, locked_row, mounts_of, real_database
from gifster.uploads.saved import Saved, follow, settle


def teach_saving(model: Any) -> None:
    """Wrap what writes rows of a model class, once in a line of inheritance."""
    if getattr(model, "_saves_uploads", False):
        return
    model._saves_uploads = True
    save, delete_instance, validate = model.save, model.delete_instance, model.validate_model

    def save_with_uploads(
        record: Any, force_insert: bool = False, only: Iterable[Any] | None = None, **options: Any
    ) -> Any:
        with attached(record).saving(record):
            return _save(record, force_insert, only, partial(save, record, **options))

    def delete_with_uploads(record: Any, *arguments: Any, **options: Any) -> Any:
        with transaction(record._meta.database):
            row = locked_row(record)
            deleting = Saved(record, [], deleting=True)
            deleted = delete_instance(record, *arguments, **options)
            # A model that only marks its rows as deleted keeps their files.
            if row is not None and locked_row(record) is None:
                for mount in mounts_of(row):
                    _change(row, mount).let_go(mount.stored_files(row))
                if attached(record).open:
                    attached(record).open.append(deleting)
        return deleted

    def validate_model(cls: Any) -> None:
        validate()
        check_model(cls)

    model.save, model.delete_instance = save_with_uploads, delete_with_uploads
    model.validate_model = classmethod(validate_model)
    bulk.teach(model)


def _save(
    record: Any, force_insert: bool, only: Iterable[Any] | None, save: Callable[..., Any]
) -> Any:
    settle(record)
    mounts = mounts_of(record)
    creating = force_insert or record._pk is None
    wanted = _names(record, only)
    for mount in mounts:
        if mount.name in wanted:
            mount.prepare(record, creating=creating)
    changed = [mount for mount in mounts if mount.name in wanted and mount.of(record).changed]
    if not creating:
        hands_off = {name for mount in mounts for name in mount.columns}
        hands_off |= {field.name for field in record._meta.get_primary_keys()}
        only = [name for name in wanted if name not in hands_off]
        only += _columns(changed)
        if not only:
            return 0
    elif only is not None:
        only = wanted + _columns(changed)
    result = _write(record, changed, creating, lambda: save(force_insert=force_insert, only=only))
    # The model's own save(), or a signal's receiver, may have assigned something on the way.
    late = [mount for mount in mounts if mount.name in wanted and mount.of(record).changed]
    if late:
        for mount in late:
            mount.prepare(record, creating=False)
        _write(record, late, False, lambda: peewee.Model.save(record, only=_columns(late)))
    return result


def _write(record: Any, changed: list[Any], creating: bool, save_row: Callable[[], Any]) -> Any:
    """Write a row and what was decided about these columns."""
    changes = [_change(record, mount) for mount in changed]
    saved = Saved(record, changes, creating=creating)
    within = (changes or creating) and real_database(record._meta.database).in_transaction()
    # Before the jobs, so that it knows the outcome before these are sent.
    followed = within and follow(record)
    if changes:
        check_outbox(type(record))
        result = _write_changes(saved, creating, save_row)
    else:
        with bulk.saving():
            result = save_row()
    saved.taken()
    if followed:
        attached(record).open.append(saved)
    else:
        saved.committed()
    return result


def _write_changes(saved: Saved, creating: bool, save_row: Callable[[], Any]) -> Any:
    record, changes = saved.record, saved.changes
    with ExitStack() as resources:
        for change in changes:
            for incoming in change.incoming:
                incoming.prepare(resources)
        try:
            with transaction(record._meta.database):
                before = None if creating else _present_row(record).__data__
                for change in changes:
                    change.write(before)
                with bulk.saving():
                    result = save_row()
                for change in changes:
                    change.written()
        except BaseException:
            _failed(saved)
            raise
    return result


def _failed(saved: Saved) -> None:
    """A `save()` has raised: what was assigned stays, to be saved again, unless the commit went
    through and what failed came after it."""
    saved.pk = saved.record._pk
    try:
        undone = saved.is_undone(saved.row(), rolled_back=True)
    except peewee.PeeweeException:
        # The connection was lost, perhaps after the commit: the next save asks.
        saved.taken()
        attached(saved.record).open.append(saved)
        return
    if undone:
        saved.undo()
    else:
        saved.taken()
        saved.committed()


def _columns(mounts: list[Any]) -> list[str]:
    return [name for mount in mounts for name in mount.columns]


def _change(record: Any, mount: Any) -> Change:
    return (ListChange if mount.many else Change)(record, mount)


def _present_row(record: Any) -> Any:
    row = locked_row(record)
    if row is None:
        raise type(record).DoesNotExist(
            f"there is no row of {type(record).__name__} {record._pk!r}: nothing was saved "
            "(a new record with a key of its own is saved with force_insert=True)"
        )
    return row


def _names(record: Any, only: Iterable[Any] | None) -> list[str]:
    if only is not None:
        fields = [f if isinstance(f, peewee.Field) else record._meta.combined[f] for f in only]
        return [field.name for field in fields]
    if record._meta.only_save_dirty:
        attached_columns = [mount.name for mount in mounts_of(record)]
        dirty = [name for name in record.dirty_field_names if name not in attached_columns]
        return [*attached_columns, *dirty]
    return [field.name for field in record._meta.sorted_fields]
