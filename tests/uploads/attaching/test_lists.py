"""`mount_uploaders`: several files in one column, each with a job of its own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gifster.jobs import Job
from gifster.uploads import (
    Backgrounder,
    CacheListField,
    ErrorField,
    Image,
    ProcessingField,
    StateField,
    Uploader,
    UploadError,
    mount_uploader,
    mount_uploaders,
    process_in_background,
    store_in_background,
    sweep,
    version,
)
from gifster.uploads.backgrounding.promotion import Promotion
from gifster.uploads.testing import assert_enqueued, enqueued
from tests import images
from tests.uploads.framework import Application, Base, LogoUploader, fresh
from tests.uploads.records import fail

A, B, C, D = (images.gif(size=(width, 40)) for width in (60, 70, 80, 90))


class PhotoUploader(Backgrounder, Uploader):
    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(20, 20)


@store_in_background("photos")
class Trip(Base):
    cover = mount_uploader(LogoUploader)
    photos = mount_uploaders(PhotoUploader)
    photos_tmp = CacheListField()
    photos_processing = ProcessingField()
    photos_state = StateField()
    photos_error = ErrorField()


@process_in_background("photos")
class Walk(Base):
    photos = mount_uploaders(PhotoUploader)
    photos_processing = ProcessingField()
    photos_state = StateField()


class Shelf(Base):
    photos = mount_uploaders(PhotoUploader)


@pytest.fixture
def app(application: Application) -> Application:
    application.create_tables(Trip, Walk, Shelf)
    return application


def saved(model: Any, *files: bytes) -> Any:
    made = model()
    made.photos = list(files)
    made.save()
    return made


def widths(record: Any) -> list[int]:
    return [photo.stored.width for photo in fresh(record).photos if photo]


def is_clean(app: Application, record: Any) -> bool:
    """Whether the storages have exactly the record's files."""
    named = [key for photo in fresh(record).photos for _, key in photo.stored.files]
    return app.cached == [] and sorted(app.stored) == sorted(named)


def test_each_file_has_its_job_and_its_place(app: Application):
    trip = saved(Trip, A, B, C)

    assert_enqueued("store_asset", trip, 3)
    assert [bool(photo) for photo in fresh(trip).photos] == [False] * 3
    assert (fresh(trip).photos_state, fresh(trip).photos_processing) == ("queued", True)

    # When workers store them in another order
    for job in reversed(app.jobs()):
        app.deliver(job)
        job.delete_instance()

    assert widths(trip) == [60, 70, 80]
    assert (fresh(trip).photos_state, fresh(trip).photos_processing) == ("ready", False)
    assert fresh(trip).photos_tmp == []
    assert fresh(trip).photos[1].url("thumb")
    assert is_clean(app, trip)


@pytest.mark.parametrize("model", [Trip, Walk, Shelf])
def test_files_can_be_added_moved_and_removed(app: Application, model: Any):
    record = saved(model, A, B)
    app.work()

    record = fresh(record)
    record.photos.append(C)
    record.save()
    app.work()
    assert widths(record) == [60, 70, 80]

    record = fresh(record)
    first, _, third = record.photos
    record.photos = [third, D, first]
    record.save()
    app.work()
    assert widths(record) == [80, 90, 60]
    assert is_clean(app, record)

    record = fresh(record)
    record.photos.remove(record.photos[1])
    record.save()
    app.work()
    assert widths(record) == [80, 60]
    assert is_clean(app, record)

    record = fresh(record)
    record.remove_photos = True
    record.save()
    app.work()
    assert len(fresh(record).photos) == 0
    assert app.cached == app.stored == []


@pytest.mark.parametrize("model", [Trip, Walk, Shelf])
def test_a_photo_that_somebody_holds_stays_a_part_of_the_list_after_a_save(
    app: Application, model: Any
):
    # Given the photos of a record, each of which is looked at
    record = saved(model, A, B, C)
    app.work()
    record = fresh(record)
    photos = list(record.photos)

    # When two are removed, with a save for each, and new ones are added
    for photo in photos:
        if photo.stored.width in (60, 70):
            photo.remove()
            record.save()
    added = record.photos.append(D)
    record.save()
    record.photos = [added, photos[2]]
    record.save()
    more = record.photos.append(A)
    record.save()
    more.remove()
    record.save()
    app.work()

    # Then the photos are those, and none was copied
    assert record.photos[:] == [added, photos[2]]
    assert widths(record) == [90, 80]
    assert photos[2].stored.key == fresh(record).photos[1].stored.key
    assert is_clean(app, record)


