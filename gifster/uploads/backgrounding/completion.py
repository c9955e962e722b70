"""Completion: a worker makes the `later` versions of an upload that the row shows already.

While many uploads arrive at once, each is shown as soon as its first files are stored, and its job
ends (`promotion.py`). A job of lower priority goes on here, when no other upload waits to be shown.
It decodes the original again, so an upload that nobody waits behind is finished by its first job.
"""

from dataclasses import replace

from gifster.uploads.attaching.storing import MIXED, content_of, plan, store
from gifster.uploads.backgrounding.promotion import Promotion
from gifster.uploads.columns.rows import Record
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.versions.declaring import versions_of
from gifster.uploads.versions.processing import ORIGINAL, ProcessedFile, original_of, processed


class Completion(Promotion):
    """Stores the rest of one cached upload; `key` is the cached file's key."""

    def _store(self, record: Record, cached: CachedFile, gives_way: bool) -> StoredFile | None:
        attacher = self.mount.attacher(record)
        shown = next((file for file in attacher.stored_files if file.source == cached.key), None)
        if shown is None:  # it has been shown, and then its row was changed by hand
            return super()._store(record, cached, gives_way)
        self._shown = shown
        uploader = attacher.uploader_of(cached)
        uploader.before_process(cached.info)
        declared = versions_of(type(uploader))

        def is_small_enough(file: ProcessedFile) -> bool:
            rival = None if file.name == ORIGINAL else declared[file.name].smaller_than
            return rival not in shown.versions or file.bytes < shown.versions[rival].bytes

        with (
            content_of(uploader, cached) as path,
            processed(
                uploader,
                original_of(uploader, path, cached.info, cached.sha256),
                versions=declared.keys() - shown.versions.keys(),
            ) as making,
        ):
            files = [file for file in making.all() if is_small_enough(file)]
            made = plan(uploader, files, cached)
            stored = replace(shown, versions=shown.versions | made.versions)
            if made.steps != shown.steps:  # so they are all made anew
                stored = replace(stored, steps=MIXED)
            store(uploader, files, stored, {ORIGINAL, *shown.versions})
        return stored
