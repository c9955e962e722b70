"""The rows of unfinished uploads: each change of one is a compare-and-swap."""

import logging
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gifster import jobs
from gifster.jobs import transaction
from gifster.jobs.database_errors import is_of_one_row
from gifster.uploads.config import witness
from gifster.uploads.files.access import delete_file
from gifster.uploads.files.validation import Limits
from gifster.uploads.resumable.table import (
    LIVES_S,
    Coded,
    NoSuchUpload,
    OffsetMoved,
    Part,
    ResumableUpload,
    Stage,
    connected,
    database,
    is_bound,
)
from gifster.uploads.storage.base import StorageUnavailable

logger = logging.getLogger("gifster.uploads")

#: How long an upload is kept of which nothing has come (seconds), at most: a client that misses the
#: answer to its creation begins another one.
FIRST_S = 3600
#: How long an upload that has expired is kept by a clock that may have been set (seconds).
GRACE_S = 3600

_Row: Any = ResumableUpload


def name_of(rules: type[Limits]) -> str:
    """The name of an uploader class, as rows have it."""
    return f"{rules.__module__}.{rules.__qualname__}"


@witness
def names_parts(storage: str) -> bool:
    """Whether an unfinished upload has parts in a storage."""
    if not is_bound():
        return False
    has_parts = (_Row.storage == storage) & (_Row.stage == Stage.OPEN) & (_Row.received > 0)
    with connected():
        return _Row.table_exists() and bool(_Row.select().where(has_parts).exists())


def create(
    rules: type[Limits],
    length: int,
    *,
    metadata: str = "",
    owner: str = "",
    lives_s: int = LIVES_S,
) -> ResumableUpload:
    """A new upload, of which nothing has come yet.

    Parameters:
      rules: the uploader class that is to take it. The caller has asked `check_declared()`.
      length: its size (bytes).
      metadata, owner, lives_s: as the attributes of `ResumableUpload`.
    """
    with transaction(database()):
        made: ResumableUpload = ResumableUpload.create(
            id=secrets.token_hex(16),
            rules=name_of(rules),
            owner=owner,
            storage=rules.cache,
            length=length,
            metadata=metadata,
            lives_s=lives_s,
            expires_at=jobs.now() + min(lives_s, FIRST_S),
        )
    return made


def unfinished(rules: type[Limits], owner: str) -> list[ResumableUpload]:
    """An owner's uploads that are not complete, the next one to expire first."""
    mine = (_Row.owner == owner) & (_Row.rules == name_of(rules)) & (_Row.stage == Stage.OPEN)
    return list(
        _Row.select().where(mine & (_Row.expires_at > jobs.now())).order_by(_Row.expires_at)
    )


def find(rules: type[Limits], upload_id: str, owner: str = "") -> ResumableUpload:
    """The upload with that id.

    Parameters:
      owner: who asks. An upload without an owner is everybody's who knows its id.

    Raises:
      NoSuchUpload: there is none, or it is another uploader's or owner's, or it has expired.
    """
    database()
    found: ResumableUpload | None = ResumableUpload.get_or_none(_Row.id == upload_id)
    if found is None or found.rules != name_of(rules) or found.owner not in ("", owner):
        raise NoSuchUpload
    if found.expires_at < jobs.now():
        raise NoSuchUpload
    return found


def advance(upload: ResumableUpload, received: int, parts: list[Part]) -> None:
    """Move an upload's offset, if nobody else has.

    Raises:
      OffsetMoved: somebody has, or has ended the upload; nothing is written.
    """
    expires_at = jobs.now() + upload.lives_s
    _swap(upload, received=received, parts=parts, expires_at=expires_at)
    upload.received, upload.parts, upload.expires_at = received, parts, expires_at


def prolong(upload: ResumableUpload) -> None:
    """Keep an upload of which more comes, though its offset does not move yet.

    Raises:
      OffsetMoved: somebody else has moved or ended it.
    """
    expires_at = jobs.now() + upload.lives_s
    _swap(upload, expires_at=expires_at)
    upload.expires_at = expires_at


def finish(upload: ResumableUpload, outcome: Mapping[str, Any]) -> None:
    """Note that an upload is complete, and that the application has taken it: within the
    application's own transaction, so that both are true or neither. Call `finished()` after the
    commit.

    Parameters:
      upload: all of its bytes but the last are safe.
      outcome: what the application made of it, for JSON.

    Raises:
      OffsetMoved: somebody else has finished or ended it; nothing is written.
    """
    _swap(upload, received=upload.length, parts=[], stage=Stage.DONE, outcome=outcome)


