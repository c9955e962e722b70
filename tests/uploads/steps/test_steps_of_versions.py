"""Steps with which versions begin (`process(original=False)`), and what changes them later."""

from typing import Any

import peewee
import pytest

from gifster import imaging
from gifster.jobs import transaction
from gifster.uploads import UploadError, mount_uploader, process
from gifster.uploads.testing import enqueued
from gifster.uploads.versions import processing
from tests import images
from tests.uploads.framework import Application, Base, fresh
from tests.uploads.steps.cuts import (
    BOTH,
    EDITED,
    GIF,
    OTHER,
    WHOLE,
    ClipUploader,
    Cut,
    CutShown,
    Reel,
    change,
    check_files,
    clip,
    sizes,
)


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


def test_versions_that_could_not_be_made_at_first_are_all_made_when_somebody_asks(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given uploads without versions, as the first try failed for good
    def refuses(uploader: ClipUploader, info: Any) -> None:
        raise UploadError("Not today.")

    with monkeypatch.context() as patched:
        patched.setattr(ClipUploader, "before_process", refuses)
        updated, recreated = clip(CutShown), clip(CutShown)
        application.work()
    assert fresh(updated).file_state == "failed"
    assert fresh(updated).file.stored.versions == fresh(recreated).file.stored.versions == {}

    # When the application asks for versions, though no step has changed
    change(updated, 0)
    fresh(recreated).file.recreate_versions("small")
    application.work()

    # I expect all of them
    assert sizes(updated) == sizes(recreated) == WHOLE
    assert (fresh(updated).file_state, fresh(updated).file_error) == ("ready", None)
    check_files(application, updated, recreated)


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


def test_a_model_need_not_tell_states(application: Application):
    class Plain(Base):
        wide = peewee.IntegerField(default=0)
        file = mount_uploader(ClipUploader)

    application.create_tables(Plain)
    record = clip(Plain)

    assert change(record, 30)
    application.work()

    assert sizes(record) == EDITED
    check_files(application, record)


def test_a_record_without_a_file_has_nothing_to_update(application: Application):
    record = Cut.create()

    assert record.file.update_versions() is None
    assert application.jobs() == []


def test_a_step_that_makes_a_file_is_of_the_original():
    with pytest.raises(TypeError, match="declare a version"):
        process(file=True, original=False)  # type: ignore[call-overload]
