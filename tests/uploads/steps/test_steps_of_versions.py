"""Steps with which versions begin (`process(original=False)`), and what changes them later."""

from typing import Any

import peewee
import pytest

from gifster import imaging
from gifster.imaging import Image
from gifster.jobs import transaction
from gifster.uploads import (
    Backgrounder,
    CacheField,
    CacheListField,
    ErrorField,
    ImageInfo,
    ProcessingField,
    StateField,
    Uploader,
    UploadError,
    mount_uploader,
    mount_uploaders,
    process,
    process_in_background,
    store_in_background,
    version,
)
from gifster.uploads.backgrounding import promotion
from gifster.uploads.backgrounding.recreate import Recreation
from gifster.uploads.testing import enqueued
from gifster.uploads.versions import processing
from tests import images
from tests.uploads.framework import Application, Base

GIF = images.gif(size=(120, 90), durations=[100] * 6)


class ClipUploader(Backgrounder, Uploader):
    @process(original=False)
    def edited(self, image: Image) -> Image:
        return image.crop(self.record.wide, 90) if self.record.wide else image

    @version
    def small(self, image: Image) -> Image:
        return image.fit(60, 60)

    @version(later=True)
    def large(self, image: Image) -> Image:
        return image.fit(100, 100)

    def before_process(self, info: ImageInfo) -> None:
        if self.record.wide == 13:
            raise UploadError("Thirteen is too many.")


@store_in_background("file")
class Cut(Base):
    wide = peewee.IntegerField(default=0)
    file = mount_uploader(ClipUploader)
    file_tmp = CacheField()
    file_processing = ProcessingField()
    file_state = StateField()
    file_error = ErrorField()


@process_in_background("file")
class CutShown(Base):
    wide = peewee.IntegerField(default=0)
    file = mount_uploader(ClipUploader)
    file_processing = ProcessingField()
    file_state = StateField()
    file_error = ErrorField()


@store_in_background("files")
class Reel(Base):
    wide = peewee.IntegerField(default=0)
    files = mount_uploaders(ClipUploader)
    files_tmp = CacheListField()
    files_processing = ProcessingField()
    files_state = StateField()


BOTH = pytest.mark.parametrize("model", [Cut, CutShown])


@pytest.fixture(autouse=True)
def _tables(application: Application) -> None:
    application.create_tables(Cut, CutShown, Reel)


def clip(model: Any = Cut, wide: int = 0) -> Any:
    record = model(wide=wide)
    record.file = GIF
    record.save()
    return record


def fresh(record: Any) -> Any:
    return type(record).get_by_id(record.id)


def change(record: Any, wide: int) -> Any:
    """What an application does: both in one transaction."""
    record = fresh(record)
    with transaction(record._meta.database):
        record.wide = wide
        record.save()
        return record.file.update_versions()


def sizes(record: Any) -> dict[str, tuple[int, int]]:
    return {
        name: images.size(version.read()) for name, version in fresh(record).file.versions.items()
    }


def check_files(application: Application, *records: Any) -> None:
    """All files that the rows name are there, and no others."""
    named = [key for record in records for _, key in fresh(record).file.stored.files]
    assert sorted(application.stored) == sorted(named)
    assert application.cached == []


EDITED = {"small": (20, 60), "large": (30, 90)}
WHOLE = {"small": (60, 45), "large": (100, 75)}
OTHER = {"small": (60, 60), "large": (90, 90)}


@BOTH
def test_versions_begin_with_the_step_and_the_original_stays(application: Application, model: Any):
    record = clip(model, wide=30)
    plain = clip(model)
    application.work()

    done = fresh(record)
    assert done.file_state == "ready"
    assert done.file.read() == GIF
    assert (done.file.stored.width, done.file.stored.height) == (120, 90)
    assert sizes(record) == EDITED
    # The hash finds duplicates of the original; the placeholder is that of the versions.
    assert done.file.stored.dhash == fresh(plain).file.stored.dhash
    assert done.file.stored.thumbhash != fresh(plain).file.stored.thumbhash
    check_files(application, record, plain)


