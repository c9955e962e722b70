"""Whether stored files still have the content that was stored: each is read whole, and its size and
SHA-256 are compared with what the row says. Nothing is removed.

Of versions that an earlier release stored no SHA-256 is known: of these the size is compared, and
whether they begin as a file of their type does.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gifster.imaging.probe import IMAGE_EXTENSIONS, SNIFF_BYTES, sniff
from gifster.jobs import Job
from gifster.uploads.config import storage
from gifster.uploads.rows import row_of, select
from gifster.uploads.saving import attacher_of
from gifster.uploads.stored import StoredFile, StoredVersion
from gifster.uploads.versions import versions_of

PIECE_BYTES = 1024 * 1024
BATCH = 100


@dataclass(frozen=True)
class Damaged:
    """A stored file that is not what was stored. `version` is None for an original; of one that is
    gone altogether `missing` is true."""

    storage: str
    key: str
    version: str | None
    reason: str
    missing: bool = False


def records(mount: Any, after: Any = None, *, at_most: int | None = None) -> Iterator[Any]:
    """The records that have something stored in a mounted column, in the order of their keys.

    Parameters:
      after: only those with a larger primary key.
      at_most: so many.
    """
    key = mount.model._meta.primary_key
    left = at_most
    while left is None or left > 0:
        query = select(mount.model).where(mount.is_null(False))
        if after is not None:
            query = query.where(key > after)
        # In batches that are read whole: a SELECT that stays open would keep SQLite from writing.
        batch = list(query.order_by(key).limit(BATCH if left is None else min(BATCH, left)))
        yield from batch
        if not batch:
            return
        after, left = batch[-1]._pk, None if left is None else left - len(batch)


def damaged_files(mount: Any, record: Any) -> list[Damaged]:
    """Read the stored files of one record, versions too.

    Raises:
      StorageUnavailable, OSError: the storage cannot be read now.
    """
    found = [damage for stored in mount.stored_files(record) for damage in _of(stored)]
    if not found:
        return []
    # It may have been replaced or deleted, with its files, while they were read.
    row = row_of(type(record), record._pk)
    named = set() if row is None else {f for s in mount.stored_files(row) for f in s.files}
    return [damage for damage in found if (damage.storage, damage.key) in named]


def recreate_damaged(mount: Any, record: Any, damaged: list[Damaged]) -> list[Job]:
    """Have damaged and missing versions made again, where the original is whole.

    Returns:
      the jobs. The damaged files go when their successors are stored.
    """
    jobs = []
    keys = {damage.key: damage for damage in damaged}
    for stored in mount.stored_files(record):
        bad = [name for name, version in stored.versions.items() if version.key in keys]
        names = [name for name in bad if name in versions_of(mount.uploader)]
        if names and stored.key not in keys:
            job = attacher_of(record, mount).uploader_of(stored).recreate_versions(*names)
            jobs += [job] if job is not None else []
    return jobs


def _of(stored: StoredFile) -> Iterator[Damaged]:
    files: list[tuple[str | None, StoredFile | StoredVersion]] = [(None, stored)]
    files += stored.versions.items()
    for version, file in files:
        try:
            reason = _damage(file)
        except FileNotFoundError:
            yield Damaged(file.storage, file.key, version, "it is not there", missing=True)
            continue
        if reason:
            yield Damaged(file.storage, file.key, version, reason)


def _damage(file: StoredFile | StoredVersion) -> str:
    """What is wrong with the content of a file; an empty text if nothing is."""
    size, digest, head = 0, hashlib.sha256(), b""
    with storage(file.storage).open(file.key) as content:
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
