"""The table of unfinished uploads, and every change of a row: each is a compare-and-swap."""

import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

import peewee

from gifster.jobs import transaction
from gifster.uploads.errors import UploadError
from gifster.uploads.files.access import delete_file
from gifster.uploads.files.validation import Limits
from gifster.uploads.storage.base import StorageUnavailable

logger = logging.getLogger("gifster.uploads")

#: How long an upload without progress is kept (seconds), unless the application says otherwise; and
#: at most before its first byte comes, as a client that misses the answer begins another one.
LIVES_S, FIRST_S = 24 * 3600, 3600


class NoSuchUpload(Exception):
    """There is no such upload, or not for the one who asks, or it has expired."""

    def __init__(self) -> None:
        super().__init__("There is no such upload. It may have expired: begin again.")


class OffsetMoved(Exception):
    """The upload is at another offset than the request. Another request may have moved it.

    Parameters:
      received: the upload's offset (bytes); None if it is gone or complete.
    """

    def __init__(self, received: int | None) -> None:
        super().__init__("The upload is at another offset. Ask for it (HEAD), and go on there.")
        self.received = received


class PartsLost(UploadError):
    """The cache has a part of the upload no more."""

    code = "upload_lost"

    def __init__(self) -> None:
        super().__init__("The server has lost a part of this upload. Send the file again.")


class Stage(StrEnum):
    """How far an upload is."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


class Coded(Protocol):
    """An error with a stable code, such as an `UploadError`. As a text it is for people."""

    @property
    def code(self) -> str:
        """The code."""


@dataclass(frozen=True)
class Part:
    """A piece of the content: its key in the cache, and its size.

    The sweep finds the keys of files that are in use by the name `key` in JSON.
    """

    key: str
    bytes: int


class PartsField(peewee.TextField):
    """Parts, as JSON."""

    def db_value(self, value: Iterable[Part]) -> str:
        return json.dumps([asdict(part) for part in value])

    def python_value(self, value: str) -> list[Part]:
        return [Part(**part) for part in json.loads(value)]


class OutcomeField(peewee.TextField):
    """What became of an upload, as JSON."""

    def db_value(self, value: Mapping[str, Any] | None) -> str | None:
        return None if value is None else json.dumps(value)

    def python_value(self, value: str | None) -> dict[str, Any] | None:
        return None if value is None else json.loads(value)


class ResumableUpload(peewee.Model):
    """An unfinished upload, or one that ended a short time ago.

    Attributes:
      id: a part of its URL. Nobody can guess it.
      rules: the name of the uploader class whose limits it must keep.
      owner: whose it is; empty for everybody who knows the URL.
      storage: the name of the storage that has its parts.
      length: its size (bytes).
      received: how many of its bytes are safe. It equals `length` only when it is `done`.
      parts: where these bytes are.
      metadata: what the client says of it, as its header had it (`Upload-Metadata`).
      outcome: what the application made of it, or the error's code and message.
      lives_s: how long it is kept after the last progress (seconds).
      expires_at: the time when that ends (seconds since the epoch).
    """

    id = peewee.CharField(32, primary_key=True)
    rules = peewee.CharField(255)
    owner = peewee.CharField(255, default="", index=True)
    storage = peewee.CharField(255)
    length = peewee.BigIntegerField()
    received = peewee.BigIntegerField(default=0)
    parts: Any = PartsField(default=list)
    metadata = peewee.TextField(default="")
    stage = peewee.CharField(8, default=Stage.OPEN)
    outcome: Any = OutcomeField(null=True)
    lives_s = peewee.IntegerField(default=LIVES_S)
    expires_at = peewee.DoubleField(index=True)

    class Meta:
        table_name = "resumable_upload"
        legacy_table_names = False


#: `database.bind(uploads.TABLES)`, if an application has `endpoints.tus()`.
TABLES: list[type[peewee.Model]] = [ResumableUpload]

_Row: Any = ResumableUpload


def database() -> peewee.Database:
    """The database of the table.

    Raises:
      LookupError: the application has bound it to none.
    """
    bound: peewee.Database | None = ResumableUpload._meta.database
    if bound is None:
        raise LookupError(
            "resumable uploads have no database: call database.bind(gifster.uploads.TABLES) when "
            "the process starts"
        )
    return bound


def is_bound() -> bool:
    """Whether the application has bound the table, as it does for `endpoints.tus()`."""
    return ResumableUpload._meta.database is not None


def name_of(rules: type[Limits]) -> str:
    """The name of an uploader class, as rows have it."""
    return f"{rules.__module__}.{rules.__qualname__}"


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
            expires_at=time.time() + min(lives_s, FIRST_S),
        )
    return made


def unfinished(rules: type[Limits], owner: str) -> list[ResumableUpload]:
    """An owner's uploads that are not complete, the next one to expire first."""
    mine = (_Row.owner == owner) & (_Row.rules == name_of(rules)) & (_Row.stage == Stage.OPEN)
    return list(
        _Row.select().where(mine & (_Row.expires_at > time.time())).order_by(_Row.expires_at)
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
    if found.expires_at < time.time():
        raise NoSuchUpload
    return found


def advance(upload: ResumableUpload, received: int, parts: list[Part]) -> None:
    """Move an upload's offset, if nobody else has.

    Raises:
      OffsetMoved: somebody has, or has ended the upload; nothing is written.
    """
    expires_at = time.time() + upload.lives_s
    _swap(upload, received=received, parts=parts, expires_at=expires_at)
    upload.received, upload.parts, upload.expires_at = received, parts, expires_at


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
    outcome = {"code": error.code, "message": str(error)}
    _swap(upload, parts=[], stage=Stage.FAILED, outcome=outcome)
    delete_parts(upload, upload.parts)


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
    with transaction(database()):
        present = ResumableUpload.get_or_none(_Row.id == upload.id)
        _Row.delete().where(_Row.id == upload.id).execute()
    if present is not None:
        delete_parts(present, present.parts)


def forget_expired() -> int:
    """Delete the uploads that have expired, with their parts. Returns how many."""
    forgotten, late = 0, _Row.expires_at < time.time()
    for upload in list(_Row.select().where(late)):
        same = (_Row.id == upload.id) & (_Row.expires_at == upload.expires_at)
        with transaction(database()):
            deleted = _Row.delete().where(same).execute()
        if deleted:  # it has made no progress meanwhile
            forgotten += 1
            delete_parts(upload, upload.parts)
    return forgotten


def expiry(upload: ResumableUpload) -> str:
    """When an upload expires, as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(upload.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def delete_parts(upload: ResumableUpload, parts: Iterable[Part]) -> None:
    """Delete parts that no row names any more. The sweep finds those that cannot be deleted."""
    for part in parts:
        try:
            delete_file(upload.storage, part.key)
        except (OSError, StorageUnavailable) as error:
            logger.warning("left in the cache key=%s reason=%r", part.key, str(error))
