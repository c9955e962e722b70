"""What `save()` and `delete_instance()` do on a model with mounted columns.

What was assigned is written in one transaction with its job. What was not assigned is left alone: a
record that was loaded before a worker stored its file, and is saved for another reason, cannot undo
what the worker did. Files that a row lets go of are removed by a job of the same transaction.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import peewee

from gifster.jobs import transaction
from gifster.uploads.cache import CachedFile
from gifster.uploads.processing import ProcessedFile
from gifster.uploads.storage.base import StorageUnavailable
from gifster.uploads.stored import StoredFile, delete_files
from gifster.uploads.uploader import Uploader

logger = logging.getLogger("gifster.uploads")


class Incoming:
    """One assigned upload, on its way through a `save()`."""

    def __init__(self, uploader: Uploader, cached: CachedFile) -> None:
        self.uploader, self.cached = uploader, cached
        self.background = uploader.background
        self.stored: StoredFile | None = None
        self._files: list[ProcessedFile] = []

    @property
    def deferred(self) -> bool:
        """Whether storing it is left to a worker."""
        return self.background is not None and self.background.stores

    def prepare(self, resources: ExitStack) -> None:
        """Before the transaction: the slow part that needs no row."""
        if self.deferred:
            return
        path = resources.enter_context(self.cached.on_disk())
        later = self.background is not None
        if not later:
            self.uploader.before_process(self.cached.info)
        self._files = resources.enter_context(
            self.uploader.process(
                path, self.cached.info, steps=not later, versions=() if later else None
            )
        )
        if not later:
            self.uploader.after_process(self._files)

    def store(self) -> StoredFile:
        """In the transaction, when the row has an id."""
        planned = self.uploader.plan(self._files, self.cached)
        self.stored = replace(planned, unprocessed=self.background is not None)
        self.uploader.store(self._files, self.stored)
        return self.stored

    def written(self) -> None:
        """In the transaction, when the row has been written."""
        if self.stored is not None:
            self.uploader.after_store(self.stored)
        if self.background is not None:
            self.background.enqueue(self.uploader, self.stored or self.cached)

    def undo(self) -> None:
        """After a transaction that failed. What was assigned stays, to be saved again."""
        if self.stored is not None:
            _quietly(delete_files, self.stored.files)
            self.stored = None

    def committed(self) -> None:
        """After the commit. A cached file that waits for a worker is left to it."""
        if self.stored is not None:
            _quietly(self.cached.delete)

    def rolled_back(self) -> None:
        """After the rollback of a transaction around `save()`: nothing is to be left."""
        self.undo()
        _quietly(self.cached.delete)


class Change:
    """What saving a record does to one mounted column."""

    def __init__(self, record: Any, mount: Any) -> None:
        self.record, self.mount = record, mount
        self.incoming = [
            Incoming(uploader, uploader.assigned)
            for uploader in self._uploaders()
            if uploader.assigned is not None
        ]

    def _uploaders(self) -> Iterable[Uploader]:
        return [self.mount.of(self.record)]

    def write(self, before: dict[str, Any]) -> None:
        """In the transaction, before the row is written.

        Parameters:
          before: the columns of the row as it is now, by name; empty for a new one.
        """
        stored = before.get(self.mount.name)
        if self.incoming and self.incoming[0].deferred:
            # The stored file of before stays until the new one is. A cached file of before is
            # removed by its own job, which will find that it has been overtaken.
            tmp = self.incoming[0].cached
            self._set(stored=stored, tmp=tmp, processing=True, state="queued", error=None)
        else:
            self.let_go([] if stored is None else [stored])
            self._set(stored=None, tmp=None, processing=False, state=None, error=None)

    def written(self) -> None:
        """In the transaction, after the row is written and has an id."""
        for incoming in self.incoming:
            if not incoming.deferred:
                self._update(incoming.store(), incoming.background is not None)
            incoming.written()

    def _update(self, stored: StoredFile, later: bool) -> None:
        self._set(stored=stored, processing=later, state="queued" if later else "ready")
        self._write_columns()

    def saved(self) -> None:
        """When `save()` is through."""
        self.mount.reset(self.record)
        database = real_database(self.record._meta.database)
        nested = database.in_transaction()
        for incoming in self.incoming:
            if nested:
                _when_rolled_back(database, incoming.rolled_back)
            database.after_commit(lambda i=incoming: self._committed(i, nested))

    def _committed(self, incoming: Incoming, nested: bool) -> None:
        if nested and not self._names(incoming):  # a savepoint was rolled back
            incoming.rolled_back()
        else:
            incoming.committed()

    def _names(self, incoming: Incoming) -> bool:
        try:
            row = type(self.record).get_or_none(self.record._pk_expr())
        except peewee.PeeweeException:
            return True  # so it seems: the sweep will see
        key = incoming.cached.key if incoming.stored is None else incoming.stored.key
        named = [] if row is None else [*self.mount.pending(row), *self.mount.stored_files(row)]
        return any(key in (item.key, getattr(item, "source", "")) for item in named)

    def undo(self) -> None:
        """After a transaction that failed."""
        for incoming in self.incoming:
            incoming.undo()

    def let_go(self, files: list[StoredFile]) -> None:
        """The row names these stored files no longer."""
        for stored in files:
            uploader = self.mount.uploader_of(self.record, stored)
            uploader.before_remove(stored)
            uploader.discard(stored.files)

    def _set(self, **values: Any) -> None:
        self.record.__data__.update(self.mount.values(**values))

    def _write_columns(self) -> None:
        values = {name: self.record.__data__.get(name) for name in self.mount.columns}
        type(self.record).update(**values).where(self.record._pk_expr()).execute()


class ListChange(Change):
    """The same for a list-valued column."""

    def _uploaders(self) -> Iterable[Uploader]:
        return list(self.mount.of(self.record))

    def write(self, before: dict[str, Any]) -> None:
        stored: list[StoredFile] = list(before.get(self.mount.name) or [])
        pending: list[CachedFile] = list(before.get(f"{self.mount.name}_tmp") or [])
        uploaders = self.mount.of(self.record)
        order = {self._key(uploader): place for place, uploader in enumerate(uploaders)}
        arrivals = {incoming.cached.key: incoming for incoming in self.incoming}

        def keeps(item: CachedFile | StoredFile) -> bool:
            names = {item.key, getattr(item, "source", item.key)}
            return not names & uploaders.known or bool(names & set(order))

        def placed(item: Any) -> Any:
            source = getattr(item, "source", item.key)
            return replace(item, position=order.get(item.key, order.get(source, len(order))))

        self.let_go([item for item in stored if not keeps(item)])
        waiting = [placed(item) for item in pending if keeps(item)]
        for key, incoming in arrivals.items():
            incoming.cached = replace(incoming.cached, position=order[key])
            if incoming.deferred:
                waiting.append(incoming.cached)
        kept = sorted((placed(item) for item in stored if keeps(item)), key=_position)
        state = "queued" if waiting else "ready" if kept or self.incoming else None
        self._set(stored=kept, tmp=waiting, processing=bool(waiting), state=state, error=None)

    def _update(self, stored: StoredFile, later: bool) -> None:
        column = self.mount.name
        files = sorted([*self.record.__data__[column], stored], key=_position)
        self._set(stored=files)
        if later:
            self._set(processing=True, state="queued")
        self._write_columns()

    @staticmethod
    def _key(uploader: Uploader) -> str:
        item = uploader.assigned or uploader.item
        return item.key if item is not None else ""


def _position(item: CachedFile | StoredFile) -> int:
    return item.position


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


def _when_rolled_back(database: Any, undo: Callable[[], None]) -> None:
    """Peewee has callbacks for a commit, none for a rollback: so we listen to the outermost
    transaction, in which we are."""
    outermost = database._state.transactions[0]
    rollback = outermost.rollback

    def rollback_and_undo(*arguments: Any, **options: Any) -> None:
        rollback(*arguments, **options)
        undo()

    outermost.rollback = rollback_and_undo


def _quietly(remove: Callable[..., None], *arguments: Any) -> None:
    """Remove files when the decision has fallen: what fails is left to the sweep."""
    try:
        remove(*arguments)
    except (OSError, StorageUnavailable) as error:
        logger.warning("left for the sweep reason=%r", str(error))


def _mounts(record: Any) -> list[Any]:
    return [field for field in record._meta.sorted_fields if hasattr(field, "stored_files")]


def locked_row(record: Any) -> Any:
    """The row as it is now, locked until the transaction ends; None if it is gone.

    SQLite has locked the whole database by then.
    """
    query = type(record).select().where(record._pk_expr())
    locks = real_database(record._meta.database).for_update
    return (query.for_update() if locks else query).get_or_none()


def real_database(database: Any) -> Any:
    """The database itself, where a model names one that is to be set later."""
    return database.obj if isinstance(database, peewee.DatabaseProxy) else database


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
