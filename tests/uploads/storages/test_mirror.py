"""Two storages as one: what happens in the second, and what is made up while it is away."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gifster import jobs
from gifster.uploads import (
    FsspecStorage,
    LocalStorage,
    MirrorStorage,
    S3Storage,
    StorageUnavailable,
    configure,
    sweep,
)
from gifster.uploads.storage.base import Listing, clock_of
from gifster.uploads.testing import MemoryStorage, StorageContract, keep, read, run_jobs
from tests import databases, images
from tests.machine import free_port
from tests.s3 import S3Server
from tests.uploads.framework import Application, AvatarUploader, Company, Person


class Down(MemoryStorage):
    """A storage that is away for as long as `down` is true."""

    down = True

    def upload(self, source: Path, key: str, content_type: str) -> None:
        self._check()
        super().upload(source, key, content_type)

    def delete(self, key: str) -> None:
        self._check()
        super().delete(key)

    def open(self, key: str):
        self._check()
        return super().open(key)

    def _check(self) -> None:
        if self.down:
            raise StorageUnavailable("it is down")


@contextmanager
def running(url: str, tmp_path: Path, broker_url: str) -> Iterator[Application]:
    """An application whose store is a mirror of a folder; the second storage is down."""
    broker = jobs.connect(broker_url)
    database = databases.connect(url)
    with database.connection_context():
        made = Application(tmp_path, database)
        made.store = MirrorStorage(made.store, Down())
        made.configure()
        yield made
    database.close_all()
    broker.close()


@pytest.fixture
def app(database_url: str, tmp_path: Path, broker_url: str) -> Iterator[Application]:
    """On each database."""
    with running(database_url, tmp_path, broker_url) as made:
        yield made


@pytest.fixture
def on_sqlite(tmp_path: Path, broker_url: str) -> Iterator[Application]:
    """For the contract, whose tests are many."""
    with running(f"sqlite:///{tmp_path}/app.db", tmp_path, broker_url) as made:
        yield made


class TestMirror(StorageContract):
    @pytest.fixture
    def storage(self) -> MirrorStorage:
        return MirrorStorage(MemoryStorage(), MemoryStorage())


class TestMirrorWhoseSecondIsDown(StorageContract):
    @pytest.fixture
    def storage(self, on_sqlite: Application) -> MirrorStorage:
        mirror = MirrorStorage(LocalStorage(on_sqlite.store_folder, "/files"), Down())
        configure({"mirror": mirror})
        return mirror


class TestMirrorByJobs(StorageContract):
    @pytest.fixture
    def storage(self, on_sqlite: Application) -> MirrorStorage:
        mirror = MirrorStorage(FsspecStorage(f"file://{on_sqlite.store_folder}", base_url="/files"),
                               MemoryStorage(), later=True)  # fmt: skip
        configure({"mirror": mirror})
        return mirror

    def test_only_jobs_touch_the_second(self, storage: MirrorStorage):
        keep(storage, "a.gif", b"content")
        keep(storage, "b.gif", b"content")
        assert storage.second.files == {}

        run_jobs()
        assert storage.second.files == {"a.gif": b"content", "b.gif": b"content"}

        storage.delete("a.gif")
        assert set(storage.second.files) == {"a.gif", "b.gif"}
        run_jobs()
        assert set(storage.second.files) == {"b.gif"}


def same(app: Application) -> bool:
    first, second = app.store.first, app.store.second
    keys = {key for key, _ in first.walk()}
    return keys == set(second.files) and all(read(first, k) == second.files[k] for k in keys)


def test_an_upload_succeeds_without_the_second_and_a_job_makes_it_up(app: Application):
    # When `save()` stores a file, and a worker stores one with its version
    company = Company.create(logo=images.gif())
    person = Person.create(avatar=images.gif())
    work = [job for job in app.jobs() if job.actor != "mirror_file"]
    for job in work:
        app.deliver(job)
        job.delete_instance()

    person = Person.get_by_id(person.id)
    assert person.avatar_state == "ready"
    assert app.store.second.files == {}
    waiting = app.jobs()
    assert {job.actor for job in waiting} == {"mirror_file"}
    assert {job.queue for job in waiting} == {"carrierwave"}
    # I expect the job to fail while the second is down, so that it is retried
    with pytest.raises(StorageUnavailable):
        app.deliver(waiting[0])

    app.store.second.down = False
    app.work()

    assert same(app)
    assert app.store.second.content_types[person.avatar.stored.key] == "image/gif"
    assert app.store.second.files[company.logo.stored.key] == images.gif()


def test_a_rollback_leaves_no_job(app: Application):
    with pytest.raises(RuntimeError), app.database.atomic():
        Company.create(logo=images.gif())
        raise RuntimeError

    # I expect the jobs of the transaction to be gone, and those that delete its files to be there
    app.store.second.down = False
    app.work()
    assert app.stored == []
    assert same(app)


def test_a_file_that_is_deleted_while_the_second_is_down_is_deleted_there(app: Application):
    app.store.second.down = False
    company = Company.create(logo=images.gif())
    assert len(app.store.second.files) == 2

    app.store.second.down = True
    company.delete_instance()
    for job in app.jobs():
        app.deliver(job)
        job.delete_instance()
    assert app.stored == []
    assert len(app.store.second.files) == 2

    app.store.second.down = False
    app.work()
    assert app.store.second.files == {}


def test_jobs_in_any_order_leave_what_the_first_has(app: Application):
    keep(app.store, "a.gif", b"content")
    app.store.delete("a.gif")
    keep(app.store, "b.gif", b"content")
    uploaded, before_deletion, deleted, other = app.jobs()
    app.store.second.down = False

    for job in (deleted, other, uploaded, before_deletion, uploaded):
        app.deliver(job)

    assert app.store.second.files == {"b.gif": b"content"}


def test_a_process_that_dies_while_it_deletes_leaves_nothing_that_the_sweep_cannot_see(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    app.store.second.down = False
    keep(app.store, "a.gif", b"content")
    delete = app.store.first.delete

    def killed(key: str) -> None:
        delete(key)
        raise SystemExit

    monkeypatch.setattr(app.store.first, "delete", killed)
    with pytest.raises(SystemExit):
        app.store.delete("a.gif")

    assert not app.store.first.exists("a.gif")
    assert app.store.second.files == {}


def test_a_file_that_is_stored_again_under_its_key_keeps_its_type(app: Application, tmp_path: Path):
    # Given a file whose deletion has left jobs, and that was then stored again, as by a retry
    source = tmp_path / "source"
    source.write_bytes(b"content")
    app.store.upload(source, "a.gif", "image/gif")
    app.store.delete("a.gif")
    app.store.second.down = False
    app.store.upload(source, "a.gif", "image/gif")

    app.work()

    assert app.store.second.files == {"a.gif": b"content"}
    assert app.store.second.content_types == {"a.gif": "image/gif"}


def test_a_process_that_dies_while_it_leaves_the_copy_to_jobs_leaves_none(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a mirror whose second is touched by jobs alone
    app.store.later, app.store.second.down = True, False
    keep(app.store, "a.gif", b"content")
    app.work()
    assert list(app.store.second.files) == ["a.gif"]
    delete = app.store.first.delete

    def killed(key: str) -> None:
        for job in app.jobs():
            if job.due_at is None:  # a worker is quicker, and finds the file in the first
                app.deliver(job)
                job.delete_instance()
        delete(key)
        raise SystemExit

    # When a process is killed just after the first has lost a file
    monkeypatch.setattr(app.store.first, "delete", killed)
    with pytest.raises(SystemExit):
        app.store.delete("a.gif")

    # I expect a job to delete the copy, which no sweep sees
    app.work()
    assert app.store.second.files == {}


def test_a_file_deleted_while_a_job_copies_it_does_not_stay(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    keep(app.store, "a.gif", b"content")
    app.store.second.down = False
    upload = app.store.second.upload

    def meanwhile(source: Path, key: str, content_type: str) -> None:
        app.store.first.delete(key)
        upload(source, key, content_type)

    monkeypatch.setattr(app.store.second, "upload", meanwhile)
    app.work()

    assert app.store.second.files == {}


def test_files_are_read_from_the_second_while_the_first_is_away():
    mirror = MirrorStorage(Down(), MemoryStorage())
    mirror.first.down = False
    keep(mirror, "a.gif", b"content")

    mirror.first.down = True
    assert read(mirror, "a.gif") == b"content"
    # A file that the second does not have may well be in the first
    with pytest.raises(StorageUnavailable):
        mirror.open("b.gif")
    # A file that the first has lost is lost: it may have been deleted
    mirror.first.down = False
    mirror.first.files.clear()
    with pytest.raises(FileNotFoundError):
        mirror.open("a.gif")


def test_a_mirror_without_a_name_says_what_to_do(app: Application):
    with pytest.raises(LookupError, match=r"configure\(\)"):
        keep(MirrorStorage(MemoryStorage(), Down()), "a.gif", b"content")


@pytest.mark.parametrize("is_mount_point", [False, True])
def test_a_first_whose_disk_is_away_has_lost_and_deleted_nothing(
    tmp_path: Path, is_mount_point: bool
):
    # Given a file in both, one that a job has still to bring to the second, and one whose deletion
    # a job has still to repeat there
    first, second = LocalStorage(tmp_path / "first"), MemoryStorage()
    mirror = MirrorStorage(first, second)
    for key in ("both.gif", "first.gif"):
        keep(first, key, b"content")
    for key in ("both.gif", "deleted.gif"):
        keep(second, key, b"content")

    # When its disk is away
    first.root.rename(tmp_path / "away")
    if is_mount_point:
        first.root.mkdir()

    # I expect files to be read from the second, and the jobs to be tried again
    assert read(mirror, "both.gif") == b"content"
    for key, content_type in (("both.gif", "image/gif"), ("first.gif", "image/gif"),
                              ("deleted.gif", "")):  # fmt: skip
        with pytest.raises(StorageUnavailable, match="is its disk mounted"):
            mirror.catch_up(key, content_type)
    assert set(second.files) == {"both.gif", "deleted.gif"}

    # When it is back
    if is_mount_point:
        first.root.rmdir()
    (tmp_path / "away").rename(first.root)
    for key, content_type in (("first.gif", "image/gif"), ("deleted.gif", "")):
        mirror.catch_up(key, content_type)
    assert set(second.files) == {"both.gif", "first.gif"}


def test_the_sweep_cleans_both(app: Application):
    app.store.second.down = False
    company = Company.create(logo=images.gif())
    kept = Company.create(logo=images.gif())
    app.database.execute_sql(f"DELETE FROM company WHERE id = {company.id}")

    found = sweep(repair=True, min_age_s=-60)

    assert len(found.orphans) == 2
    assert same(app)
    assert len(app.store.second.files) == 2
    assert kept.logo


def test_a_mirror_lists_what_its_first_lists(app: Application):
    class NoList:
        pass

    assert isinstance(MirrorStorage(MemoryStorage(), NoList()), Listing)
    assert not isinstance(MirrorStorage(NoList(), MemoryStorage()), Listing)
    local = LocalStorage(app.store_folder)
    assert MirrorStorage(local, MemoryStorage()).place == local.place


def test_a_mirror_in_s3_that_was_away(app: Application, s3_server: S3Server, tmp_path: Path):
    # Given a store in a folder, and a mirror of it in a bucket whose server does not answer
    away = f"http://127.0.0.1:{free_port()}"
    app.store.second = S3Storage(
        "b", endpoint_url=away, attempts=1, region="us-east-1", access_key_id="k",
        secret_access_key="s",
    )  # fmt: skip
    app.cache = MirrorStorage(LocalStorage(app.cache_folder), MemoryStorage())
    app.configure()
    person = Person.create(avatar=images.gif())
    for job in app.jobs():
        app.deliver(job)

    app.store.second = s3_server.storage(f"mirror{secrets.token_hex(4)}")
    app.work()

    stored = Person.get_by_id(person.id).avatar.stored
    assert read(app.store.second, stored.key) == images.gif()
    assert sorted(key for key, _ in app.store.second.walk()) == app.stored
    assert app.cached == []
    assert app.cache.second.files == {}
    assert AvatarUploader.storage == "store"


def test_the_age_of_a_file_is_told_by_the_clock_of_the_first():
    class Late(MemoryStorage):
        def now(self) -> float:
            return 5.0

    assert clock_of(MirrorStorage(Late(), MemoryStorage())) == 5.0
    assert clock_of(MirrorStorage(MemoryStorage(), Late())) > 5.0
