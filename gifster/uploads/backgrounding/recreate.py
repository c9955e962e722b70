"""Makes versions of stored files: for `process_in_background`, which stores the original first, and
for `recreate_versions()`, after an uploader has changed.

New versions get new keys, so that no browser and no CDN shows an old one. The transaction in which
the row comes to name the new files also has the old ones deleted.
"""

import hashlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from gifster.imaging.probe import probe
from gifster.jobs import Job, transaction
from gifster.uploads.attaching.storing import plan, store
from gifster.uploads.backgrounding.promotion import Attachment, failure_of
from gifster.uploads.columns.rows import Record
from gifster.uploads.errors import StoredFileChanged, UploadError, imaging_errors_translated
from gifster.uploads.files.access import local_copy
from gifster.uploads.files.extraction import extract_later
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.mount import Mount
from gifster.uploads.versions.processing import original_of, processed

logger = logging.getLogger("gifster.uploads")


def recreate_all(
    mount: Mount[Any], names: Collection[str] = (), where: Any = None
) -> Iterator[Job | None]:
    """Enqueue a job for each stored file of a column, to make its versions again.

    Parameters:
      mount: the column, such as `Gif.image`.
      names: the versions; empty means all.
      where: a Peewee expression that selects the records; None means all.

    Returns:
      an iterator that enqueues the jobs as it goes: it yields each job, or None for a file that
      such a job already waits for.
    """
    key, fields = mount.model._meta.primary_key, mount.model._meta.get_primary_keys()
    query = mount.model.select(*fields).where(mount.is_null(False))
    for row in list((query if where is None else query.where(where)).order_by(*fields)):
        record = mount.model.get_or_none(key == row._pk)
        if record is not None:
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
        record = self.record()
        stored = self._present(record)
        if stored is None or not stored.unprocessed:
            self.log_superseded(record)
            return
        with transaction(self.model._meta.database):
            row = self.locked()
            if self._present(row) is not None:
                self.update(self.mount.attacher(row).working())
        try:
            self._make(record, stored, steps=True, names=None, revision="made")
        except UploadError as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Mark the upload failed, unless it has been superseded; its original stays."""
        failure = failure_of(error, "The versions could not be made.")
        with transaction(self.model._meta.database):
            row = self.locked()
            if self._present(row) is not None:
                values = {"processing": self._others_wait(row), "state": "failed", "error": failure}
                self.update(self.mount.values(**values))
        logger.info("failed %s code=%s", self, failure.code)

    def again(self, names: Collection[str], revision: str) -> None:
        """Make versions again, for `recreate_versions()`. Several calls do no harm.

        Parameters:
          names: the versions. If empty, all declared versions are made, and others are deleted.
          revision: the name of the new files' folder; the same for each retry.

        Raises:
          UploadError: the versions cannot be made.
          Exception: a retry may succeed.
        """
        record = self.record()
        stored = self._present(record)
        if stored is not None:
            self._make(record, stored, steps=False, names=names or None, revision=revision)

    def _make(
        self,
        record: Record,
        stored: StoredFile,
        *,
        steps: bool,
        names: Collection[str] | None,
        revision: str,
    ) -> None:
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
            ) as making:
                if steps:
                    stored = extract_later(uploader, stored, path, info)
                files = making.all()
                uploader.after_process(files)
                made = plan(uploader, files, stored, revision)
                same_original = files[-1].path == path
                if same_original:
                    made = replace(made, storage=stored.storage, key=stored.key)
                store(uploader, files[:-1] if same_original else files, made)
        if self._swap(replace(made, unprocessed=False), names, first=steps):
            logger.info("processed %s key=%s versions=%s", self, made.key, ",".join(made.versions))
        else:
            self.delete_unnamed(made)
            self.log_superseded(self.record())

    def _swap(self, made: StoredFile, names: Collection[str] | None, *, first: bool) -> bool:
        with transaction(self.model._meta.database):
            row = self.locked()
            present = self._present(row)
            if present is None:
                return False
            if names is not None:
                kept = {n: v for n, v in present.versions.items() if n not in names}
                made = replace(made, versions=kept | made.versions)
            # These may have changed in the meantime, and are not this job's to set.
            made = replace(made, position=present.position)
            if not first:
                made = replace(made, unprocessed=present.unprocessed, metadata=present.metadata)
            attacher = self.mount.attacher(row)
            columns = attacher.recreated(present, made)
            self.update(columns | (self._states(row) if first else {}))
            attacher.discard(made, [file for file in present.files if file not in made.files])
            attacher.uploader_of(made).after_store(made)
        return True

    def _states(self, row: Record) -> dict[str, Any]:
        others = self._others_wait(row)
        state = {"processing": others, "state": "processing" if others else "ready"}
        return self.mount.values(**state, **({} if self.mount.many else {"error": None}))

    def _others_wait(self, row: Record) -> bool:
        files = self.mount.stored_files(row)
        return any(stored.unprocessed and stored.key != self.key for stored in files)

    def _present(self, record: Record | None) -> StoredFile | None:
        return None if record is None else self.mount.attacher(record).stored(self.key)
