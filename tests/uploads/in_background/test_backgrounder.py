"""`store_in_background`: an upload is stored, fails or is superseded, and leaves nothing behind."""

import threading
from concurrent.futures import ThreadPoolExecutor

import peewee
import pytest

from gifster.jobs import Job
from gifster.uploads import (
    Backgrounder,
    CacheField,
    StorageUnavailable,
    Uploader,
    errors,
    mount_uploader,
    store_in_background,
)
from gifster.uploads.backgrounding.promotion import Promotion
from gifster.uploads.columns import bulk
from gifster.uploads.files import cache
from gifster.uploads.testing import MemoryStorage
from tests.combinations import on_one_platform
from tests.uploads.framework import (
    Application,
    AvatarUploader,
    Base,
    Company,
    LogoUploader,
    Person,
    fresh,
)
from tests.uploads.records import ONE, TWO, atomic


def test_saving_only_caches_and_a_worker_stores(application: Application):
    # When a file is assigned and saved
    person = Person.create(name="Ann", avatar=ONE)

    # Then it is in the cache, and has a job
    assert fresh(person).avatar_state == "queued"
    assert fresh(person).avatar_processing is True
    assert len(application.cached) == 1
    assert application.stored == []
    assert [job.actor for job in application.jobs()] == ["store_asset"]
    assert not person.avatar

    # And once a worker has run the job, everything is stored and the cache is empty
    application.work()
    done = fresh(person)
    assert done.avatar_state == "ready"
    assert done.avatar_processing is False
    assert done.avatar_tmp is None
    assert done.avatar.stored.width == 80
    assert done.avatar.url("thumb").startswith("/files/person/avatar/1/")
    assert application.cached == []
    assert len(application.stored) == 2


def test_a_rollback_leaves_no_row_and_no_job(application: Application):
    with pytest.raises(RuntimeError), atomic():
        Person.create(name="Ann", avatar=ONE)
        raise RuntimeError

    assert Person.select().count() == 0
    assert application.jobs() == []


@pytest.mark.parametrize("model", [Person, Company])
def test_a_rollback_leaves_no_file(application: Application, model):
    column = "avatar" if model is Person else "logo"

    with pytest.raises(RuntimeError), atomic():
        model(**{column: ONE}).save()
        raise RuntimeError

    assert application.cached == application.stored == []


@pytest.mark.parametrize("model", [Person, Company])
def test_a_savepoint_that_is_rolled_back_leaves_no_file(application: Application, model):
    column = "avatar" if model is Person else "logo"

    with atomic():
        with pytest.raises(RuntimeError), atomic():
            model(name="lost", **{column: ONE}).save()
            raise RuntimeError
        model(name="kept", **{column: TWO}).save()
    application.work()

    [kept] = model.select()
    assert getattr(kept, column).stored.width == 90
    assert application.cached == []
    assert len(application.stored) == 2


def test_a_file_replaced_in_a_rolled_back_transaction_stays(application: Application):
    company = Company(logo=ONE)
    company.save()
    before = application.stored

    with pytest.raises(RuntimeError), atomic():
        company.logo = TWO
        company.save()
        raise RuntimeError
    application.work()

    assert application.stored == before
    assert Company.get_by_id(company.id).logo.stored.width == 80


def test_a_file_changed_between_assigning_and_storing_is_a_visible_failure(
    application: Application, tmp_path
):
    # Given a cached file that somebody overwrites with another type, under the same key
    person = Person.create(name="Ann", avatar=ONE)
    (tmp_path / "other").write_bytes(b"<html>")
    application.cache.upload(tmp_path / "other", person.avatar_tmp.key, "text/html")

    application.work()

    failed = fresh(person)
    assert (failed.avatar_state, failed.avatar_error.code) == ("failed", "cache_file_changed")
    assert application.cached == application.stored == []


def test_saving_for_another_reason_loses_no_pending_upload(application: Application):
    # Given a record loaded before its upload, and one loaded while it waits
    before = Person.create(name="Ann")
    person = fresh(before)
    person.avatar = ONE
    person.save()
    waiting = fresh(before)

    # When both are saved for another reason, before and after the worker runs
    before.name = "Bob"
    before.save()
    assert fresh(before).avatar_tmp is not None
    application.work()
    waiting.name = "Cid"
    waiting.save()

    # Then the upload is stored
    assert fresh(before).name == "Cid"
    assert fresh(before).avatar.stored.width == 80
    assert fresh(before).avatar_tmp is None


