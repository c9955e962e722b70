"""Promotion: a worker takes an upload from the cache to the store, as safely as Shrine's atomic
promotion does.

The worker first stores the files, under keys that no other upload has. Then one transaction locks
the row and checks that it still waits for this upload. If so, the row gets the stored file. If not,
the upload is superseded (replaced, removed, its record deleted, or stored by a second copy of the
job), and the worker deletes what it stored. Either way it deletes the cached file, which belongs to
the job.

With `later` versions this happens twice. After the first time the row shows the files that are
ready, and still waits for the upload; so if the worker dies, its retry completes the rest. While
other uploads wait to be shown, the second time is left to a job of its own (`completion.py`).
"""

import logging
from dataclasses import replace
from typing import Any

from gifster.jobs import transaction
from gifster.uploads.attaching.storing import MIXED, content_of, plan, steps_of, store
from gifster.uploads.columns import bulk
from gifster.uploads.columns.fields import UploadFailure
from gifster.uploads.columns.rows import Record, locked_row, record_of_key, row_of
from gifster.uploads.config import config
from gifster.uploads.enqueueing import enqueue_update
from gifster.uploads.errors import UploadError
from gifster.uploads.files.access import delete_file
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.extraction import extract_later
from gifster.uploads.files.keys import from_job, table_of
from gifster.uploads.files.stored import Files, StoredFile, delete_files
from gifster.uploads.mount import mount_named
from gifster.uploads.uploader import Uploader
from gifster.uploads.versions.declaring import processes_of
from gifster.uploads.versions.processing import original_of, processed

logger = logging.getLogger("gifster.uploads")

#: An upload with fewer pixels in all its frames is finished at once: to begin a second job for it
#: and to decode it again would take longer than others gain.
WORTH_ANOTHER_JOB = 500_000


class RecordGone(Exception):
    """A job's record has been deleted (see `configure(raise_record_gone=…)`)."""


class Attachment:
    """One file in a record's mounted column, found by the arguments of a job.

    Parameters:
      table, pk, column: the record, and its mounted column.
      key: the key of the file that the job works on.

    Raises:
      LookupError: this process has no such model; says what to import.
    """

    def __init__(self, table: str, pk: Any, column: str, key: str) -> None:
        self.mount = mount_named(table, column)
        self.model = self.mount.model
        self.pk, self.key = from_job(self.model, pk), key

    def record(self) -> Any:
        """The record as it is now; None if it is gone."""
        return row_of(self.model, self.pk)

    def log_superseded(self, record: Record | None) -> None:
        """Log that the job has nothing left to do.

        Parameters:
          record: the record as it is now; None if it is gone.

        Raises:
          RecordGone: the record is gone, and `configure(raise_record_gone=True)` was called.
        """
        logger.info("superseded %s key=%s", self, self.key)
        if record is None and config.raise_record_gone:
            raise RecordGone(f"there is no {self}")

    def locked(self) -> Any:
        """The row as it is now, locked until the transaction ends; None if it is gone."""
        return locked_row(record_of_key(self.model, self.pk))

    def update(self, columns: dict[str, Any]) -> None:
        """Write these columns of the row."""
        if columns:
            this_row = self.model._meta.primary_key == self.pk
            with bulk.saving():
                self.model.update(**columns).where(this_row).execute()

    def delete_unnamed(self, stored: StoredFile) -> bool:
        """Delete the files of a superseded upload, except those that the row names.

        Returns:
          False if the row names them all, because a second copy of the job has stored the same.
        """
        record = self.record()
        named = {
            file
            for item in ([] if record is None else self.mount.stored_files(record))
            for file in item.files
        }
        unnamed = [file for file in stored.files if file not in named]
        delete_files(unnamed)
        return bool(unnamed)

    def __str__(self) -> str:
        return f"table={table_of(self.model)} id={self.pk} column={self.mount.name}"