@pytest.mark.parametrize("model", [Trip, Shelf])
def test_a_photo_that_somebody_holds_survives_a_rollback(app: Application, model: Any):
    record = saved(model, A)
    app.work()
    record = fresh(record)
    (first,) = record.photos
    second = record.photos.append(B)

    # When it is saved and replaced, and nothing of that stays
    def replace_second() -> None:
        second.assign(C)
        record.save()

    fail(record.save, replace_second)
    assert record.photos[:] == [first, second]
    record.save()
    app.work()

    # Then the last file of each photo is saved
    assert widths(record) == [60, 80]
    assert is_clean(app, record)


def test_files_added_by_two_stale_records_are_all_kept(app: Application):
    trip = saved(Trip, A)
    one, other = fresh(trip), fresh(trip)
    one.photos.append(B)
    other.photos.append(C)
    one.save()
    other.save()

    app.work()

    # The last save decides the order of the files that it knows
    assert widths(trip) == [60, 80, 70]


def test_a_cached_file_can_be_moved_and_removed(app: Application):
    trip = saved(Trip, A, B, C)
    job = app.jobs()[1]

    # When one file is stored after the record was loaded, and then the record's order changes
    loaded = fresh(trip)
    app.deliver(job)
    job.delete_instance()
    _, second, third = loaded.photos
    loaded.photos = [third, second]
    loaded.save()
    app.work()

    assert widths(trip) == [80, 70]
    assert is_clean(app, trip)


def test_many_concurrent_workers_lose_no_file(app: Application):
    trip = saved(Trip, *[images.gif(size=(50 + n, 40)) for n in range(8)])

    def deliver(job: Any) -> None:
        with app.database.connection_context():
            app.deliver(job)

    with ThreadPoolExecutor(4) as workers:
        for done in [workers.submit(deliver, job) for job in app.jobs() for _ in range(2)]:
            done.result()

    assert widths(trip) == [50 + n for n in range(8)]
    assert fresh(trip).photos_state == "ready"
    assert is_clean(app, trip)


