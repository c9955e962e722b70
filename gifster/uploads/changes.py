"""What saving a record does to one mounted column: the steps, before, in and after the transaction.

`saving.py` calls them. Nothing of the slow part happens while the row is locked; nothing is removed
before the transaction has committed, and what it wrote in vain is removed when it has not.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import peewee

from gifster.uploads.cache import CachedFile
from gifster.uploads.processing import ProcessedFile
from gifster.uploads.rows import real_database
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
        making = resources.enter_context(
            self.uploader.process(
                path, self.cached.info, steps=not later, versions=() if later else None
            )
        )
        self._files = making.all()
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
            self.mount.uploader_of(self.record, stored).let_go(stored)

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
        unfinished = bool(waiting) or any(item.unprocessed for item in kept)
        state = "queued" if unfinished else "ready" if kept or self.incoming else None
        self._set(stored=kept, tmp=waiting, processing=unfinished, state=state, error=None)

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