def tell(upload: ResumableUpload, outcome: Mapping[str, Any]) -> None:
    """Note what the application has made of an upload, within the transaction of its `finish()`."""
    _Row.update(outcome=outcome).where(_Row.id == upload.id).execute()


def finished(upload: ResumableUpload, outcome: Mapping[str, Any]) -> None:
    """Delete the parts of an upload whose `finish()` is committed."""
    parts, upload.parts = upload.parts, []
    upload.received, upload.stage, upload.outcome = upload.length, Stage.DONE, outcome
    delete_parts(upload, parts)


def fail(upload: ResumableUpload, error: "Coded") -> None:
    """Note that an upload cannot be taken, however often it is sent, and delete its parts.

    Parameters:
      error: why.

    Raises:
      OffsetMoved: somebody else has moved or ended it; nothing is written.
    """
    note_failure(upload, error)
    delete_parts(upload, upload.parts)


def note_failure(upload: ResumableUpload, error: "Coded") -> None:
    """Do what `fail()` does in the database. The parts are left to the caller."""
    outcome = {"code": error.code, "message": str(error)}
    _swap(upload, parts=[], stage=Stage.FAILED, outcome=outcome)


def _swap(upload: ResumableUpload, **values: Any) -> None:
    with transaction(database()):
        same = (_Row.id == upload.id) & (_Row.received == upload.received)
        swapped = _Row.update(values).where(same & (_Row.stage == Stage.OPEN)).execute()
        if not swapped:
            present: Any = ResumableUpload.get_or_none(_Row.id == upload.id)
            is_open = present is not None and present.stage == Stage.OPEN
            raise OffsetMoved(present.received if is_open else None)


def terminate(upload: ResumableUpload) -> None:
    """Forget an upload, and delete its parts. What the application made of it stays."""
    delete_parts(upload, forget(upload))


def forget(upload: ResumableUpload) -> list[Part]:
    """Do what `terminate()` does in the database. Returns the parts, which are left to the
    caller."""
    found = _forget(_Row.id == upload.id)
    return [] if found is None else found[1]


def _forget(which: Any) -> tuple[str, list[Part]] | None:
    """Delete the row that a condition selects. Returns its storage's name and its parts: none if
    they cannot be read, so that they are left to the sweep. None if there is no such row any
    more."""
    found: tuple[str, list[Part]] = ("", [])
    with transaction(database()):
        try:
            found = _Row.select(_Row.storage, _Row.parts).where(which).tuples().first() or found
        except Exception as error:
            if not is_of_one_row(error):
                raise
            logger.warning("parts left to the sweep, as their row cannot be read: %r", str(error))
        deleted = _Row.delete().where(which).execute()
    return found if deleted else None


def forget_of(owner: str) -> None:
    """Forget all uploads of an owner, and delete their parts. What the application made of them
    stays."""
    _forget_each(_Row.owner == owner)


def forget_expired() -> int:
    """Delete the uploads that have expired, with their parts. Returns how many."""
    # A clock that is set forward ends no upload that comes in: each piece prolongs it.
    return _forget_each(_Row.expires_at < jobs.moment_before(GRACE_S))


def _forget_each(which: Any) -> int:
    """Delete the rows that a condition selects, with their parts. Returns how many."""
    forgotten = 0
    away: set[str] = set()
    for (upload_id,) in list(_Row.select(_Row.id).where(which).tuples()):
        # One that has made progress meanwhile is not expired any more.
        found = _forget((_Row.id == upload_id) & which)
        if found is not None:
            forgotten += 1
            kept_in, parts = found
            if kept_in not in away and not _delete_files(kept_in, parts):
                away.add(kept_in)
    return forgotten


def expiry(upload: ResumableUpload) -> str:
    """When an upload expires, as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(upload.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def delete_parts(upload: ResumableUpload, parts: Iterable[Part]) -> None:
    """Delete parts that no row names any more. The sweep finds those that cannot be deleted."""
    _delete_files(upload.storage, parts)


def _delete_files(kept_in: str, parts: Iterable[Part]) -> bool:
    """Delete parts from a storage, by its name.

    Returns:
      False if the storage is away, or `configure()` was given none of that name. It is not asked
      for the other parts then: one that hangs takes minutes to say so, for each file.
    """
    for part in parts:
        try:
            delete_file(kept_in, part.key)
        except (OSError, StorageUnavailable, LookupError) as error:
            logger.warning("left in the cache key=%s reason=%r", part.key, str(error))
            if not isinstance(error, OSError):
                return False
    return True
