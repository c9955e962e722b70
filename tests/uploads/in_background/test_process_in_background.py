"""`process_in_background`, the bypass, an application's own actors, and `recreate_versions()`."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import PIL.Image
import PIL.ImageOps
import pytest

from gifster import jobs
from gifster.uploads import (
    Backgrounder,
    CacheField,
    ErrorField,
    Image,
    ProcessingField,
    StateField,
    Uploader,
    UploadError,
    mount_uploader,
    process,
    process_in_background,
    recreate_all,
    store_in_background,
    sweep,
    version,
)
from gifster.uploads.actors import process_actor, store_actor
from gifster.uploads.backgrounding.promotion import RecordGone
from gifster.uploads.backgrounding.recreate import Recreation
from gifster.uploads.errors import StoredFileChanged
from gifster.uploads.testing import assert_enqueued, enqueued
from gifster.uploads.versions import declaring as versions_module
from tests import images
from tests.uploads.framework import Application, AvatarUploader, Base, Person

ONE, TWO = images.gif(size=(80, 60)), images.gif(size=(90, 60), durations=[70] * 3)


class PhotoUploader(Backgrounder, Uploader):
    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(40, 40)


@process_in_background("photo")
class Album(Base):
    photo = mount_uploader(PhotoUploader)
    photo_processing = ProcessingField()
    photo_state = StateField()
    photo_error = ErrorField()


@pytest.fixture
def app(application: Application) -> Application:
    application.create_tables(Album)
    return application


def album(content: Any = ONE) -> Any:
    made = Album()
    made.photo = content
    made.save()
    return made


def fresh(record: Any) -> Any:
    return type(record).get_by_id(record.id)


def test_save_stores_the_original_and_a_worker_makes_the_versions(app: Application):
    made = album()

    # The original is stored when save() returns, and the row says that it is being processed
    now = fresh(made)
    assert now.photo.url().endswith("/original.gif")
    assert now.photo.url("thumb") is None
    assert (now.photo_processing, now.photo_state) == (True, "queued")
    assert app.cached == []
    assert len(app.stored) == 1
    assert_enqueued("process_asset", made)

    app.work()

    done = fresh(made)
    assert done.photo.stored.versions["thumb"].width == 40
    assert (done.photo_processing, done.photo_state) == (False, "ready")
    assert done.photo.stored.key == now.photo.stored.key
    assert done.photo.stored.thumbhash
    assert len(app.stored) == 2


def test_processing_steps_wait_for_the_worker_too(app: Application):
    class Shrinking(PhotoUploader):
        @process
        def shrink(self, image: Image) -> Image:
            return image.fit(60, 60)

    @process_in_background("photo")
    class Shrunk(Base):
        photo = mount_uploader(Shrinking)
        photo_processing = ProcessingField()

    app.create_tables(Shrunk)
    made = Shrunk()
    made.photo = ONE
    made.save()
    assert fresh(made).photo.stored.width == 80
    job = app.jobs()[0]

    app.deliver(job)
    assert fresh(made).photo.stored.width == 60
    app.deliver(job)  # Delivered again, as after a crash.
    app.work()

    assert fresh(made).photo.stored.width == 60
    assert fresh(made).photo_processing is False
    assert sorted(app.stored) == sorted(key for _, key in fresh(made).photo.stored.files)


@pytest.mark.parametrize("moment", ["before", "during"])
@pytest.mark.parametrize("change", ["replaced", "removed", "deleted"])
def test_a_superseded_upload_leaves_nothing(
    app: Application, monkeypatch: pytest.MonkeyPatch, moment: str, change: str
):
    made = album()

    def supersede() -> None:
        record = fresh(made)
        if change == "deleted":
            record.delete_instance()
            return
        record.photo = TWO if change == "replaced" else None
        record.save()

    if moment == "before":
        supersede()
    else:
        swap = Recreation._swap

        def superseded_swap(recreation, *arguments, **options):
            monkeypatch.setattr(Recreation, "_swap", swap)
            supersede()
            return swap(recreation, *arguments, **options)

        monkeypatch.setattr(Recreation, "_swap", superseded_swap)
    app.work()

    assert app.cached == []
    if change == "replaced":
        assert fresh(made).photo.stored.width == 90
        assert fresh(made).photo_processing is False
        assert len(app.stored) == 2
    else:
        assert app.stored == []


def test_an_original_that_cannot_be_processed_stays_and_is_marked(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    def refuse(self, info):
        raise UploadError("Not this one.")

    monkeypatch.setattr(PhotoUploader, "before_process", refuse)
    made = album()
    app.work()

    failed = fresh(made)
    assert (failed.photo_state, failed.photo_error.message) == ("failed", "Not this one.")
    assert failed.photo_processing is False
    assert failed.photo.url()
    assert sweep(repair=True, min_age_s=-60).counts() == {
        "abandoned": 0, "orphans": 0, "missing": 0, "stuck": 0,
    }  # fmt: skip


def test_the_sweep_finds_versions_that_have_lost_their_job(app: Application):
    made = album()
    jobs.Job.delete().execute()

    assert sweep(repair=True).stuck == [f"album {made.id} photo"]
    app.work()

    assert fresh(made).photo.url("thumb")


@pytest.mark.parametrize("kind", ["store", "process"])
def test_the_bypass_does_everything_in_save(app: Application, kind: str):
    made: Any = Person() if kind == "store" else Album()
    column = "avatar" if kind == "store" else "photo"
    setattr(made, f"process_{column}_upload", True)
    setattr(made, column, ONE)
    made.save()

    assert enqueued() == []
    assert getattr(fresh(made), column).url("thumb")
    assert getattr(fresh(made), f"{column}_state") == "ready"
    assert app.cached == []


def test_the_bypass_supersedes_a_cached_upload(app: Application):
    person = Person()
    person.avatar = ONE
    person.save()

    person.process_avatar_upload = True
    person.avatar = TWO
    person.save()
    app.work()

    assert fresh(person).avatar.stored.width == 90
    assert app.cached == []
    assert len(app.stored) == 2


def test_an_applications_actors_have_their_own_queue_and_options(app: Application):
    seen = []

    @store_actor(queue_name="avatars", priority=5, max_retries=1, time_limit=60_000)
    def store_mine(promotion):
        """Mine."""
        seen.append(str(promotion))
        promotion.promote()

    @process_actor(queue_name="photos")
    def process_mine(recreation):
        seen.append(str(recreation))
        recreation.process_first()

    assert store_mine.queue_name == "avatars"
    assert (store_mine.options["max_retries"], store_mine.options["time_limit"]) == (1, 60_000)
    assert process_mine.options["max_retries"] == 12

    @store_in_background("face", actor=store_mine)
    @process_in_background("back", actor="process_mine", queue="photos")
    class Custom(Base):
        face = mount_uploader(AvatarUploader)
        face_tmp = CacheField()
        back = mount_uploader(PhotoUploader)

    app.create_tables(Custom)
    made = Custom(face=ONE, back=TWO)
    made.save()

    assert {job.actor: job.queue for job in app.jobs()} == {
        "store_mine": "avatars",
        "process_mine": "photos",
    }
    app.work()
    assert seen == ["table=custom id=1 column=face", "table=custom id=1 column=back"]
    assert fresh(made).face.url("thumb")
    assert fresh(made).back.url("thumb")


def test_an_upload_is_marked_failed_when_the_retries_run_out(app: Application):
    made = album()
    actor = dramatiq.get_broker().get_actor("process_asset")

    actor.options["on_dead"](OSError("disk"), *app.jobs()[0].arguments)

    assert fresh(made).photo_state == "failed"
    assert fresh(made).photo_error.code == "storing_failed"


def test_a_job_can_fail_when_its_record_is_gone(app: Application):
    app.configure(raise_record_gone=True)
    made, person = album(), Person()
    person.avatar = ONE
    person.save()
    jobs_now = app.jobs()
    Album.delete().execute()
    Person.delete().execute()

    for job in jobs_now:
        with pytest.raises(RecordGone, match="there is no table="):
            app.deliver(job)

    assert app.cached == []
    assert made.id


def test_a_column_cannot_have_both_decorators(app: Application):
    with pytest.raises(TypeError, match="twice: choose either"):

        @process_in_background("photo")
        @store_in_background("photo")
        class Both(Base):
            photo = mount_uploader(PhotoUploader)
            photo_tmp = CacheField()


# recreate_versions()


@pytest.fixture
def bigger_thumbs() -> Iterator[None]:
    """The uploader is changed after uploads were stored: a larger thumb, and one more version."""
    thumb = PhotoUploader.thumb

    def bigger(self, image):
        return image.fit(50, 50)

    def tiny(self, image):
        return image.fit(10, 10)

    bigger.__name__ = "thumb"
    PhotoUploader.thumb = versions_module.version(bigger)
    PhotoUploader.tiny = versions_module.version(tiny)
    yield
    PhotoUploader.thumb = thumb
    del PhotoUploader.tiny


def stored_album(app: Application, content: bytes = ONE) -> Any:
    made = album(content)
    app.work()
    return fresh(made)


def test_recreated_versions_have_new_urls(app: Application, request: Any):
    made = stored_album(app)
    before = made.photo.stored
    request.getfixturevalue("bigger_thumbs")

    assert made.photo.recreate_versions() is not None
    assert made.photo.recreate_versions() is None  # Such a job already waits.
    app.work()

    after = fresh(made).photo.stored
    assert {name: v.width for name, v in after.versions.items()} == {"thumb": 50, "tiny": 10}
    assert after.key == before.key
    assert after.versions["thumb"].key != before.versions["thumb"].key
    assert sorted(app.stored) == sorted(key for _, key in after.files)
    with app.store.open(after.versions["thumb"].key) as file:
        assert images.size(file.read()) == (50, 38)


def test_recreating_some_versions_keeps_the_others(app: Application, request: Any):
    made = stored_album(app)
    before = made.photo.stored
    request.getfixturevalue("bigger_thumbs")

    made.photo.recreate_versions("tiny")
    app.work()

    after = fresh(made).photo.stored
    assert after.versions["thumb"] == before.versions["thumb"]
    assert after.versions["tiny"].width == 10
    with pytest.raises(LookupError, match="no version 'huge'"):
        made.photo.recreate_versions("huge")


def test_jobs_for_different_versions_do_not_undo_each_other(app: Application, request: Any):
    made = stored_album(app)
    request.getfixturevalue("bigger_thumbs")
    made.photo.recreate_versions("tiny")
    made.photo.recreate_versions("thumb")

    app.work()

    assert {n: v.width for n, v in fresh(made).photo.stored.versions.items()} == {
        "thumb": 50,
        "tiny": 10,
    }


def test_a_recreation_that_is_delivered_twice_or_superseded_leaves_nothing(
    app: Application, request: Any
):
    made, other = stored_album(app), stored_album(app)
    request.getfixturevalue("bigger_thumbs")
    made.photo.recreate_versions()
    other.photo.recreate_versions()
    first, second = app.jobs()

    app.deliver(first)
    app.deliver(first)
    other.delete_instance()
    app.deliver(second)
    app.work()

    assert sorted(app.stored) == sorted(key for _, key in fresh(made).photo.stored.files)


@pytest.mark.parametrize("way", ["the first time", "again"])
def test_no_versions_are_made_of_an_original_that_has_changed(
    app: Application, tmp_path: Path, way: str
):
    # Given an original that somebody has written over since it was stored
    made = album() if way == "the first time" else stored_album(app)
    before = fresh(made).photo.stored
    if way == "again":
        made.photo.recreate_versions()
    changed = tmp_path / "changed.gif"
    changed.write_bytes(TWO)
    app.store.upload(changed, before.key, "image/gif")

    # When a worker is to make versions of it
    [job] = app.jobs()
    if way == "the first time":
        app.deliver(job)
    else:
        with pytest.raises(StoredFileChanged, match="upload it again"):
            app.deliver(job)

    # Then the row says what was stored, and why there is no version
    now = fresh(made)
    assert (now.photo.stored.sha256, now.photo.stored.versions) == (before.sha256, before.versions)
    if way == "the first time":
        assert (now.photo_state, now.photo_error.code) == ("failed", "stored_file_changed")


def test_a_pending_upload_survives_a_recreation(app: Application):
    person = Person()
    person.avatar = ONE
    person.save()
    app.work()
    person = fresh(person)
    person.avatar.recreate_versions()
    person.avatar = TWO
    person.save()

    recreation, store = app.jobs()
    app.deliver(recreation)
    assert fresh(person).avatar_tmp is not None
    app.deliver(store)
    app.work()

    assert fresh(person).avatar.stored.width == 90
    assert len(app.stored) == 2


def test_recreate_all_enqueues_a_job_for_each_file(app: Application, request: Any):
    albums = [stored_album(app) for _ in range(3)]
    Album.create()
    request.getfixturevalue("bigger_thumbs")

    assert len(list(recreate_all(Album.photo, where=Album.id != albums[0].id))) == 2
    assert [job is None for job in recreate_all(Album.photo)] == [False, True, True]
    app.work()

    assert all(fresh(made).photo.stored.versions["tiny"].width == 10 for made in albums)


def test_recreating_versions_does_not_repeat_the_processing_steps(app: Application):
    class Inverting(PhotoUploader):
        @process
        def invert(self, image: Image) -> Image:
            return image.apply(PIL.ImageOps.invert)

    class Inverted(Base):
        photo = mount_uploader(Inverting)

    app.create_tables(Inverted)
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (80, 60), "black").save(buffer, "PNG")
    made = Inverted(photo=buffer.getvalue())
    made.save()

    made.photo.recreate_versions()
    app.work()

    thumb = fresh(made).photo.stored.versions["thumb"]
    with app.store.open(thumb.key) as file, PIL.Image.open(file) as image:
        assert image.getpixel((5, 5)) == (255, 255, 255)