@BOTH
def test_a_change_gives_new_versions_and_the_old_are_shown_until_then(
    application: Application, model: Any
):
    record = clip(model)
    application.work()
    before = fresh(record).file.stored

    assert change(record, 30) is not None

    waiting = fresh(record)
    assert (waiting.file_state, waiting.file_processing) == ("processing", True)
    assert waiting.file.stored == before
    assert sizes(record) == WHOLE
    application.work()
    done = fresh(record)
    assert (done.file_state, done.file_processing) == ("ready", False)
    assert sizes(record) == EDITED
    assert done.file.url("small") != before.versions["small"].url()
    assert (done.file.stored.key, done.file.stored.dhash) == (before.key, before.dhash)
    check_files(application, record)

    # And back
    change(record, 0)
    application.work()
    assert sizes(record) == WHOLE
    assert fresh(record).file.stored.steps == ""
    check_files(application, record)


def test_of_several_changes_the_last_wins_and_is_made_once(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    record = clip()
    application.work()
    for wide in (30, 50, 90):
        change(record, wide)
    rendered: list[Any] = []
    real = imaging.render

    def render(*arguments: Any) -> Any:
        rendered.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(processing.imaging, "render", render)

    application.work()

    assert len(rendered) == 1
    assert sizes(record) == OTHER
    assert fresh(record).file_state == "ready"
    check_files(application, record)


def _when_stored(monkeypatch: pytest.MonkeyPatch, module: Any, act: Any) -> None:
    """Do something once, when a job has stored its files and not yet written its row."""
    real, todo = module._swap, [act]

    def swap(self: Any, *arguments: Any, **options: Any) -> Any:
        if todo:
            todo.pop()()
        return real(self, *arguments, **options)

    monkeypatch.setattr(module, "_swap", swap)


@pytest.mark.parametrize("last", [90, 30, 0])
def test_a_change_while_the_versions_of_another_are_made(
    application: Application, monkeypatch: pytest.MonkeyPatch, last: int
):
    record = clip()
    application.work()
    change(record, 30)
    _when_stored(monkeypatch, Recreation, lambda: change(record, last))

    application.work()

    assert sizes(record) == {90: OTHER, 30: EDITED, 0: WHOLE}[last]
    assert fresh(record).file_state == "ready"
    check_files(application, record)


def test_of_two_jobs_at_once_the_first_gives_the_urls(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    record = clip()
    application.work()
    change(record, 50)
    change(record, 30)
    job, other = enqueued("update_versions")
    found: list[Any] = []

    def meanwhile() -> None:
        application.deliver(other)
        found.append(fresh(record).file.stored)

    _when_stored(monkeypatch, Recreation, meanwhile)
    application.deliver(job)

    assert fresh(record).file.stored == found[0]
    assert sizes(record) == EDITED
    application.work()
    check_files(application, record)


@BOTH
@pytest.mark.parametrize("last", [30, 0])
def test_a_change_while_the_upload_is_processed_is_not_lost(
    application: Application, monkeypatch: pytest.MonkeyPatch, model: Any, last: int
):
    record = clip(model, wide=50)
    module = promotion.Promotion if model is Cut else Recreation
    _when_stored(monkeypatch, module, lambda: change(record, last))

    application.work()

    assert sizes(record) == {30: EDITED, 0: WHOLE}[last]
    assert (fresh(record).file_state, fresh(record).file_processing) == ("ready", False)
    check_files(application, record)


@pytest.mark.parametrize("changes", [[30], [30, 0], [30, 90]])
def test_a_change_between_the_first_versions_and_the_later_ones(
    application: Application, monkeypatch: pytest.MonkeyPatch, changes: list[int]
):
    # Given an upload that is shown, and has yet to be completed by another job
    monkeypatch.setattr(promotion, "WORTH_ANOTHER_JOB", 1)
    record, other = clip(), clip()
    application.deliver(enqueued("store_asset")[0])
    assert list(fresh(record).file.stored.versions) == ["small"]

    # When it changes, and once more while that job works
    assert change(record, changes[0]) is None
    if changes[1:]:
        _when_stored(monkeypatch, promotion.Promotion, lambda: change(record, changes[1]))
    application.deliver(enqueued("complete_asset")[0])
    application.work()

    assert sizes(record) == {30: EDITED, 0: WHOLE, 90: OTHER}[changes[-1]]
    assert fresh(record).file_state == "ready"
    check_files(application, record, other)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["stored", "named"])
def test_a_job_whose_worker_was_killed_runs_again(
    application: Application, monkeypatch: pytest.MonkeyPatch, moment: str
):
    record = clip()
    application.work()
    change(record, 30)
    real = Recreation._swap

    def swap(self: Any, *arguments: Any, **options: Any) -> bool:
        if moment == "named":
            real(self, *arguments, **options)
        raise Killed

    monkeypatch.setattr(Recreation, "_swap", swap)
    job = enqueued("update_versions")[0]
    with pytest.raises(Killed):
        application.deliver(job)
    monkeypatch.setattr(Recreation, "_swap", real)

    # When the record changes again, before the job comes back
    change(record, 90)
    application.deliver(job)
    done = fresh(record).file.stored
    application.work()

    # Then it made the last versions, under keys of their own, and nothing is left behind
    assert fresh(record).file.stored == done
    assert sizes(record) == OTHER
    assert fresh(record).file_state == "ready"
    named = {key for _, key in fresh(record).file.stored.files}
    left = set(application.stored) - named
    assert named <= set(application.stored)
    # What a killed job has stored and no row names is left to the sweep.
    assert bool(left) == (moment == "stored")


def test_versions_that_cannot_be_made_leave_the_old_ones_and_say_why(application: Application):
    record = clip(wide=30)
    application.work()

    change(record, 13)
    application.work()

    failed = fresh(record)
    assert (failed.file_state, failed.file_processing) == ("failed", False)
    assert failed.file_error.message == "Thirteen is too many."
    assert sizes(record) == EDITED
    change(record, 90)
    application.work()
    assert (fresh(record).file_state, fresh(record).file_error) == ("ready", None)
    assert sizes(record) == OTHER
    check_files(application, record)


def test_a_job_that_is_given_up_marks_the_record(application: Application):
    from gifster.uploads import actors

    record = clip()
    application.work()
    change(record, 30)
    job = enqueued("update_versions")[0]

    actors.update_versions.options["on_dead"](RuntimeError("no disk"), *job.arguments)

    assert fresh(record).file_state == "failed"
    assert fresh(record).file_error.code == "storing_failed"
    assert sizes(record) == WHOLE


def test_recreating_one_version_of_a_changed_record_makes_all(application: Application):
    record = clip()
    application.work()
    record = fresh(record)
    record.wide = 30
    record.save()

    record.file.recreate_versions("small")
    application.work()

    assert sizes(record) == EDITED
    check_files(application, record)


def test_a_failed_replacement_leaves_versions_that_follow_the_record(application: Application):
    record = clip(wide=30)
    application.work()
    record = fresh(record)
    record.file = images.gif(size=(100, 90))[:-100] + b"\0" * 99 + b";"
    record.wide = 0
    record.save()

    application.work()

    assert fresh(record).file_state in ("failed", "ready")
    assert sizes(record)["small"][1] == (45 if fresh(record).file_state == "failed" else 54)


def test_files_of_a_list(application: Application):
    reel = Reel(files=[GIF, images.gif(size=(100, 90))])
    reel.save()
    application.work()

    reel = Reel.get_by_id(reel.id)
    with transaction(reel._meta.database):
        reel.wide = 30
        reel.save()
        jobs = [file.update_versions() for file in reel.files]
    assert None not in jobs
    assert Reel.get_by_id(reel.id).files_state == "processing"
    application.work()

    reel = Reel.get_by_id(reel.id)
    assert reel.files_state == "ready"
    assert [images.size(file.small.read()) for file in reel.files] == [(20, 60)] * 2
    named = [key for file in reel.files for _, key in file.stored.files]
    assert sorted(application.stored) == sorted(named)


def test_a_record_without_a_file_has_nothing_to_update(application: Application):
    record = Cut.create()

    assert record.file.update_versions() is None
    assert application.jobs() == []


def test_a_step_that_makes_a_file_is_of_the_original():
    with pytest.raises(TypeError, match="declare a version"):
        process(file=True, original=False)  # type: ignore[call-overload]
