"""One assigned upload, on its way through a `save()`.

The slow part is done before the row is locked. Nothing is removed before the transaction has
committed, and what was stored in vain is removed when it has not.
"""

import hashlib
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from gifster.jobs import Job
from gifster.uploads.cache import CachedFile
from gifster.uploads.errors import CacheFileMissing, CacheFileTaken
from gifster.uploads.processing import ProcessedFile, original_of, processed
from gifster.uploads.storage.base import StorageUnavailable, check_key
from gifster.uploads.stored import StoredFile, delete_files
from gifster.uploads.storing import folder, plan, store
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
            processed(
                self.uploader,
                original_of(self.uploader, path, self.cached.info, self.cached.sha256),
                steps=not later,
                versions=() if later else None,
            )
        )
        self._files = making.all()
        if not later:
            self.uploader.after_process(self._files)

    def store(self) -> StoredFile:
        """In the transaction, when the row has an id."""
        planned = plan(self.uploader, self._files, self.cached)
        self.stored = replace(planned, unprocessed=self.background is not None)
        store(self.uploader, self._files, self.stored)
        return self.stored

    def written(self) -> None:
        """In the transaction, when the row has been written."""
        if self.stored is not None:
            self.uploader.after_store(self.stored)
        else:
            # With an invalid key a worker could only fail, again and again.
            check_key(folder(self.uploader, self.cached))
        if self.deferred and self.assigned.is_shared:
            self._take_shared()
        elif self.background is not None:
            self.job = self._enqueue()

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

    def _enqueue(self, unique: str | None = None) -> Job | None:
        if self.background is None:
            return None
        uploader, upload = self.uploader, self.stored or self.cached
        return self.background.enqueue(
            uploader.record, uploader.mount.name, upload, group=uploader.fair_by(), unique=unique
        )

    def _take_shared(self) -> None:
        """Enqueue the job of a file that others may have by the same cache id.

        The outbox holds one job of a name at a time, so the file belongs to one row. That job
        removes the file before it leaves the outbox: if the name is free and the file is there,
        nobody else has taken it.
        """
        name = hashlib.sha256(f"{self.cached.storage} {self.cached.key}".encode()).hexdigest()[:32]
        if not Job.select().where(Job.id == name).exists():
            self.job = self._enqueue(unique=name)
        if self.job is None:
            raise CacheFileTaken("This upload has been used already: choose the file again.")
        if not self.cached.exists():
            raise CacheFileMissing("There is no such upload: choose the file again.")


def _quietly(remove: Callable[..., None], *arguments: Any) -> None:
    """Remove files when the decision has fallen. The sweep removes what this cannot."""
    try:
        remove(*arguments)
    except (OSError, StorageUnavailable) as error:
        logger.warning("left for the sweep reason=%r", str(error))
