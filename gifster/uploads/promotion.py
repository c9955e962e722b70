"""Promotion: a worker takes an upload from the cache to the store, with the safety of Shrine's
atomic promotion.

The worker processes and stores under keys that no other upload has, and then, in one transaction
that locks the row, looks whether the row still waits for the upload it worked for: if so the row
gets the stored file, if not (replaced, removed, deleted, or done by a second copy of the job) the
worker removes what it stored. Either way the job removes the cached file: it owns it.

Where versions are `later`, that is done twice: the row gets what is there first, and goes on
waiting, so that a worker that dies then has left nothing behind that another does not complete.
"""

import logging
from typing import Any

import peewee

from gifster.jobs import transaction
from gifster.uploads import bulk
from gifster.uploads.cache import CachedFile
from gifster.uploads.config import config, storage
from gifster.uploads.errors import UploadError
from gifster.uploads.fields import UploadFailure
from gifster.uploads.keys import from_job
from gifster.uploads.mount import mount_named
from gifster.uploads.processing import original_of, processed
from gifster.uploads.rows import locked_row, row_of
from gifster.uploads.stored import StoredFile, delete_files
from gifster.uploads.storing import plan, store

logger = logging.getLogger("gifster.uploads")


class RecordGone(Exception):
    """The record of a job has been deleted (see `configure(raise_record_gone=…)`)."""


class Attachment:
    """One file of one record's column, as a job names it.

    Parameters:
      table, pk, column: which record, and which of its mounted columns.
      key: the key of the file that the job is about.

    Raises:
      LookupError: this process knows no such model.
    """

    def __init__(self, table: str, pk: Any, column: str, key: str) -> None:
        self.mount = mount_named(table, column)
        self.model = self.mount.model
        self.pk, self.key = from_job(self.model, pk), key

    def record(self) -> Any:
        """The record as it is now, or None."""
        return row_of(self.model, self.pk)

    def superseded(self, record: peewee.Model) -> None:
        """Say that there is nothing to do any more.

        Raises:
          RecordGone: because the record is gone, and the framework is to raise then.
        """
        logger.info("superseded %s key=%s", self, self.key)
        if record is None and config.raise_record_gone:
            raise RecordGone(f"there is no {self}")

    def locked(self) -> Any:
        """The row as it is now, locked until the transaction ends, or None."""
        return locked_row(self.model(**{self.model._meta.primary_key.name: self.pk}))

    def update(self, columns: dict[str, Any]) -> None:
        """Write columns of the row."""
        if columns:
            is_it = self.model._meta.primary_key == self.pk
            with bulk.saving():
                self.model.update(**columns).where(is_it).execute()

    def delete_unnamed(self, stored: StoredFile) -> bool:
        """Delete the files that were stored in vain.

        Returns:
          False if the row names them after all: a second copy of the job has stored the same.
        """
        record = self.record()
        named = {
            file
            for item in ([] if record is None else self.mount.stored_files(record))
            for file in item.files
        }
        vain = [file for file in stored.files if file not in named]
        delete_files(vain)
        return bool(vain)

    def __str__(self) -> str:
        return f"table={self.model._meta.table_name} id={self.pk} column={self.mount.name}"


class Promotion(Attachment):
    """The storing of one cached upload; `key` is its key in the cache."""

    def promote(self) -> None:
        """Process and store the upload, unless it has been superseded.

        An upload that cannot be processed is marked failed, with the reason. May be called any
        number of times, also at once.

        Raises:
          Exception: what may be better next time (a full disk, a storage that is away).
        """
        record = self.record()
        cached = self._waiting(record)
        if record is None or cached is None:
            self._drop_cached()
            self.superseded(record)
            return
        self._mark_processing()
        try:
            stored = self._store(record, cached)
        except UploadError as error:
            self.fail(error, give_up=True)
            return
        # A failure from here on leaves the stored files: the commit may have happened, and if it
        # has not, the next try writes the same keys.
        swapped = self._swap(stored)
        in_vain = not swapped and self.delete_unnamed(stored)
        self._drop_cached()
        if in_vain:
            self.superseded(self.record())
        else:
            logger.info("stored %s key=%s", self, stored.key)

    def _store(self, record: peewee.Model, cached: CachedFile) -> StoredFile:
        """Process and store; while there is more to be made, show what there is."""
        uploader = self.mount.attacher(record).uploader_of(cached)
        uploader.before_process(cached.info)
        there: set[str] = set()
        with (
            cached.on_disk() as path,
            processed(uploader, original_of(uploader, path, cached.info, cached.sha256)) as making,
        ):
            first = None if self.mount.many else making.first()
            if first is not None:
                uploader.after_process(first)
                stored = plan(uploader, first, cached)
                store(uploader, first, stored)
                if not self._swap(stored, done=False):
                    return stored
                there = {file.name for file in first}
                logger.info("shown %s key=%s", self, stored.key)
            files = making.all()
            uploader.after_process(files)
            stored = plan(uploader, files, cached)
            store(uploader, files, stored, there)
        return stored

    def fail(self, error: BaseException, *, give_up: bool) -> None:
        """Mark the upload failed, unless it has been superseded.

        Parameters:
          error: the reason; of one that is not an `UploadError` people are told no details.
          give_up: whether the upload itself is at fault, so that its cached file goes; otherwise
            both stay, and the job can be run again.
        """
        failure = failure_of(error, "The upload could not be stored.")
        with transaction(self.model._meta.database):
            row = self.locked()
            cached = self._waiting(row)
            if cached is not None:
                attacher = self.mount.attacher(row)
                self.update(attacher.failed(cached, failure, give_up=give_up))
        if give_up:
            self._drop_cached()
        logger.info("failed %s code=%s", self, failure.code)

    def _mark_processing(self) -> None:
        with transaction(self.model._meta.database):
            row = self.locked()
            if self._waiting(row) is not None:
                self.update(self.mount.attacher(row).working())

    def _swap(self, stored: StoredFile, *, done: bool = True) -> bool:
        """Have the row name what is stored, unless the upload has been superseded.

        Parameters:
          done: whether that is all; otherwise the upload goes on waiting.
        """
        with transaction(self.model._meta.database):
            row = self.locked()
            cached = self._waiting(row)
            if cached is None:
                return False
            attacher = self.mount.attacher(row)
            if done:
                columns, replaced = attacher.promoted(cached, stored)
            else:
                columns = self.mount.values(stored=stored, error=None)
                replaced = attacher.stored_files
            for item in replaced:
                if item.key == stored.key:  # the same upload, shown before
                    attacher.discard(
                        item, [file for file in item.files if file not in stored.files]
                    )
                else:
                    attacher.detach([item])
            self.update(columns)
            if done:
                attacher.uploader_of(stored).after_store(stored)
        return True

    def _waiting(self, record: peewee.Model) -> CachedFile | None:
        return None if record is None else self.mount.attacher(record).waiting(self.key)

    def _drop_cached(self) -> None:
        storage(self.mount.uploader.cache).delete(self.key)


def failure_of(error: BaseException, otherwise: str) -> UploadFailure:
    """What people are told of an error."""
    if isinstance(error, UploadError):
        return UploadFailure(error.code, str(error))
    return UploadFailure("storing_failed", otherwise)
