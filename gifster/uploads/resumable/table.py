"""The table of unfinished uploads, and what is said about them."""

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

import peewee

from gifster.jobs.database_errors import reads
from gifster.uploads.errors import UploadError

#: How long an upload without progress is kept (seconds), unless the application says otherwise.
LIVES_S = 24 * 3600


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

    @reads
    def python_value(self, value: str) -> list[Part]:
        return [Part(**part) for part in json.loads(value)]


class OutcomeField(peewee.TextField):
    """What became of an upload, as JSON."""

    def db_value(self, value: Mapping[str, Any] | None) -> str | None:
        return None if value is None else json.dumps(value)

    @reads
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


def connected() -> AbstractContextManager[object]:
    """A `with` block in which this thread has a connection to the database of the table: that of
    the application's request or job, if it has one."""
    bound = database()
    return bound.connection_context() if bound.is_closed() else nullcontext()
