"""`process_in_background`, the bypass, an application's own actors, and `recreate_versions()`."""

from typing import Any

import dramatiq
import pytest

from gifster import jobs
from gifster.uploads import (
    CacheField,
    ErrorField,
    Image,
    ImageInfo,
    ProcessingField,
    StateField,
    UploadError,
    mount_uploader,
    mount_uploaders,
    process,
    process_in_background,
    store_in_background,
    sweep,
)
from gifster.uploads.actors import process_actor, store_actor
from gifster.uploads.backgrounding.promotion import RecordGone
from gifster.uploads.backgrounding.recreate import Recreation
from gifster.uploads.testing import assert_enqueued, enqueued
from tests.uploads.framework import Application, AvatarUploader, Base, Person, fresh
from tests.uploads.in_background.albums import ONE, TWO, Album, PhotoUploader, album


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


def test_a_second_copy_of_a_job_leaves_a_finished_upload_as_it_is(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a copy of a job that has found its upload unprocessed
    made, real = album(), Recreation.locked
    (job,) = app.jobs()

    def locked(recreation: Recreation) -> Any:
        monkeypatch.setattr(Recreation, "locked", real)
        app.deliver(job)
        return real(recreation)

    monkeypatch.setattr(Recreation, "locked", locked)

    # When the other copy is done before it locks the row
    app.deliver(job)
    app.work()

    # Then the upload does not wait for ever
    assert (fresh(made).photo_state, fresh(made).photo_processing) == ("ready", False)


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


class OnlyWide(PhotoUploader):
    def before_process(self, info: ImageInfo) -> None:
        if info.width < 90:
            raise UploadError("It is too narrow.")


def test_an_upload_that_was_given_up_is_not_tried_each_hour(app: Application):
    # Given a model without a column for the state
    @process_in_background("photo")
    class Plain(Base):
        photo = mount_uploader(OnlyWide)

    app.create_tables(Plain)
    Plain.create(photo=ONE)
    app.work()

    assert sweep(repair=True, min_age_s=-60).stuck == []


def test_a_list_does_not_wait_for_a_file_that_was_given_up(app: Application):
    @process_in_background("photos")
    class Wall(Base):
        photos = mount_uploaders(OnlyWide)
        photos_processing = ProcessingField()
        photos_state = StateField()
        photos_error = ErrorField()

    app.create_tables(Wall)
    wall = Wall.create(photos=[ONE, TWO])
    app.work()

    wall = fresh(wall)
    assert (wall.photos_state, wall.photos_processing) == ("failed", False)
    assert wall.photos_error.message == "It is too narrow."
    assert [url is None for url in wall.photos.urls("thumb")] == [True, False]


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
