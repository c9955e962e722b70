"""For the tests of applications, and of storages: jobs done in the test, a storage in memory, and
the contract that every storage must keep.

    def test_an_avatar_gets_a_thumbnail():
        user.avatar = Path("me.gif")
        user.save()
        assert_enqueued("store_asset", user)
        run_jobs()
        assert User.get_by_id(user.id).avatar.url("thumb")

The actors' module must have been imported; the broker they were declared on can be Dramatiq's
`StubBroker`. Nothing here needs pytest, but the contract is written for it.
"""

import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import dramatiq

from gifster.jobs import Job
from gifster.jobs.groups import release
from gifster.uploads.keys import to_job
from gifster.uploads.storage.base import Listing, Storage, check_key


def enqueued(actor: str | None = None, record: Any = None) -> list[Job]:
    """The jobs that wait in the outbox, oldest first.

    Parameters:
      actor: only this actor's.
      record: only those of this record's uploads.
    """
    jobs = Job.select().where(Job.failed_at.is_null()).order_by(Job.created_at)
    return [
        job
        for job in jobs
        if (actor is None or job.actor == actor)
        and (record is None or job.arguments[:2] == [record._meta.table_name, to_job(record)])
    ]


def assert_enqueued(actor: str, record: Any = None, count: int = 1) -> None:
    """Raises `AssertionError` unless so many such jobs wait in the outbox; says which do."""
    found = enqueued(actor, record)
    waiting = [f"{job.actor}{tuple(job.arguments)}" for job in enqueued()]
    assert len(found) == count, (
        f"{len(found)} jobs of {actor!r} are enqueued, not {count}; waiting: {waiting or 'none'}"
    )


def run_jobs() -> int:
    """Do all jobs that wait in the outbox, and those that they enqueue, here and now.

    An exception of a job is raised, and the job stays.

    Returns:
      how many were done.
    """
    done = 0
    while jobs := enqueued():
        for job in jobs:
            _perform(job)
            done += 1
    return done


@contextmanager
def inline_jobs() -> Iterator[None]:
    """Within the block, do each job as soon as the transaction that enqueued it has committed
    (`Sidekiq::Testing.inline!`). The first exception of a job is raised at the end of the block."""
    errors: list[Exception] = []
    performing = False

    def perform(job: Job) -> bool:
        nonlocal performing
        outer, performing = performing, True
        try:
            _perform(job)
            while not outer and job.group is not None and release(job.group, job.queue):
                pass  # those of its group that had to wait
        except Exception as error:  # noqa: BLE001 raised below
            errors.append(error)
        finally:
            performing = outer
        return True

    send, Job.send = Job.send, perform  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        Job.send = send  # type: ignore[method-assign]
    if errors:
        raise errors[0]


def _perform(job: Job) -> None:
    dramatiq.get_broker().get_actor(job.actor).fn(*job.arguments)
    Job.delete().where(Job.id == job.id).execute()


class MemoryStorage:
    """A storage that keeps files in memory: `files`, the content by key."""

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


class StorageContract:
    """What every storage must do. Subclass it in a test, with a fixture named `storage`:

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            return MyStorage(...)
    """

    #: Keys that are none; each would lead out of a folder, or mean two things.
    BAD_KEYS = (
        "", "/etc/passwd", "../a", "a/../b", "a/./b", "a//b", "a/", ".a", "a/.b", "a\\b", "a\0",
        "ä", "a\n", "a b", "a" * 600,
    )  # fmt: skip

    def test_what_is_uploaded_can_be_read(self, storage: Storage) -> None:
        keep(storage, "a/b/c.gif", b"content")

        assert storage.exists("a/b/c.gif")
        assert read(storage, "a/b/c.gif") == b"content"

    def test_the_source_stays(self, storage: Storage) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            source.write_bytes(b"content")
            storage.upload(source, "a.gif", "image/gif")
            assert source.read_bytes() == b"content"

    def test_an_open_file_is_read_in_pieces(self, storage: Storage) -> None:
        keep(storage, "a.gif", b"0123456789")

        with storage.open("a.gif") as file:
            assert [file.read(4), file.read(4), file.read(4), file.read(4)] == [
                b"0123", b"4567", b"89", b"",
            ]  # fmt: skip

    def test_an_empty_file_is_a_file(self, storage: Storage) -> None:
        keep(storage, "empty", b"")

        assert storage.exists("empty")
        assert read(storage, "empty") == b""

    def test_a_file_of_many_megabytes_comes_back_as_it_was(self, storage: Storage) -> None:
        content = bytes(range(256)) * (20 * 1024 * 1024 // 256)
        keep(storage, "large.bin", content)

        assert read(storage, "large.bin") == content

    def test_uploading_again_replaces(self, storage: Storage) -> None:
        keep(storage, "a.gif", b"content")
        keep(storage, "a.gif", b"other")

        assert read(storage, "a.gif") == b"other"

    def test_what_is_deleted_is_gone(self, storage: Storage) -> None:
        keep(storage, "a/b.gif", b"1")
        keep(storage, "a/c.gif", b"2")

        storage.delete("a/b.gif")

        assert not storage.exists("a/b.gif")
        assert read(storage, "a/c.gif") == b"2"

    def test_deleting_what_is_not_there_is_no_error(self, storage: Storage) -> None:
        storage.delete("a/b.gif")

    def test_opening_what_is_not_there_says_so(self, storage: Storage) -> None:
        try:
            storage.open("a/b.gif")
        except FileNotFoundError:
            return
        raise AssertionError("open() of a missing key raised no FileNotFoundError")

    def test_the_beginning_of_a_key_is_none(self, storage: Storage) -> None:
        keep(storage, "a/b.gif", b"1")

        assert not storage.exists("a")

    def test_it_knows_where_a_browser_finds_a_file(self, storage: Storage) -> None:
        assert "a/b.gif" in storage.url("a/b.gif")

    def test_what_is_no_key_is_refused(self, storage: Storage) -> None:
        for key in self.BAD_KEYS:
            for use in (storage.open, storage.exists, storage.delete, storage.url):
                _refuses(use, key)
            _refuses(lambda bad: keep(storage, bad, b""), key)

    def test_what_it_lists_is_what_it_keeps(self, storage: Storage) -> None:
        if not isinstance(storage, Listing):
            return
        keep(storage, "a/b.gif", b"1")
        keep(storage, "c.gif", b"2")
        storage.delete("c.gif")

        [(key, written_at)] = storage.walk()
        assert key == "a/b.gif"
        assert abs(written_at - time.time()) < 60
        assert list(storage.half_written(time.time() + 60, True)) == []


def keep(storage: Storage, key: str, content: bytes) -> None:
    """Have a storage keep some bytes."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.write_bytes(content)
        storage.upload(source, key, "application/octet-stream")


def read(storage: Storage, key: str) -> bytes:
    """What a storage keeps."""
    with storage.open(key) as file:
        return file.read()


def _refuses(use: Any, key: str) -> None:
    try:
        use(key)
    except ValueError:
        return
    raise AssertionError(f"{key[:40]!r} was taken for a key")
