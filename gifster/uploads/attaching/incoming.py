"""One assigned upload on its way through a `save()`, which `saving.py` directs.

The slow part comes first, before the row is locked. Nothing is deleted until the transaction has
ended: a commit deletes the cached file, a rollback the files that were stored.
"""

import hashlib
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from gifster.jobs import Job
from gifster.uploads.attaching.storing import check_place, plan, store
from gifster.uploads.errors import CacheFileMissing, CacheFileTaken
from gifster.uploads.files.cache import CachedFile, new_key
from gifster.uploads.files.extraction import extract_later
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.files.stored import StoredFile, delete_files
from gifster.uploads.storage.base import StorageUnavailable
from gifster.uploads.uploader import Uploader
from gifster.uploads.versions.processing import ProcessedFile, original_of, processed

logger = logging.getLogger("gifster.uploads")


class Incoming:
    """One assigned upload on its way through a `save()`."""

    def __init__(self, uploader: Uploader, assigned: CachedFile) -> None:
        self.uploader, self.assigned = uploader, assigned
        #: A copy for the row: it has the place in a list, and no claim on the file.
        self.cached = replace(assigned)
        self.background = uploader.background
        if assigned.is_shared and not self.deferred:
            # The stored files are named after it. Another save of the same file has files of its
            # own: neither a rollback nor a removal may take those of the other.
            self.cached = replace(assigned, key=new_key(type(uploader)))
        self.stored: StoredFile | None = None
        self.job: Job | None = None
        self._files: list[ProcessedFile] = []

    @property
    def deferred(self) -> bool:
        """Whether a worker stores the upload."""
        return self.background is not None and self.background.stores

    @property
    def key(self) -> str:
        """The key by which the row names the upload after the save."""
        return self.cached.key if self.stored is None else self.stored.key

    def prepare(self, resources: ExitStack) -> None:
        """Make the files: before the transaction, because this is slow and needs no row.

        Parameters:
          resources: keeps the files for the rest of the save.
        """
        if self.deferred:
            return
        path = resources.enter_context(self.assigned.on_disk())
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
        if not later:
            self.cached = extract_later(self.uploader, self.cached, path, self.cached.info)
        self._files = making.all()
        if not later:
            self.uploader.after_process(self._files)

    def store(self) -> StoredFile:
        """Store the files: in the transaction, when the row has an id."""
        planned = plan(self.uploader, self._files, self.cached)
        self.stored = replace(planned, unprocessed=self.background is not None)
        store(self.uploader, self._files, self.stored)
        return self.stored

    def written(self) -> None:
        """Run the hook, or enqueue the job: in the transaction, after the row was written."""
        if self.stored is not None:
            self.uploader.after_store(self.stored)
        else:
            # Check now: with an invalid key, each try of the worker would fail.
            check_place(self.uploader, self.cached)
        if self.deferred and self.assigned.is_shared:
            self._take_shared()
        elif self.background is not None:
            self.job = self._enqueue()

    def undo(self) -> None:
        """After a rollback, delete what was stored. The cached file stays, to be saved again."""
        if self.stored is not None:
            _quietly(delete_files, self.stored.files)
            self.stored = None

    def committed(self) -> None:
        """After the commit, delete the cached file, unless a worker has still to store it."""
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
        """Enqueue the job of a cached file that other records may have retrieved, too.

        The job's name comes from the file, and the outbox has at most one job of a name, so only
        one row can get the file. The job deletes the file before it leaves the outbox. So if the
        name is free and the file exists, no other row has had it.

        Raises:
          CacheFileTaken: another row has a job for the file.
          CacheFileMissing: the file is gone.
        """
        name = hashlib.sha256(f"{self.cached.storage} {self.cached.key}".encode()).hexdigest()[:32]
        if not Job.select().where(Job.id == name).exists():
            self.job = self._enqueue(unique=name)
        if self.job is None:
            raise CacheFileTaken("This upload has been used already: choose the file again.")
        if not self.cached.exists():
            raise CacheFileMissing("There is no such upload: choose the file again.")


def own(uploader: Uploader) -> None:
    """Before a save, give an uploader a file that nobody else takes: a copy of the assigned one, if
    another record holds it, or if it waits for a worker and for so long that the sweep may take it.

    Raises:
      CacheFileMissing: the sweep has removed it, or another record.
    """
    assigned, background = uploader.assigned, uploader.background
    if assigned is None:
        return
    if not assigned.claim(uploader.slot):
        uploader.assign(assigned)
    elif assigned.is_old and background is not None and background.stores:
        uploader.slot.assigned = cache_upload(type(uploader), assigned)
        uploader.slot.assigned.claim(uploader.slot)


def _quietly(remove: Callable[..., None], *arguments: Any) -> None:
    """Delete files after the transaction, without raising; the sweep finds what is left."""
    try:
        remove(*arguments)
    except (OSError, StorageUnavailable) as error:
        logger.warning("left for the sweep reason=%r", str(error))