def test_one_failed_file_does_not_affect_the_others(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    trip = saved(Trip, A, B, C)
    bad = fresh(trip).photos_tmp[1]
    bad.delete()

    app.work()

    assert widths(trip) == [60, 80]
    failed = fresh(trip)
    assert (failed.photos_state, failed.photos_error.code) == ("failed", "cache_file_missing")
    assert failed.photos_processing is False
    assert is_clean(app, trip)


def test_a_refused_file_leaves_the_list_unchanged(app: Application):
    trip = saved(Trip, A)
    app.work()
    trip = fresh(trip)

    with pytest.raises(UploadError):
        trip.photos = [B, b"no image"]

    assert len(trip.photos) == 1
    assert app.cached == []
    trip.save()
    assert widths(trip) == [60]


def test_a_record_deleted_while_a_file_is_stored_leaves_nothing(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    trip = saved(Trip, A, B)
    begun, go_on = threading.Event(), threading.Event()
    swap = Promotion._swap

    def slow_swap(promotion, stored):
        begun.set()
        assert go_on.wait(60)
        return swap(promotion, stored)

    monkeypatch.setattr(Promotion, "_swap", slow_swap)

    def work() -> None:
        with app.database.connection_context():
            app.work()

    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(work)
        assert begun.wait(60)
        fresh(trip).delete_instance()
        go_on.set()
        running.result()

    assert app.cached == app.stored == []


def test_a_worker_makes_the_versions_of_each_file(app: Application):
    walk = saved(Walk, A, B)
    assert widths(walk) == [60, 70]
    assert [photo.url("thumb") for photo in fresh(walk).photos] == [None, None]
    first, second = app.jobs()

    app.deliver(first)
    first.delete_instance()
    assert (fresh(walk).photos_processing, fresh(walk).photos_state) == (True, "processing")
    app.deliver(second)
    second.delete_instance()

    assert all(photo.url("thumb") for photo in fresh(walk).photos)
    assert (fresh(walk).photos_processing, fresh(walk).photos_state) == (False, "ready")
    assert is_clean(app, walk)


def test_a_reordered_list_is_still_processed(app: Application):
    walk = saved(Walk, A, B)
    walk = fresh(walk)
    walk.photos = list(reversed(walk.photos))
    walk.save()
    assert (fresh(walk).photos_processing, fresh(walk).photos_state) == (True, "queued")

    app.work()

    assert widths(walk) == [70, 60]
    assert all(photo.url("thumb") for photo in fresh(walk).photos)
    assert (fresh(walk).photos_processing, fresh(walk).photos_state) == (False, "ready")


def test_the_versions_of_one_file_can_be_recreated(app: Application):
    trip = saved(Trip, A, B)
    app.work()
    before = [photo.url("thumb") for photo in fresh(trip).photos]

    fresh(trip).photos[1].recreate_versions()
    app.work()

    after = [photo.url("thumb") for photo in fresh(trip).photos]
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    assert is_clean(app, trip)


def test_saving_for_another_reason_loses_no_pending_file(app: Application):
    trip = saved(Trip, A, B)
    loaded = fresh(trip)
    loaded.cover = C
    loaded.save()
    app.work()
    loaded.cover = D
    loaded.save()
    app.work()

    assert widths(trip) == [60, 70]
    assert fresh(trip).cover.stored.width == 90


def test_the_bypass_works_for_lists(app: Application):
    trip = Trip()
    trip.process_photos_upload = True
    trip.photos = [A, B]
    trip.save()

    assert enqueued() == []
    assert widths(trip) == [60, 70]
    assert fresh(trip).photos_state == "ready"
    assert is_clean(app, trip)


def test_the_sweep_knows_lists(app: Application):
    trip, walk = saved(Trip, A, B), saved(Walk, A)

    app.deliver(app.jobs()[0])
    Job.delete().execute()

    found = sweep(repair=True, min_age_s=-60)
    assert found.stuck == [f"trip {trip.id} photos", f"walk {walk.id} photos"]
    assert (found.orphans, found.missing, found.abandoned) == ([], [], [])
    app.work()
    assert widths(trip) == [60, 70]


def test_the_uploader_list_behaves_like_a_list(app: Application):
    trip = saved(Trip, A, B, C)
    app.work()
    photos = fresh(trip).photos

    assert len(photos) == 3
    assert photos[0] in photos
    assert [photo.stored.width for photo in photos[1:]] == [70, 80]
    assert photos[-1].stored.width == 80
    photos.replace(reversed(photos))
    assert [photo.stored.width for photo in photos] == [80, 70, 60]
    photos.extend([D])
    assert len(photos) == 4
    photos.clear()
    assert not photos


def test_a_list_says_whose_it_is(app: Application):
    trip = saved(Trip, A, B)

    assert repr(trip.photos) == f"<UploaderList of Trip {trip.id}.photos: 2 files>"
    assert repr(Trip(photos=[A]).photos) == "<UploaderList of Trip None.photos: 1 file>"


def test_one_file_is_not_a_list(app: Application, tmp_path: Path):
    (tmp_path / "a.gif").write_bytes(A)
    trip = Trip()

    with (tmp_path / "a.gif").open("rb") as file:
        for one in (A, tmp_path / "a.gif", file):
            with pytest.raises(TypeError, match="assign a list, even of one file"):
                trip.photos = one

    assert len(trip.photos) == 0


def test_a_list_needs_a_cache_list_field(app: Application):
    from gifster.uploads import CacheField

    with pytest.raises(TypeError, match="photos_tmp = CacheListField"):

        @store_in_background("photos")
        class Wrong(Base):
            photos = mount_uploaders(PhotoUploader)
            photos_tmp = CacheField()
