"""What `save()` does on a model with mounted columns.

A save writes what was assigned in one transaction with its job, and leaves the other mounted
columns alone: a stale record, loaded before a worker stored its file, cannot undo the worker's
write. A job of the same transaction removes the files that the row detaches. After a rollback the
uploads are assigned again, for the next save (`outcome.py`).
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import peewee

from gifster.jobs import transaction
from gifster.uploads.attaching.attacher import Attacher, Values
from gifster.uploads.attaching.outcome import follow, settle
from gifster.uploads.attaching.saved import Change, Saved
from gifster.uploads.columns import bulk
from gifster.uploads.columns.column import mounts_of
from gifster.uploads.columns.record import uploads_of
from gifster.uploads.columns.rows import (
    Record,
    check_outbox,
    locked_row,
    locking_transaction,
    real_database,
)


def save(
    record: Record, force_insert: bool, only: Iterable[Any] | None, save_row: Callable[..., Any]
) -> int:
    """Save a record, with what was assigned to its mounted columns or removed from them.

    Parameters:
      force_insert, only: as for Peewee's `save()`.
      save_row: writes the row, given these two.

    Returns:
      what `save_row` returns; 0 if there is nothing to write.
    """
    settle(record)
    attachers = [mount.attacher(record) for mount in mounts_of(record)]
    creating = force_insert or record._pk is None
    wanted = _names(record, only)
    attachers = [attacher for attacher in attachers if attacher.mount.name in wanted]
    for attacher in attachers:
        attacher.prepare(creating=creating)
    changed = [attacher for attacher in attachers if attacher.changed]
    if not creating:
        left_alone = {name for mount in mounts_of(record) for name in mount.columns}
        left_alone |= {field.name for field in record._meta.get_primary_keys()}
        only = [name for name in wanted if name not in left_alone]
        only += _columns(changed)
        if not only:
            return 0
    elif only is not None:
        only = wanted + _columns(changed)
    result: int = _write(
        record, changed, creating, lambda: save_row(force_insert=force_insert, only=only)
    )
    # A base class's save() or a signal's receiver may have assigned something while saving.
    late = [attacher for attacher in attachers if attacher.changed]
    if late:
        for attacher in late:
            attacher.prepare(creating=False)
        _write(record, late, False, lambda: peewee.Model.save(record, only=_columns(late)))
    return result


def bulk_create(
    model: Any, create: Callable[..., Any], records: Iterable[Any], batch_size: int | None = None
) -> None:
    """Insert records with `create`, Peewee's method; if one has an upload, save each instead, in
    one transaction."""
    if not mounts_of(model):
        create(records, batch_size)
        return
    records = list(records)
    if not any(mount.attacher(r).has_files for r in records for mount in mounts_of(model)):
        create(records, batch_size)
        return
    with transaction(model._meta.database):
        for record in records:
            record.save(force_insert=True)


def bulk_update(
    model: Any,
    update: Callable[..., Any],
    records: Iterable[Any],
    fields: Iterable[Any],
    batch_size: int | None = None,
) -> int:
    """Update records with `update`, Peewee's method; save each that has a new upload, all in one
    transaction."""
    if not mounts_of(model):
        return int(update(records, fields, batch_size))
    records = list(records)
    chosen = [model._meta.combined[f] if isinstance(f, str) else f for f in fields]
    names = {field.name for field in chosen}  # a field's == makes an expression
    mounts = [mount for mount in mounts_of(model) if mount.name in names]
    uploads = {name for mount in mounts_of(model) for name in mount.columns}
    plain = [field for field in chosen if field.name not in uploads]
    changed = [r for r in records if any(m.attacher(r).changed for m in mounts)]
    others = [record for record in records if all(record is not one for one in changed)]
    with transaction(model._meta.database):
        updated = sum(record.save(only=[*plain, *mounts]) for record in changed)
        if plain and others:
            updated += update(others, plain, batch_size)
    return int(updated)


def _write(
    record: Record, changed: list[Attacher[Any]], creating: bool, save_row: Callable[[], Any]
) -> Any:
    """Write a row, with the changes to these columns."""
    changes = [Change(attacher) for attacher in changed]
    saved = Saved(record, changes, creating=creating)
    within = (changes or creating) and real_database(record._meta.database).in_transaction()
    # This comes before the jobs are enqueued: callbacks run in order, and the outcome must be known
    # before the jobs are sent.
    followed = within and follow(record)
    if changes:
        check_outbox(type(record))
        result = _write_changes(saved, creating, save_row)
    else:
        with bulk.saving():
            result = save_row()
    saved.finish()
    if followed:
        uploads_of(record).open.append(saved)
    else:
        saved.committed()
    return result


def _write_changes(saved: Saved, creating: bool, save_row: Callable[[], Any]) -> Any:
    record, changes = saved.record, saved.changes
    database = real_database(record._meta.database)

    def lock() -> Values | None:
        return None if creating else _present_row(record).__data__

    with ExitStack() as resources:
        for change in changes:
            for incoming in change.incoming:
                incoming.prepare(resources)
        begun = False
        try:
            with locking_transaction(database, lock) as before:
                begun = True
                for change in changes:
                    change.before = before
                    change.attacher.write(before, change.incoming)
                with bulk.saving():
                    result = save_row()
                for change in changes:
                    _take_in(change)
        except BaseException:
            # Without the lock nothing was changed, and the database may answer nothing more.
            if begun:
                _failed(saved)
            raise
    return result


def _take_in(change: Change) -> None:
    """Store the files or enqueue their jobs: in the transaction, when the row has an id."""
    for incoming in change.incoming:
        if not incoming.deferred:
            change.attacher.add(incoming.store(), later=incoming.background is not None)
            change.attacher.write_columns()
        incoming.written()


def _failed(saved: Saved) -> None:
    """After a `save()` that raised, keep what was assigned, so that it can be saved again.

    If the commit went through, and something failed after it, the save counts as done.
    """
    saved.pk = saved.record._pk
    try:
        undone = saved.is_undone(saved.row(), rolled_back=True)
    except peewee.PeeweeException:
        # The connection was lost, perhaps after the commit: the next save asks.
        saved.finish()
        uploads_of(saved.record).open.append(saved)
        return
    if undone:
        saved.undo()
    else:
        saved.finish()
        saved.committed()


def _columns(attachers: list[Attacher[Any]]) -> list[str]:
    return [name for attacher in attachers for name in attacher.mount.columns]


def _present_row(record: Record) -> Any:
    row = locked_row(record)
    if row is None:
        raise type(record).DoesNotExist(
            f"{type(record).__name__} {record._pk!r} has no row, so nothing was saved (to insert a "
            "new record whose key you have set, use save(force_insert=True))"
        )
    return row


def _names(record: Record, only: Iterable[Any] | None) -> list[str]:
    if only is not None:
        fields = [f if isinstance(f, peewee.Field) else record._meta.combined[f] for f in only]
        return [field.name for field in fields]
    if record._meta.only_save_dirty:
        attached_columns = [mount.name for mount in mounts_of(record)]
        dirty = [name for name in record.dirty_field_names if name not in attached_columns]
        return [*attached_columns, *dirty]
    return [field.name for field in record._meta.sorted_fields]
