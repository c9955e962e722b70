"""Reads the facts of stored files again (Shrine's `refresh_metadata`): after an uploader has got a
fact that older files lack, or reads one in another way."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from gifster.imaging.probe import probe
from gifster.jobs import transaction
from gifster.uploads.backgrounding.promotion import Attachment
from gifster.uploads.columns.rows import Record
from gifster.uploads.errors import imaging_errors_translated
from gifster.uploads.files import keys
from gifster.uploads.files.access import local_copy
from gifster.uploads.files.extraction import LocalFile, extract, metadata_of
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.mount import Mount


def refresh_metadata(mount: Mount[Any], record: Record, names: Collection[str] = ()) -> Any:
    """Read facts of a record's stored files again, and write them into its row.

    The files are read before the row is locked. A file that was replaced in the meantime keeps the
    facts of the new one.

    Parameters:
      mount: the column, such as `User.cv`.
      names: the facts to read. Without names, all that the uploader declares are read, and those
        that it no longer declares are forgotten.

    Returns:
      the record as it is now; None if its row is gone.

    Raises:
      LookupError: the uploader declares no fact of that name.
      UploadError: a fact cannot be read; nothing of that file is changed.
      FileNotFoundError: a stored file is gone.
    """
    declared = metadata_of(mount.uploader)
    if unknown := sorted(set(names) - set(declared)):
        raise LookupError(f"{mount.uploader.__name__} has no fact {unknown[0]!r}")
    table, pk = keys.table_of(record), keys.to_job(record)
    for stored in mount.stored_files(record):
        Refreshing(table, pk, mount.name, stored.key).refresh(record, stored, names)
    return Attachment(table, pk, mount.name, "").record()


class Refreshing(Attachment):
    """Reads the facts of one stored upload; `key` is its original's key."""

    def refresh(self, record: Record, stored: StoredFile, names: Collection[str]) -> None:
        """Read these facts, or all if there are no names, and write them into the row."""
        uploader = self.mount.attacher(record).uploader_of(stored)
        known = stored.metadata if names else {}
        with local_copy(stored.storage, stored.key) as path, imaging_errors_translated():
            info = probe(path, videos=uploader.max_video_s is not None)
            file = LocalFile(path, stored.filename, info, stored.sha256, known)
            found = extract(uploader, file, names or metadata_of(type(uploader)))
        with transaction(self.model._meta.database):
            row = self.locked()
            attacher = self.mount.attacher(row) if row is not None else None
            present = attacher.stored(self.key) if attacher is not None else None
            if attacher is not None and present is not None:
                kept = present.metadata if names else {}
                read = {name: found[name] for name in names or found}
                self.update(attacher.recreated(present, replace(present, metadata=kept | read)))
