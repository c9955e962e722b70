"""What changes the steps of versions while a worker makes them: the last change wins, once."""

import itertools
from typing import Any

import pytest

from gifster.jobs import Job, transaction
from gifster.uploads import StorageUnavailable, sweep
from gifster.uploads.attaching import storing
from gifster.uploads.backgrounding import promotion
from gifster.uploads.backgrounding.recreate import Recreation
from gifster.uploads.testing import enqueued
from tests.uploads.fate import Crashed
from tests.uploads.framework import Application, fresh
from tests.uploads.steps.cuts import (
    BOTH,
    EDITED,
    GIF,
    OTHER,
    WHOLE,
    Cut,
    Reel,
    change,
    check_files,
    clip,
    sizes,
)


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


@BOTH
@pytest.mark.parametrize("meanwhile", ["stored", "replaced"])
def test_a_change_of_a_record_that_was_loaded_before_its_file_was_stored(
    application: Application, model: Any, meanwhile: str
):
    # Given a record that somebody has loaded, before a worker stored its file, or its next one
    record = clip(model)
    if meanwhile == "replaced":
        application.work()
    loaded = fresh(record)
    if meanwhile == "replaced":
        record.file = GIF
        record.save()
    application.work()

    # When they change it
    with transaction(loaded._meta.database):
        loaded.wide = 30
        loaded.save()
        assert loaded.file.update_versions()
    application.work()

    # Then the versions follow
    assert sizes(record) == EDITED
    assert fresh(record).file_state == "ready"
    check_files(application, record)


def test_a_change_of_a_list_that_was_loaded_before_its_files_were_stored(application: Application):
    application.create_tables(Reel)
    loaded = Reel.create(files=[GIF, GIF])
    application.work()

    loaded.wide = 30
    loaded.save()
    assert all(one.update_versions() for one in loaded.files)
    assert Reel(files=[GIF]).files[0].update_versions() is None
    application.work()

    assert [one.large.stored.width for one in fresh(loaded).files] == [30, 30]


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
        raise Crashed

    monkeypatch.setattr(Recreation, "_swap", swap)
    job = enqueued("update_versions")[0]
    with pytest.raises(Crashed):
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
    sweep(repair=True, min_age_s=-60, force=True)
    check_files(application, record)


def test_a_copy_of_a_job_that_wakes_up_late_makes_files_of_its_own(application: Application):
    # Given a job that has run, and whose files have been replaced, but not yet deleted
    record = clip()
    application.work()
    change(record, 30)
    (job,) = enqueued("update_versions")
    application.deliver(job)
    Job.delete().where(Job.id == job.id).execute()
    change(record, 90)
    application.deliver(enqueued("update_versions")[0])
    change(record, 30)

    # When a second copy of the job makes the same versions again, and then those are deleted
    application.deliver(job)
    application.work()

    # I expect the row to name files that are there
    assert sizes(record) == EDITED
    check_files(application, record)


def test_a_second_copy_of_a_job_that_shows_changed_versions_leaves_none_out(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a job that has shown the first versions, and is held up
    record, real = clip(), promotion.Promotion._swap
    (job,) = enqueued("store_asset")

    def swap_and_wait(self: Any, stored: Any, **options: Any) -> bool:
        monkeypatch.setattr(promotion.Promotion, "_swap", swap_and_die)
        real(self, stored, **options)

        # When the record changes, and a second copy of the job shows the first versions again
        change(record, 30)
        with pytest.raises(Crashed):
            application.deliver(job)
        monkeypatch.setattr(promotion.Promotion, "_swap", real)
        return True

    def swap_and_die(self: Any, stored: Any, **options: Any) -> bool:
        real(self, stored, **options)
        raise Crashed

    monkeypatch.setattr(promotion.Promotion, "_swap", swap_and_wait)
    application.deliver(job)
    application.work()

    # Then the record gets them all
    assert sizes(record) == EDITED
    assert fresh(record).file_state == "ready"
    check_files(application, record)


@BOTH
def test_a_storage_that_fails_half_way_keeps_no_files_of_the_try(
    application: Application, monkeypatch: pytest.MonkeyPatch, model: Any
):
    record = clip(model)
    application.work()
    change(record, 30)
    real, calls = storing.upload_file, itertools.count()

    def upload(*arguments: Any, **facts: Any) -> None:
        if next(calls):
            raise StorageUnavailable("it is away")
        real(*arguments, **facts)

    monkeypatch.setattr(storing, "upload_file", upload)
    with pytest.raises(StorageUnavailable):
        application.deliver(enqueued("update_versions")[0])

    check_files(application, record)