class Promotion(Attachment):
    """Stores one cached upload; `key` is the cached file's key."""

    #: What the row named of this upload before its `later` versions were made; None if nothing.
    _shown: StoredFile | None = None
    #: The name of the storage that has the cached file; None if the row has not said so. The
    #: uploader may have got another one since.
    _cache: str | None = None

    def promote(self, *, gives_way: bool = False) -> None:
        """Process and store the upload, unless it has been superseded.

        Marks an upload that cannot be processed as failed, with the reason. Several calls do no
        harm, even at the same time.

        Parameters:
          gives_way: whether to leave the `later` versions to another job while other uploads wait,
            so that these are shown sooner. The upload is then not complete when this returns.

        Raises:
          Exception: a retry may succeed (the disk is full, a storage is unreachable).
        """
        record = self.record()
        cached = self._waiting(record)
        if record is None or cached is None:
            self._drop_cached()
            self.log_superseded(record)
            return
        self._mark_processing()
        try:
            stored = self._store(record, cached, gives_way)
        except UploadError as error:
            self.fail(error, give_up=True)
            return
        if stored is None:
            return
        # An exception from here on keeps the stored files: the commit may have gone through, and if
        # not, the retry writes the same keys.
        swapped = self._swap(stored)
        superseded = not swapped and self.delete_unnamed(stored)
        self._drop_cached()
        if superseded:
            self.log_superseded(self.record())
        else:
            logger.info("stored %s key=%s", self, stored.key)

    def _store(self, record: Record, cached: CachedFile, gives_way: bool) -> StoredFile | None:
        """Process and store the files; if some are `later`, let the row name the others first.

        Returns:
          what was stored; None if another job goes on with it.
        """
        uploader = self.mount.attacher(record).uploader_of(cached)
        uploader.before_process(cached.info)
        already_stored: set[str] = set()
        with (
            content_of(uploader, cached) as path,
            processed(
                uploader,
                original_of(uploader, path, cached.info, cached.sha256),
                later=not (gives_way and self._should_give_way(uploader, cached)),
            ) as making,
        ):
            cached = extract_later(uploader, cached, path, cached.info)
            leaves_rest = making.leaves_rest
            first = making.all() if leaves_rest else None if self.mount.many else making.first()
            if first is not None:
                uploader.after_process(first)
                stored = plan(uploader, first, cached)
                store(uploader, first, stored)
                if not self._swap(stored, done=False, leaves_rest=leaves_rest):
                    return stored
                self._shown = stored
                already_stored = {file.name for file in first}
                logger.info("shown %s key=%s", self, stored.key)
                if leaves_rest:
                    return None
            files = making.all()
            uploader.after_process(files)
            stored = plan(uploader, files, cached)
            store(uploader, files, stored, already_stored)
        return stored

    def _should_give_way(self, uploader: Uploader, cached: CachedFile) -> bool:
        """Whether to make only the first files, so that other uploads are shown sooner."""
        info, background, kind = cached.info, self.mount.background, type(uploader)
        if self.mount.many or background is None:
            return False
        if info.width * info.height * info.frames < WORTH_ANOTHER_JOB:
            return False
        # An uploader's own `after_process` gets all files together, and its steps run once.
        if kind.after_process is not Uploader.after_process or any(
            step.file for step in processes_of(kind)
        ):
            return False
        return background.others_wait(uploader.record, self.mount.name, cached)

    def fail(self, error: BaseException, *, give_up: bool) -> None:
        """Mark the upload failed, unless it has been superseded.

        Parameters:
          error: the reason. People see the message of an `UploadError`, and no details of others.
          give_up: whether no retry can help, so that the cached file is deleted. Otherwise the row
            and the cached file stay as they are, and the job can run again.
        """
        failure = failure_of(error, "The upload could not be stored.")
        with transaction(self.model._meta.database):
            row = self.locked()
            cached = self._waiting(row)
            if cached is not None:
                attacher = self.mount.attacher(row)
                self.update(attacher.failed(cached, failure, give_up=give_up))
                for stored in attacher.stored_files:  # what stays has perhaps to follow the record
                    self._caught_up(row, stored)
        if give_up:
            self._drop_cached()
        logger.info("failed %s code=%s", self, failure.code)

    def _mark_processing(self) -> None:
        with transaction(self.model._meta.database):
            row = self.locked()
            if self._waiting(row) is not None:
                self.update(self.mount.attacher(row).working())

    def _swap(self, stored: StoredFile, *, done: bool = True, leaves_rest: bool = False) -> bool:
        """Let the row name the stored files, unless the upload has been superseded.

        Parameters:
          done: whether these are all files; otherwise the row still waits for the upload.
          leaves_rest: whether another job makes the others.

        Returns:
          False if the upload has been superseded.
        """
        with transaction(self.model._meta.database):
            row = self.locked()
            cached = self._waiting(row)
            if cached is None:
                return False
            attacher = self.mount.attacher(row)
            present = next((i for i in attacher.stored_files if _is_same_upload(i, stored)), None)
            made, stored = stored, self._with_remade(stored, present)
            if done:
                columns, replaced = attacher.promoted(cached, stored)
                columns |= self._caught_up(row, stored)
            else:
                columns = self.mount.values(stored=stored, error=None)
                replaced = attacher.stored_files
            for item in replaced:
                if _is_same_upload(item, stored):  # Its first files.
                    files = dict.fromkeys((*item.files, *self._new_files(made)))
                    attacher.discard(item, [file for file in files if file not in stored.files])
                else:
                    attacher.detach([item])
            self.update(columns)
            if done:
                attacher.uploader_of(stored).after_store(stored)
            elif leaves_rest and self.mount.background is not None:
                group = attacher.uploader_of(cached).fair_by()
                self.mount.background.enqueue_completion(row, self.mount.name, cached, group)
        return True

    def _caught_up(self, row: Record, stored: StoredFile) -> dict[str, Any]:
        """If the steps of its versions have changed since these were made, enqueue a job that makes
        them anew, and return the columns of a record that is not done."""
        attacher = self.mount.attacher(row)
        uploader = attacher.uploader_of(stored)
        if steps_of(uploader, stored) == stored.steps:
            return {}
        enqueue_update(row, self.mount.name, stored, uploader.fair_by())
        return attacher.working()

    def _with_remade(self, stored: StoredFile, present: StoredFile | None) -> StoredFile:
        """What the row shall name: what this job stored, but with the versions that
        `recreate_versions()` has made since the row showed the first files, because these are gone.
        """
        if present is None:
            return stored
        if self._shown is None:
            return _with_other_keys(stored, present)
        if present.steps != self._shown.steps:
            # All of them were made anew, or a second copy of this job has shown the first ones.
            versions = stored.versions | present.versions
            is_whole = versions.keys() == present.versions.keys()
            return replace(stored, versions=versions, steps=present.steps if is_whole else MIXED)
        before = self._shown.versions
        remade = {n: v for n, v in present.versions.items() if before.get(n) != v}
        return replace(stored, versions=stored.versions | remade)

    def _new_files(self, made: StoredFile) -> Files:
        """The files that this job stored after the row showed the first ones; all of them, if a
        killed try has shown those."""
        shown = () if self._shown is None else self._shown.files
        return [file for file in made.files if file not in shown]

    def _waiting(self, record: Record | None) -> CachedFile | None:
        cached = None if record is None else self.mount.attacher(record).waiting(self.key)
        self._cache = self._cache if cached is None else cached.storage
        return cached

    def _drop_cached(self) -> None:
        delete_file(self._cache or self.mount.uploader.cache, self.key)


