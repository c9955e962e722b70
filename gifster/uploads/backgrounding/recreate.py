"""Makes versions of stored files: for `process_in_background`, which stores the original first, and
for `recreate_versions()`, after an uploader has changed.

New versions get new keys, so that no browser and no CDN shows an old one. The transaction in which
the row comes to name the new files also has the old ones deleted. Each try has keys of its own: a
second copy of a job may wake up after the files of the first have been replaced, and a job that
deletes those must not find the second's.
"""

import hashlib
import logging
import secrets
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gifster.imaging.probe import probe
from gifster.jobs import Job, transaction
from gifster.uploads.attaching.storing import MIXED, plan, steps_of, store
from gifster.uploads.backgrounding.promotion import Attachment, failure_of
from gifster.uploads.columns.rows import Record, cannot_be_found, readable
from gifster.uploads.columns.states import FAILED, PROCESSING
from gifster.uploads.enqueueing import ALL
from gifster.uploads.errors import StoredFileChanged, UploadError, imaging_errors_translated
from gifster.uploads.files.access import local_copy
from gifster.uploads.files.extraction import extract_later
from gifster.uploads.files.stored import StoredFile, delete_files
from gifster.uploads.mount import Mount
from gifster.uploads.storage.base import StorageUnavailable
from gifster.uploads.versions.declaring import check_versions, versions_of
from gifster.uploads.versions.processing import original_of, processed

logger = logging.getLogger("gifster.uploads")


def recreate_all(
    mount: Mount[Any], names: Collection[str] = (), where: Any = None
) -> list[Job | None]:
    """Enqueue a job for each stored file of a column, to make its versions again.

    Parameters:
      mount: the column, such as `Gif.image`.
      names: the versions; empty means all.
      where: a Peewee expression that selects the records; None means all.

    Returns:
      for each file its job, or None if such a job waits already.

    Raises:
      LookupError: the uploader has no version of such a name.
    """
    return list(recreate_each(mount, names, where))


def recreate_each(
    mount: Mount[Any], names: Collection[str] = (), where: Any = None
) -> Iterator[Job | None]:
    """The same for a progress bar: an iterator, which enqueues each job when it is asked for it."""
    check_versions(mount.uploader, names)
    return _recreate_each(mount, names, where)


def _recreate_each(mount: Mount[Any], names: Collection[str], where: Any) -> Iterator[Job | None]:
    key, fields = mount.model._meta.primary_key, mount.model._meta.get_primary_keys()
    query = mount.model.select(*fields).where(mount.is_null(False))
    for row in list((query if where is None else query.where(where)).order_by(*fields)):
        if cannot_be_found(mount.model, row._pk):
            continue
        for record in readable(mount.model.select().where(key == row._pk)):
            for stored in mount.stored_files(record):
                yield mount.attacher(record).uploader_of(stored).recreate_versions(*names)


