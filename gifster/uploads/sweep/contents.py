"""Checks that stored files still have the content that was stored.

It reads each file, and compares its size and SHA-256 with the row. It deletes nothing.

Versions that an earlier release stored have no SHA-256. Of these it compares the size and the type
that the first bytes show.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import peewee

from gifster.imaging.image_info import IMAGE_EXTENSIONS
from gifster.imaging.probe import SNIFF_BYTES, sniff
from gifster.jobs import Job
from gifster.uploads.columns.rows import (
    after_key,
    cannot_be_found,
    loaded,
    log_unreadable,
    row_of,
    select,
)
from gifster.uploads.config import storage
from gifster.uploads.files.stored import StoredFile, StoredVersion
from gifster.uploads.mount import Mount
from gifster.uploads.storage.base import check_key, is_of_one_file
from gifster.uploads.versions.declaring import versions_of

PIECE_BYTES = 1024 * 1024
BATCH = 100


@dataclass(frozen=True)
class Damaged:
    """A stored file that has changed or is gone.

    Attributes:
      storage, key: the name of its storage, and its key there.
      version: the version's name; None for an original.
      reason: how it differs, for people.
      missing: whether it is gone.
    """

    storage: str
    key: str
    version: str | None
    reason: str
    missing: bool = False


def records(
    mount: Mount[Any], after: object = None, *, at_most: int | None = None
) -> Iterator[Any]:
    """The records that have a stored file in a mounted column, in the order of their primary keys.
    The log names those that cannot be read.

    Parameters:
      after: only records with a larger primary key.
      at_most: the largest number of records; None is all.
    """
    keys = mount.model._meta.get_primary_keys()
    left = at_most
    while left is None or left > 0:
        query = select(mount.model).where(mount.is_null(False))
        if after is not None:
            query = query.where(after_key(mount.model, after))
        # Read each batch completely: an open SELECT would keep others from writing to SQLite.
        batch = loaded(query.order_by(*keys).limit(BATCH if left is None else min(BATCH, left)))
        for pk, record in batch:
            if isinstance(record, Exception):
                log_unreadable(mount.model, pk, record)
                continue
            if cannot_be_found(mount.model, pk):
                continue
            yield record
            left = None if left is None else left - 1
        if not batch:
            return
        after = batch[-1][0]


def damaged_files(mount: Mount[Any], record: peewee.Model) -> list[Damaged]:
    """The stored files of one record that have changed or are gone. Reads all of them.

    Raises:
      StorageUnavailable, OSError: the storage cannot be read now.
    """
    found = [damage for stored in mount.stored_files(record) for damage in _damage_of(stored)]
    if not found:
        return []
    # Meanwhile the upload may have been replaced or deleted, with its files.
    row = row_of(type(record), record.get_id())
    named = set() if row is None else {f for s in mount.stored_files(row) for f in s.files}
    return [damage for damage in found if (damage.storage, damage.key) in named]


def recreate_damaged(mount: Mount[Any], record: peewee.Model, damaged: list[Damaged]) -> list[Job]:
    """Enqueue the making of damaged and missing versions, if the original is sound.

    Returns:
      the jobs. They delete the damaged files once the new ones are stored.
    """
    jobs = []
    keys = {damage.key: damage for damage in damaged}
    for stored in mount.stored_files(record):
        bad = [name for name, version in stored.versions.items() if version.key in keys]
        names = [name for name in bad if name in versions_of(mount.uploader)]
        if names and stored.key not in keys:
            job = mount.attacher(record).uploader_of(stored).recreate_versions(*names)
            jobs += [job] if job is not None else []
    return jobs


def _damage_of(stored: StoredFile) -> Iterator[Damaged]:
    files: list[tuple[str | None, StoredFile | StoredVersion]] = [(None, stored)]
    files += stored.versions.items()
    for version, file in files:
        try:
            reason = _damage(file)
        except FileNotFoundError:
            yield Damaged(file.storage, file.key, version, "it is not there", missing=True)
            continue
        except OSError as error:
            if not is_of_one_file(error):
                raise
            reason = f"it cannot be read: {error.strerror}"
        if reason:
            yield Damaged(file.storage, file.key, version, reason)


def _damage(file: StoredFile | StoredVersion) -> str:
    """The fault in a file's content; an empty text if there is none."""
    try:
        check_key(file.key)
        store = storage(file.storage)
    except (ValueError, LookupError) as error:  # its row is damaged
        return f"no file is named so: {error}"
    size, digest, head = 0, hashlib.sha256(), b""
    with store.open(file.key) as content:
        while piece := content.read(PIECE_BYTES):
            head = head or piece[:SNIFF_BYTES]
            size += len(piece)
            digest.update(piece)
    if size != file.bytes:
        return f"{size:,} bytes are there, {file.bytes:,} were stored"
    if file.sha256 and digest.hexdigest() != file.sha256:
        return "its content has changed: it has another SHA-256"
    if not file.sha256 and file.content_type in IMAGE_EXTENSIONS:
        kind = sniff(head)
        if kind != file.content_type:
            return f"it begins like {kind}, and {file.content_type} was stored"
    return ""