def _is_same_upload(one: StoredFile, other: StoredFile) -> bool:
    """Whether two stored files are of one upload, so that some of their files may be the same. The
    name of the original may have changed between two tries of its job: with what `filename()` reads
    of the record, or with a release."""
    return one.key == other.key or (bool(one.source) and one.source == other.source)


def _with_other_keys(stored: StoredFile, present: StoredFile) -> StoredFile:
    """What the row shall name once a retry has stored the first files again, which a killed try has
    shown. If `recreate_versions()` has replaced some since, a job may yet delete the keys that
    these had: so the new ones stay."""
    made = {name: (version.storage, version.key) for name, version in stored.versions.items()}
    remade = {n: v for n, v in present.versions.items() if made.get(n) != (v.storage, v.key)}
    versions = stored.versions | remade
    if not remade or present.steps == stored.steps:
        return replace(stored, versions=versions)
    is_whole = versions.keys() == remade.keys()
    return replace(stored, versions=versions, steps=present.steps if is_whole else MIXED)


def failure_of(error: BaseException, otherwise: str) -> UploadFailure:
    """The code and the message that people see for an error.

    Parameters:
      otherwise: the message for an error that is not an `UploadError`.
    """
    if isinstance(error, UploadError):
        return UploadFailure(error.code, str(error))
    return UploadFailure("storing_failed", otherwise)