def test_an_upload_replaced_while_it_waits_is_superseded(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    person.avatar = TWO
    person.save()

    application.work()

    assert fresh(person).avatar.stored.width == 90
    assert application.cached == []
    assert len(application.stored) == 2


def test_an_upload_replaced_while_it_is_processed_is_superseded(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a worker that is in the middle of storing the first upload
    person = Person.create(name="Ann", avatar=ONE)
    first = application.jobs()[0]
    at_the_swap, go_on = threading.Event(), threading.Event()
    swap = Promotion._swap

    def slow_swap(promotion, stored):
        if promotion.key == first.arguments[3]:
            at_the_swap.set()
            assert go_on.wait(60)
        return swap(promotion, stored)

    monkeypatch.setattr(Promotion, "_swap", slow_swap)
    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(in_own_connection, application.deliver, first)
        assert at_the_swap.wait(60)

        # When another image is assigned and stored
        person.avatar = TWO
        person.save()
        application.deliver(application.jobs()[-1])
        go_on.set()
        running.result()

    # Then the newest image wins, and nothing of the other stays
    application.work()
    assert fresh(person).avatar.stored.width == 90
    assert application.cached == []
    assert len(application.stored) == 2


def in_own_connection(work, *arguments):
    with Person._meta.database.connection_context():
        return work(*arguments)


def test_replacing_a_stored_file_removes_it_after_the_new_one_is_stored(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    application.work()
    old = set(application.stored)

    person = fresh(person)
    person.avatar = TWO
    person.save()
    assert fresh(person).avatar.stored.width == 80
    assert set(application.stored) == old

    application.work()
    assert fresh(person).avatar.stored.width == 90
    assert not old & set(application.stored)
    assert len(application.stored) == 2


@pytest.mark.parametrize("times", [2, 3])
def test_a_job_delivered_again_does_nothing(application: Application, times: int):
    person = Person.create(name="Ann", avatar=ONE)
    job = application.jobs()[0]

    for _ in range(times):
        application.deliver(job)

    assert fresh(person).avatar_state == "ready"
    assert len(application.stored) == 2
    assert application.cached == []


def test_a_job_delivered_several_times_at_once_stores_one_file(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    job = application.jobs()[0]

    with ThreadPoolExecutor(4) as workers:
        copies = [workers.submit(in_own_connection, application.deliver, job) for _ in range(4)]
        for copy in copies:
            copy.result()

    done = fresh(person)
    assert done.avatar_state == "ready"
    assert sorted(application.stored) == sorted(key for _, key in done.avatar.stored.files)
    assert all(application.store.exists(key) for _, key in done.avatar.stored.files)
    assert application.cached == []


def test_a_lost_cache_file_is_a_visible_failure(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    fresh(person).avatar_tmp.delete()

    application.work()

    failed = fresh(person)
    assert failed.avatar_state == "failed"
    assert failed.avatar_error.code == "cache_file_missing"
    assert failed.avatar_processing is False
    assert failed.avatar_tmp is None


@on_one_platform
@pytest.mark.parametrize("is_mount_point", [False, True])
def test_a_cache_whose_disk_is_not_mounted_loses_no_upload(
    application: Application, is_mount_point: bool
):
    # Given a cache that is away while the job runs, or whose mount point is left
    person = Person.create(name="Ann", avatar=ONE)
    away = application.cache_folder.with_name("away")
    application.cache_folder.rename(away)
    if is_mount_point:
        application.cache_folder.mkdir()
    (job,) = application.jobs()
    with pytest.raises(StorageUnavailable, match="is its disk mounted"):
        application.deliver(job)

    # When somebody else uploads, I expect nothing to be written in its place
    with pytest.raises(StorageUnavailable, match="is its disk mounted"):
        Person.create(name="Bob", avatar=TWO)
    assert application.cache_folder.exists() is is_mount_point
    assert application.cached == []

    # When it is back, I expect the upload to be stored
    away.rename(application.cache_folder)
    application.work()

    assert fresh(person).avatar_state == "ready"


@on_one_platform
def test_uploads_go_on_in_the_place_of_a_cache_that_is_lost_for_good(application: Application):
    lost = Person.create(name="Ann", avatar=ONE)
    application.cache_folder.rename(application.cache_folder.with_name("lost"))

    # When somebody makes the folder that the message names
    (application.cache_folder / ".used").mkdir(parents=True)
    person = Person.create(name="Bob", avatar=TWO)
    application.work()

    assert fresh(lost).avatar_error.code == "cache_file_missing"
    assert fresh(person).avatar_state == "ready"


@pytest.mark.parametrize("is_swept", [False, True])
def test_a_file_that_waited_too_long_for_its_save_is_copied_or_refused(
    application: Application, monkeypatch: pytest.MonkeyPatch, is_swept: bool
):
    # Given a file that was assigned an hour ago, so that the sweep takes it for abandoned
    person = Person()
    person.avatar = ONE
    (key,) = application.cached
    monkeypatch.setattr(cache, "YOUNG_S", -1)
    if is_swept:
        application.cache.delete(key)
        with pytest.raises(errors.CacheFileMissing):
            person.save()
        return

    # When it is saved, and the sweep removes the file meanwhile
    person.save()
    application.cache.delete(key)
    application.work()

    assert fresh(person).avatar_state == "ready"


def test_a_file_that_waits_in_another_cache_is_removed_there(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given an upload that waits while its uploader gets another cache
    person = Person.create(name="Ann", avatar=ONE)
    application.also["fast"] = MemoryStorage()
    application.configure()
    monkeypatch.setattr(AvatarUploader, "cache", "fast")

    application.work()

    assert fresh(person).avatar_state == "ready"
    assert application.cached == []


def put_back(application: Application, person: Person) -> None:
    """Give a record back what it had before its upload was stored, as a standby has it that takes
    over without the last commits."""
    before = dict(fresh(person).__data__)
    jobs = application.jobs()
    application.work()
    with bulk.saving():
        Person.update(before).where(Person.id == person.id).execute()
    for job in jobs:
        Job.insert(job.__data__).execute()


def test_an_upload_whose_commit_was_lost_is_taken_from_the_store(application: Application):
    # Given a record that lost its stored file, when the cached file was gone already
    person = Person.create(name="Ann", avatar=ONE)
    put_back(application, person)
    assert fresh(person).avatar_state == "queued"
    assert application.cached == []
    stored = application.stored

    # When the job runs again, I expect it to store the same files
    application.work()
    assert fresh(person).avatar_state == "ready"
    assert fresh(person).avatar.read() == ONE
    assert application.stored == stored


def test_a_stored_file_of_other_content_is_not_taken_for_a_lost_upload(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    put_back(application, person)
    for path in application.store_folder.rglob("original.gif"):
        path.write_bytes(TWO)

    application.work()

    assert fresh(person).avatar_error.code == "cache_file_missing"


def test_a_full_disk_raises_so_that_the_job_is_retried(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a full disk
    person = Person.create(name="Ann", avatar=ONE)
    upload = type(application.store).upload

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(application.store), "upload", full)

    # Then the job raises, so that it is retried
    with pytest.raises(OSError, match="No space"):
        application.deliver(application.jobs()[0])
    assert fresh(person).avatar_tmp is not None

    # And once there is room, it stores the upload
    monkeypatch.setattr(type(application.store), "upload", upload)
    application.work()
    assert fresh(person).avatar_state == "ready"


def test_when_the_retries_run_out_the_upload_is_kept_and_marked(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    job = application.jobs()[0]

    Promotion(*job.arguments).fail(OSError("disk"), give_up=False)

    failed = fresh(person)
    assert (failed.avatar_state, failed.avatar_error.code) == ("failed", "storing_failed")
    assert "disk" not in failed.avatar_error.message
    assert len(application.cached) == 1
    application.work()
    assert fresh(person).avatar_state == "ready"
    assert fresh(person).avatar_error is None


def test_saving_an_upload_of_a_deleted_record_raises(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    same = fresh(person)
    person.delete_instance()

    same.avatar = TWO
    with pytest.raises(peewee.DoesNotExist):
        same.save()


def test_store_in_background_says_what_a_model_lacks(application: Application):
    class Plain(Base):
        photo = mount_uploader(LogoUploader)
        photo_tmp = CacheField()

    class NoTmp(Base):
        class PhotoUploader(Backgrounder, Uploader):
            pass

        photo = mount_uploader(PhotoUploader)

    with pytest.raises(TypeError, match="must be a subclass of Backgrounder"):
        store_in_background("photo")(Plain)
    with pytest.raises(TypeError, match="photo_tmp = CacheField"):
        store_in_background("photo")(NoTmp)
    with pytest.raises(TypeError, match=r"NoTmp\.image is not a mounted column"):
        store_in_background("image")(NoTmp)


def test_a_job_for_an_unknown_model_says_what_to_do(application: Application):
    with pytest.raises(LookupError, match="import its module"):
        Promotion("nobody", 1, "avatar", "ab/cd")


def test_fair_by_sets_the_group_of_an_uploads_jobs(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    def fair_by(self: AvatarUploader) -> str:
        return f"the uploads of {self.record.name}"

    monkeypatch.setattr(AvatarUploader, "fair_by", fair_by)
    person = Person.create(name="Ann", avatar=ONE)
    assert [job.group for job in application.jobs()] == ["the uploads of Ann"]
    application.work()

    person.delete_instance()

    assert [(job.actor, job.group) for job in application.jobs()] == [
        ("remove_files", "the uploads of Ann")
    ]