class Recreation(Attachment):
    """Makes versions of one stored upload; `key` is its original's key."""

    def process_first(self) -> None:
        """Apply the processing steps and make the versions, for `process_in_background`.

        Marks an upload that cannot be processed as failed; its original stays. Several calls do no
        harm.

        Raises:
          Exception: a retry may succeed.
        """
        if self._unprocessed() is None:
            self.log_superseded(self.record())
            return
        with transaction(self.model._meta.database):
            row = self.locked()
            present = self._present(row)
            if present is not None and present.unprocessed:  # a second copy may have done it
                self.update(self.mount.attacher(row).working())
        try:
            while (found := self._unprocessed()) is not None:
                self._make(*found, steps=True, names=None)
        except UploadError as error:
            self.fail(error, give_up=True)

    def _unprocessed(self) -> tuple[Record, StoredFile] | None:
        record = self.record()
        stored = self._present(record)
        if record is None or stored is None or not stored.unprocessed:
            return None
        return record, stored

    def fail(self, error: BaseException, *, give_up: bool) -> None:
        """Mark the upload failed, unless it has been superseded; its original stays.

        Parameters:
          give_up: whether no retry can help, so that nobody waits for the versions any more.
            Otherwise the job can run again.
        """
        failure = failure_of(error, "The versions could not be made.")
        with transaction(self.model._meta.database):
            row = self.locked()
            present = self._present(row)
            if present is not None:
                values = {"processing": self._others_wait(row), "state": FAILED, "error": failure}
                columns = self.mount.values(**values)
                if give_up:
                    # Whoever asks for versions later gets all of them: it has none yet.
                    done = replace(present, unprocessed=False, steps=MIXED)
                    columns |= self.mount.attacher(row).recreated(present, done)
                self.update(columns)
        logger.info("failed %s code=%s", self, failure.code)

    def again(self, names: Collection[str]) -> None:
        """Make versions again, for `recreate_versions()`. Several calls do no harm.

        Parameters:
          names: the versions. With `ALL`, those that nobody declares are deleted. If empty, as an
            earlier release has it, all declared versions are made, and others are deleted.

        Raises:
          UploadError: the versions cannot be made.
          LookupError: the uploader has no version of such a name, here. Perhaps the process that
            asked for it is of a later release of the application, and so is the next worker.
          Exception: a retry may succeed.
        """
        while True:
            record = self.record()
            stored = self._present(record)
            if record is None or stored is None:
                return
            wanted = self._wanted(stored, names)
            if stored.steps != self._steps(record, stored):
                wanted = None
            if self._make(record, stored, steps=False, names=wanted):
                return

    def _wanted(self, stored: StoredFile, names: Collection[str]) -> Collection[str] | None:
        """The versions that are made again, or deleted; None for all. One that is declared here
        alone stays as it is: a worker of the release before may have been asked."""
        uploader, asked = self.mount.uploader, set(names) - {ALL}
        check_versions(uploader, asked)
        declared = set(versions_of(uploader))
        if not names or (ALL in names and asked == declared):
            return None
        return asked | (stored.versions.keys() - declared if ALL in names else set())

    def _make(
        self,
        record: Record,
        stored: StoredFile,
        *,
        steps: bool,
        names: Collection[str] | None,
    ) -> bool:
        """Make and store versions, and let the row name them.

        Returns:
          False if they were superseded meanwhile, by another file or by other steps.
        """
        uploader = self.mount.attacher(record).uploader_of(stored)
        digest = hashlib.sha256()
        with local_copy(stored.storage, stored.key, digest) as path:
            if stored.sha256 and digest.hexdigest() != stored.sha256:
                raise StoredFileChanged(
                    "The stored original has changed: its versions stay as they are. "
                    "Restore it from a backup, or upload it again."
                )
            with imaging_errors_translated():
                info = probe(path, videos=uploader.max_video_s is not None)
            if not info.is_image:  # the name that it came with has said what it is
                info = replace(info, content_type=stored.content_type)
            uploader.before_process(info)
            with processed(
                uploader,
                original_of(uploader, path, info, stored.sha256),
                steps=steps,
                versions=names,
                known_hash=not steps and stored.dhash is not None,
            ) as making:
                if steps:
                    stored = extract_later(uploader, stored, path, info)
                files = making.all()
                uploader.after_process(files)
                made = plan(uploader, files, stored, revision=secrets.token_hex(4))
                if not steps and stored.dhash is not None:
                    made = replace(made, dhash=stored.dhash)
                if names is not None:  # perhaps nobody had to look at the original
                    color, thumbhash = (
                        made.color or stored.color,
                        made.thumbhash or stored.thumbhash,
                    )
                    made = replace(made, color=color, thumbhash=thumbhash)
                same_original = files[-1].path == path
                if same_original:
                    made = replace(made, storage=stored.storage, key=stored.key)
                try:
                    store(uploader, files[:-1] if same_original else files, made)
                except BaseException:  # the next try stores others
                    with suppress(OSError, StorageUnavailable):  # the sweep will find them
                        delete_files(file for file in made.files if file not in stored.files)
                    raise
        swapped = self._swap(replace(made, unprocessed=False), names, first=steps)
        if swapped:
            logger.info("processed %s key=%s versions=%s", self, made.key, ",".join(made.versions))
        else:
            self.delete_unnamed(made)
            self.log_superseded(self.record())
        return swapped

    def _swap(self, made: StoredFile, names: Collection[str] | None, *, first: bool) -> bool:
        with transaction(self.model._meta.database):
            row = self.locked()
            present = self._present(row)
            if present is None or not self._is_wanted(row, present, made):
                return False
            if first and not present.unprocessed:
                return False  # A second copy of the job was quicker: its URLs stay.
            if names is not None:
                kept = {n: v for n, v in present.versions.items() if n not in names}
                made = replace(made, versions=kept | made.versions)
            # These may have changed in the meantime, and are not this job's to set.
            made = replace(made, position=present.position)
            if not first:
                made = replace(made, unprocessed=present.unprocessed, metadata=present.metadata)
            attacher = self.mount.attacher(row)
            columns = attacher.recreated(present, made)
            states = self._processed(row, first=True) if first else self.settled(row)
            self.update(columns | states)
            attacher.discard(made, [file for file in present.files if file not in made.files])
            attacher.uploader_of(made).after_store(made)
        return True

    def _processed(self, row: Record, *, first: bool = False) -> dict[str, Any]:
        attacher = self.mount.attacher(row)
        return attacher.processed(first=first, others_wait=self._others_wait(row))

    def _is_wanted(self, row: Record, present: StoredFile, made: StoredFile) -> bool:
        """Whether the row still asks for versions that begin with these steps."""
        return self._steps(row, made) == made.steps

    def settled(self, row: Record) -> dict[str, Any]:
        """The columns of a row that waited for new versions (`update_versions()`) and has them."""
        marked = getattr(row, f"{self.mount.name}_processing", False)
        marked = marked or getattr(row, f"{self.mount.name}_state", None) == PROCESSING
        waits = self.mount.pending(row) or any(
            stored.unprocessed for stored in self.mount.stored_files(row)
        )
        return self._processed(row) if marked and not waits else {}

    def _steps(self, row: Record, stored: StoredFile) -> str:
        return steps_of(self.mount.attacher(row).uploader_of(stored), stored)

    def _others_wait(self, row: Record) -> bool:
        files = self.mount.stored_files(row)
        return any(stored.unprocessed and stored.key != self.key for stored in files)

    def _present(self, record: Record | None) -> StoredFile | None:
        return None if record is None else self.mount.attacher(record).stored(self.key)
