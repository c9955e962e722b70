"""What `save()` does on a model with mounted columns.

What was assigned is written in one transaction with its job. What was not assigned is left alone: a
record that was loaded before a worker stored its file, and is saved for another reason, cannot undo
what the worker did. Files that a row detaches are removed by a job of the same transaction. What a
rollback takes back is assigned again (`outcome.py`).
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import peewee

from gifster.jobs import transaction
from gifster.uploads import bulk
from gifster.uploads.attacher import Attacher
from gifster.uploads.changes import Change
from gifster.uploads.column import mounts_of
from gifster.uploads.outcome import Saved, follow, settle
from gifster.uploads.record import uploads_of
from gifster.uploads.rows import Record, check_outbox, locked_row, real_database
from gifster.uploads.uploader_list import ListAttacher


def attacher_of(record: Record, mount: Any) -> Attacher[Any]:
    """The attacher of a record's mounted column."""
    return (ListAttacher if mount.many else Attacher)(record, mount)


def save(
    record: Record, force_insert: bool, only: Iterable[Any] | None, save_row: Callable[..., Any]
) -> Any:
    """Save a record, and what was decided about its uploads.

    Parameters:
      force_insert, only: as for Peewee's `save()`.
      save_row: what writes the row, with these two.
    """
    settle(record)
    attachers = [attacher_of(record, mount) for mount in mounts_of(record)]
    creating = force_insert or record._pk is None
    wanted = _names(record, only)
    attachers = [attacher for attacher in attachers if attacher.mount.name in wanted]
    for attacher in attachers:
        attacher.prepare(creating=creating)
    changed = [attacher for attacher in attachers if attacher.changed]
    if not creating:
        hands_off = {name for mount in mounts_of(record) for name in mount.columns}
        hands_off |= {field.name for field in record._meta.get_primary_keys()}
        only = [name for name in wanted if name not in hands_off]
        only += _columns(changed)
        if not only:
            return 0
    elif only is not None:
        only = wanted + _columns(changed)
    result = _write(
        record, changed, creating, lambda: save_row(force_insert=force_insert, only=only)
    )
    # A parent's save(), or a signal's receiver, may have assigned something on the way.
    late = [attacher for attacher in attachers if attacher.changed]
    if late:
        for attacher in late:
            attacher.prepare(creating=False)
        _write(record, late, False, lambda: peewee.Model.save(record, only=_columns(late)))
    return result


def delete(record: Record, delete_row: Callable[[], Any]) -> Any:
    """Delete a record, and detach its files."""
    with transaction(record._meta.database):
        row = locked_row(record)
        deleting = Saved(record, [], deleting=True)
        deleted = delete_row()
        # A model that only marks its rows as deleted keeps their files.
        if row is not None and locked_row(record) is None:
            for mount in mounts_of(row):
                attacher_of(row, mount).detach(mount.stored_files(row))
            if uploads_of(record).open:
                uploads_of(record).open.append(deleting)
    return deleted


def _write(
    record: Record, changed: list[Attacher[Any]], creating: bool, save_row: Callable[[], Any]
) -> Any:
    """Write a row and what was decided about these columns."""
    changes = [Change(attacher) for attacher in changed]
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
        uploads_of(record).open.append(saved)
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
        uploads_of(saved.record).open.append(saved)
        return
    if undone:
        saved.undo()
    else:
        saved.taken()
        saved.committed()


def _columns(attachers: list[Attacher[Any]]) -> list[str]:
    return [name for attacher in attachers for name in attacher.mount.columns]


def _present_row(record: Record) -> Any:
    row = locked_row(record)
    if row is None:
        raise type(record).DoesNotExist(
            f"there is no row of {type(record).__name__} {record._pk!r}: nothing was saved "
            "(a new record with a key of its own is saved with force_insert=True)"
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
