"""For the tests of applications, and of storages: run jobs within a test, keep files in memory, and
hold a storage against the contract (`StorageContract`).

    def test_an_avatar_gets_a_thumbnail():
        user.avatar = Path("me.gif")
        user.save()
        assert_enqueued("store_asset", user)
        run_jobs()
        assert User.get_by_id(user.id).avatar.url("thumb")

Import the module of your actors first. The broker that they were declared on can be Dramatiq's
`StubBroker`. Nothing here imports pytest, but the contract is written for it.
"""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import dramatiq
import peewee

from gifster.imaging.rendering import without_sandbox
from gifster.jobs import Job, testing
from gifster.jobs.outbox import name_of
from gifster.jobs.testing import assert_count, inline_jobs, run_jobs
from gifster.uploads.files.keys import table_of, to_job
from gifster.uploads.storage.base import check_key
from gifster.uploads.storage.contract import StorageContract, keep, read
from gifster.uploads.uploader import Uploader

__all__ = [
    "MemoryStorage",
    "StorageContract",
    "assert_enqueued",
    "enqueued",
    "inline_jobs",
    "keep",
    "read",
    "run_jobs",
    "without_processing",
    "without_sandbox",
]


def enqueued(
    actor: str | dramatiq.Actor[..., Any] | None = None, record: peewee.Model | None = None
) -> list[Job]:
    """The jobs that wait in the outbox, oldest first.

    Parameters:
      actor: only jobs of this actor, or of the actor with this name.
      record: only jobs for the uploads of this record.
    """
    return [
        job
        for job in testing.enqueued(actor)
        if record is None or job.arguments[:2] == [table_of(record), to_job(record)]
    ]


def assert_enqueued(
    actor: str | dramatiq.Actor[..., Any], record: peewee.Model | None = None, count: int = 1
) -> None:
    """Assert that `count` such jobs wait in the outbox; see `enqueued()`.

    Raises:
      AssertionError: lists the jobs that wait.
    """
    assert_count(enqueued(actor, record), count, name_of(actor))


@contextmanager
def without_processing(*uploaders: type[Uploader]) -> Iterator[None]:
    """Apply no processing steps and make no versions, for as long as the `with` block lasts: each
    version is a copy of the original (CarrierWave's `enable_processing = false`). All limits of the
    uploaders still count.

    Parameters:
      uploaders: only these, and those that inherit from them; by default all uploaders that do not
        set `enable_processing` themselves.
    """
    changed = uploaders or (Uploader,)
    before = [vars(uploader).get("enable_processing") for uploader in changed]
    for uploader in changed:
        uploader.enable_processing = False
    try:
        yield
    finally:
        for uploader, own in zip(changed, before, strict=True):
            if own is None:
                del uploader.enable_processing
            else:
                uploader.enable_processing = own


class MemoryStorage:
    """A storage that keeps files in memory.

    Parameters:
      base_url: comes before a key in `url()`.

    Attributes:
      files: the content of each file, by key.
      content_types: the type that each was stored with, by key.
    """

    def __init__(self, base_url: str = "memory:") -> None:
        self.base_url = base_url
        self.files: dict[str, bytes] = {}
        self.content_types: dict[str, str] = {}
        self._written: dict[str, float] = {}

    def upload(self, source: Path, key: str, content_type: str) -> None:
        self.files[check_key(key)] = source.read_bytes()
        self.content_types[key], self._written[key] = content_type, time.time()

    def open(self, key: str) -> BinaryIO:
        try:
            return io.BytesIO(self.files[check_key(key)])
        except KeyError:
            raise FileNotFoundError(key) from None

    def exists(self, key: str) -> bool:
        return check_key(key) in self.files

    def delete(self, key: str) -> None:
        self.files.pop(check_key(key), None)

    def url(self, key: str, expires_s: int | None = None) -> str:
        expiry = "" if expires_s is None else f"?expires_s={expires_s}"
        return f"{self.base_url}/{check_key(key)}{expiry}"

    def walk(self) -> Iterator[tuple[str, float]]:
        yield from [(key, self._written[key]) for key in self.files]

    def half_written(self, before: float, remove: bool) -> Iterator[str]:
        yield from ()
