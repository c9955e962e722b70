"""What saving a record does to one mounted column: the steps, before, in and after the transaction.

`saving.py` calls them, and `saved.py` when the transaction has ended. Nothing of the slow part
happens while the row is locked. Nothing is removed before the transaction has committed, and what
it wrote in vain is removed when it has not.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from gifster.jobs import Job
from gifster.uploads import bulk
from gifster.uploads.attached import attached
from gifster.uploads.cache import CachedFile
from gifster.uploads.errors import CacheFileMissing, CacheFileTaken
from gifster.uploads.processing import ProcessedFile
from gifster.uploads.storage.base import StorageUnavailable, check_key
from gifster.uploads.stored import StoredFile, delete_files
from gifster.uploads.uploader import Uploader

logger = logging.getLogger("gifster.uploads")


class Incoming:
    """One assigned upload, on its way through a `save()`."""

    def __init__(self, uploader: Uploader, assigned: CachedFile) -> None:
        self.uploader, self.assigned = uploader, assigned
        #: The same as the row has it: with its place in a list, and with no claim on the file.
        self.cached = replace(assigned)
        self.background = uploader.background
        self.stored: StoredFile | None = None
        self.job: Job | None = None
        self._files: list[ProcessedFile] = []

    @property
    def deferred(self) -> bool:
        """Whether storing it is left to a worker."""
        return self.background is not None and self.background.stores

    @property
    def key(self) -> str:
        """The key by which a row names it once it is saved."""
        return self.cached.key if self.stored is None else self.stored.key

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
        else:
            # A worker could only fail at a key that is none, again and again.
            check_key(self.uploader.folder(self.cached))
        if self.deferred and self.assigned.is_shared:
            self._take_shared()
        elif self.background is not None:
            self.job = self.background.enqueue(self.uploader, self.stored or self.cached)

    def _take_shared(self) -> None:
        """Enqueue the job of a file that others may have by the same cache id.

        The outbox holds one job of a name at a time, so the file belongs to one row. That job
        removes the file before it leaves the outbox: if the name is free and the file is there,
        nobody has had it.
        """
        name = hashlib.sha256(f"{self.cached.storage} {self.cached.key}".encode()).hexdigest()[:32]
        if self.background is not None and not Job.select().where(Job.id == name).exists():
            self.job = self.background.enqueue(self.uploader, self.cached, unique=name)
        if self.job is None:
            raise CacheFileTaken("This upload has been used already: choose the file again.")
        if not self.cached.exists():
            raise CacheFileMissing("There is no such upload: choose the file again.")

    def undo(self) -> None:
        """After a rollback. What was assigned stays, to be saved again."""
        if self.stored is not None:
            _quietly(delete_files, self.stored.files)
            self.stored = None

    def committed(self) -> None:
        """After the commit. A cached file that waits for a worker is left to it."""
        self.assigned.release(to_row=True)
        if self.stored is not None:
            _quietly(self.assigned.discard)


class Change:
    """What saving a record does to one mounted column."""

    def __init__(self, record: Any, mount: Any) -> None:
        self.record, self.mount = record, mount
        #: Of the row before, in the transaction: its columns by name; None if there was none.
        self.before: dict[str, Any] | None = None
        #: The same when the save was through; None as long as it is not.
        self.after: dict[str, Any] | None = None
        self._in_hand = {name: record.__dict__["__data__"].get(name) for name in mount.columns}
        self._decided = self._decisions()
        self.incoming = [
            Incoming(uploader, uploader.assigned)
            for uploader in self._uploaders()
            if uploader.assigned is not None
        ]

    def _uploaders(self) -> Iterable[Uploader]:
        return [self.mount.of(self.record)]

    def write(self, before: dict[str, Any] | None) -> None:
        """In the transaction, before the row is written.

        Parameters:
          before: the columns of the row as it is now, by name; None for a new one.
        """
        self.before = before
        stored = (before or {}).get(self.mount.name)
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

    # What the record has in hand, once `save()` is through.

    def taken(self) -> None:
        """What was decided is done. What another thread has decided meanwhile is not."""
        self._remember()
        slot, (assigned, removing) = attached(self.record).slot(self.mount.name), self._decided
        if slot.assigned is assigned:
            slot.assigned = None
        if removing:
            slot.removing = False

    def restore(self) -> None:
        """After a rollback: what was decided is to be done still, unless something newer is."""
        before = self._in_hand if self.before is None else self.before
        self.record.__data__.update({name: before.get(name) for name in self.mount.columns})
        slot = attached(self.record).slot(self.mount.name)
        if slot.assigned is None and not slot.removing:
            slot.assigned, slot.removing = self._decided
            self.record._dirty.add(self.mount.name)

    def _remember(self) -> None:
        self.after = {name: self.record.__data__.get(name) for name in self.mount.columns}

    def _decisions(self) -> Any:
        slot = attached(self.record).slot(self.mount.name)
        return slot.assigned, slot.removing

    # How the transaction ended.

    def is_named(self, row: Any) -> bool:
        """Whether a row names what came."""
        named = [*self.mount.pending(row), *self.mount.stored_files(row)]
        keys = {incoming.key for incoming in self.incoming}
        return any(item.key in keys or getattr(item, "source", None) in keys for item in named)

    @property
    def jobs(self) -> list[Job]:
        """The jobs that it enqueued, in its transaction."""
        return [incoming.job for incoming in self.incoming if incoming.job is not None]

    def is_as_before(self, row: Any) -> bool:
        """Whether a row is as it was before."""
        return self._is(row, self.before)

    def is_as_after(self, row: Any) -> bool:
        """Whether a row is as the save left it."""
        return self._is(row, self.after)

    def _is(self, row: Any, columns: dict[str, Any] | None) -> bool:
        names = self.mount.columns
        return columns is not None and all(row.__data__.get(n) == columns.get(n) for n in names)

    def undo(self) -> None:
        """After a rollback: take away what was stored."""
        for incoming in self.incoming:
            incoming.undo()

    def committed(self) -> None:
        """After the commit."""
        for incoming in self.incoming:
            incoming.committed()

    def let_go(self, files: list[StoredFile]) -> None:
        """The row names these stored files no longer."""
        for stored in files:
            self.mount.uploader_of(self.record, stored).let_go(stored)

    def _set(self, **values: Any) -> None:
        named = self.mount.values(**values)
        self.record.__data__.update(named)
        self.record._dirty.update(named)  # so that `only_save_dirty` saves them

    def _write_columns(self) -> None:
        values = {name: self.record.__data__.get(name) for name in self.mount.columns}
        with bulk.saving():
            type(self.record).update(**values).where(self.record._pk_expr()).execute()
        self.record._dirty -= set(values)


class ListChange(Change):
    """The same for a list-valued column."""

    def _uploaders(self) -> Iterable[Uploader]:
        return list(self.mount.of(self.record))

    def write(self, before: dict[str, Any] | None) -> None:
        self.before = before
        stored: list[StoredFile] = list((before or {}).get(self.mount.name) or [])
        pending: list[CachedFile] = list((before or {}).get(f"{self.mount.name}_tmp") or [])
        uploaders = self.mount.of(self.record)
        order = {self._key(uploader): place for place, uploader in enumerate(uploaders)}
        arrivals = {incoming.cached.key: incoming for incoming in self.incoming}

        def keeps(item: CachedFile | StoredFile) -> bool:
            names = {item.key, getattr(item, "source", item.key)}
            known = uploaders.knows_all or bool(names & uploaders.known)
            return not known or bool(names & set(order))

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

    def taken(self) -> None:
        self._remember()
        self.mount.of(self.record).taken({incoming.assigned.key for incoming in self.incoming})

    def restore(self) -> None:
        before = self._in_hand if self.before is None else self.before
        self.record.__data__.update({name: before.get(name) for name in self.mount.columns})
        self.mount.of(self.record).restore(self._decided)
        self.record._dirty.add(self.mount.name)

    def _decisions(self) -> Any:
        return self.mount.of(self.record).decided()

    @staticmethod
    def _key(uploader: Uploader) -> str:
        item = uploader.assigned or uploader.item
        return item.key if item is not None else ""


def _position(item: CachedFile | StoredFile) -> int:
    return item.position


def _quietly(remove: Callable[..., None], *arguments: Any) -> None:
    """Remove files when the decision has fallen: what fails is left to the sweep."""
    try:
        remove(*arguments)
    except (OSError, StorageUnavailable) as error:
        logger.warning("left for the sweep reason=%r", str(error))
