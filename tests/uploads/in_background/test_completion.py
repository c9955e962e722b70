"""While other uploads wait to be shown, a job leaves the `later` versions to another job."""

from typing import Any

import pytest

from gifster.jobs import Job
from gifster.uploads import (
    Backgrounder,
    CacheField,
    Image,
    StateField,
    Uploader,
    UploadError,
    mount_uploader,
    store_in_background,
    version,
)
from gifster.uploads.backgrounding import completion, promotion
from gifster.uploads.testing import enqueued
from tests import images
from tests.uploads.fate import Crashed
from tests.uploads.framework import Application, Base, fresh

GIF, OTHER = images.gif(size=(120, 90)), images.gif(size=(100, 90), durations=[70] * 3)


class ClipUploader(Backgrounder, Uploader):
    @version
    def small(self, image: Image) -> Image:
        return image.fit(20, 20)

    @version(later=True)
    def large(self, image: Image) -> Image:
        return image.fit(80, 80)

    @version(later=True, smaller_than="small")
    def huge(self, image: Image) -> Image:
        return image.fit(110, 110)

    @version(of="large", later=True, smaller_than="large")
    def webp(self, image: Image) -> Image:
        return image.convert("webp")

    def fair_by(self) -> str:
        return "ann"


@store_in_background("file")
class Clip(Base):
    file = mount_uploader(ClipUploader)
    file_tmp = CacheField()
    file_state = StateField()


@pytest.fixture(autouse=True)
def _clips(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    application.create_tables(Clip)
    monkeypatch.setattr(promotion, "WORTH_ANOTHER_JOB", 1)


def clip(content: bytes = GIF) -> Clip:
    record = Clip()
    record.file = content
    record.save()
    return record


def run(application: Application, actor: str) -> None:
    """Run the oldest job of an actor."""
    job = enqueued(actor)[0]
    application.deliver(job)
    job.delete_instance()


def test_an_upload_that_nobody_waits_behind_is_finished_by_its_job(application: Application):
    record = clip()

    run(application, "store_asset")

    assert fresh(record).file_state == "ready"
    assert "large" in fresh(record).file.stored.versions
    assert application.jobs() == []


def test_while_others_wait_an_upload_is_shown_and_then_completed(application: Application):
    alone = clip()
    application.work()
    expected = fresh(alone).file.stored

    # Given two uploads
    record, other = clip(), clip(OTHER)

    # When the first job has run
    run(application, "store_asset")

    # Then its upload is shown, and has yet to be completed by a job of the same group and queue
    shown = fresh(record)
    assert (shown.file_state, list(shown.file.stored.versions)) == ("processing", ["small"])
    assert shown.file_tmp is not None
    [job] = enqueued("complete_asset")
    assert (job.group, job.queue) == ("ann", enqueued("store_asset")[0].queue)

    # And once all jobs have run, it is what it would have been without the other one
    small = shown.file.url("small")
    application.work()
    done = fresh(record).file.stored
    assert fresh(record).file_state == fresh(other).file_state == "ready"
    assert fresh(record).file_tmp is None
    assert fresh(record).file.url("small") == small
    assert {n: (v.width, v.height, v.content_type) for n, v in done.versions.items()} == {
        n: (v.width, v.height, v.content_type) for n, v in expected.versions.items()
    }
    assert (done.thumbhash, done.dhash, done.sha256) == (
        expected.thumbhash,
        expected.dhash,
        expected.sha256,
    )
    assert application.cached == []
    named = [key for r in (alone, record, other) for _, key in fresh(r).file.stored.files]
    assert application.stored == sorted(named)


def test_uploads_are_shown_before_any_is_completed(application: Application):
    for _ in range(4):
        clip()
    order = []
    while jobs := enqueued():
        jobs.sort(key=lambda job: (job.actor == "complete_asset", job.created_at))
        order.append(jobs[0].actor)
        application.deliver(jobs[0])
        jobs[0].delete_instance()

    # The last upload has nobody to wait for.
    assert order == ["store_asset"] * 4 + ["complete_asset"] * 3
    assert {record.file_state for record in Clip.select()} == {"ready"}


def test_the_job_of_a_shown_upload_may_run_again(application: Application):
    record = clip()
    clip(OTHER)
    [job, _] = enqueued("store_asset")

    # When a worker dies after it has shown the upload, and another one gets its job, and both jobs
    # run after that was completed
    application.deliver(job)
    application.deliver(job)
    [completion] = enqueued("complete_asset")
    application.deliver(completion)
    before = fresh(record).file.stored
    application.deliver(completion)
    application.deliver(job)

    assert fresh(record).file_state == "ready"
    assert fresh(record).file.stored == before
    assert {key for _, key in before.files} <= set(application.stored)


def test_an_upload_that_is_replaced_before_its_completion_leaves_nothing(
    application: Application,
):
    record = clip()
    clip(OTHER)
    run(application, "store_asset")

    record = fresh(record)
    record.file = OTHER
    record.save()
    application.work()

    assert fresh(record).file.stored.width == 100
    assert fresh(record).file_state == "ready"
    assert application.cached == []
    named = [key for r in Clip.select() for _, key in r.file.stored.files]
    assert application.stored == sorted(named)


def test_a_deleted_record_leaves_nothing(application: Application):
    record, other = clip(), clip(OTHER)
    run(application, "store_asset")

    fresh(record).delete_instance()
    application.work()

    assert application.cached == []
    assert application.stored == sorted(key for _, key in fresh(other).file.stored.files)


def test_an_uploader_that_gets_all_files_together_is_not_divided(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    seen = []
    monkeypatch.setattr(
        ClipUploader, "after_process", lambda self, files: seen.append([f.name for f in files])
    )
    clip()
    clip(OTHER)

    run(application, "store_asset")

    assert enqueued("complete_asset") == []
    assert seen[1][0] == "small"
    assert "large" in seen[1]


def test_a_small_upload_is_finished_at_once(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(promotion, "WORTH_ANOTHER_JOB", 1_000_000)
    record = clip()
    clip(OTHER)

    run(application, "store_asset")

    assert fresh(record).file_state == "ready"


def test_a_completion_that_is_given_up_marks_the_upload_failed(application: Application):
    from gifster.uploads.actors import complete_asset

    record = clip()
    clip(OTHER)
    run(application, "store_asset")
    [job] = enqueued("complete_asset")

    complete_asset.options["on_dead"](OSError("no space left"), *job.arguments)

    failed = fresh(record)
    assert failed.file_state == "failed"
    assert list(failed.file.stored.versions) == ["small"]
    # The cached file stays, so the job can be retried
    application.work()
    assert fresh(record).file_state == "ready"
    assert Job.select().count() == 0


def shown_by_a_killed_worker(application: Application, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A record whose first versions are shown, and whose job waits for its retry."""
    record, swap = clip(), promotion.Promotion._swap

    def swap_and_die(self: Any, *arguments: Any, **options: Any) -> bool:
        swap(self, *arguments, **options)
        raise Crashed

    with monkeypatch.context() as patched:
        patched.setattr(promotion.Promotion, "_swap", swap_and_die)
        with pytest.raises(Crashed):
            application.deliver(enqueued("store_asset")[0])
    return record


@pytest.mark.parametrize("recreated", [(), ("small",)])
@pytest.mark.parametrize("divided", [True, False])
def test_versions_that_are_made_again_meanwhile_stay(
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
    recreated: tuple[str, ...],
    divided: bool,
):
    record, job, module = clip(), "store_asset", promotion
    if divided:
        clip(OTHER)
        run(application, "store_asset")
        job, module = "complete_asset", completion
    store = module.store

    def meanwhile(*arguments: Any) -> None:
        if len(arguments) == len(["uploader", "files", "stored", "already stored"]):
            monkeypatch.setattr(module, "store", store)
            fresh(record).file.recreate_versions(*recreated)
            run(application, "recreate_versions")
            for _ in enqueued("remove_files"):
                run(application, "remove_files")
        store(*arguments)

    monkeypatch.setattr(module, "store", meanwhile)
    run(application, job)
    application.work()

    assert fresh(record).file_state == "ready"
    assert {"small", "large"} <= set(fresh(record).file.stored.versions)
    named = [key for r in Clip.select() for _, key in r.file.stored.files]
    assert application.stored == sorted(named)


def test_versions_may_be_made_again_before_the_completion(application: Application):
    record = clip()
    clip(OTHER)
    run(application, "store_asset")

    fresh(record).file.recreate_versions()
    run(application, "recreate_versions")
    application.work()

    assert fresh(record).file_state == "ready"
    assert {"small", "large"} <= set(fresh(record).file.stored.versions)
    named = [key for r in Clip.select() for _, key in r.file.stored.files]
    assert application.stored == sorted(named)


@pytest.mark.parametrize("recreated", [(), ("small",)])
@pytest.mark.parametrize("deleted", ["before", "after"])
def test_the_retry_of_a_killed_job_keeps_versions_that_were_made_again_since(
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
    recreated: tuple[str, ...],
    deleted: str,
):
    # Given an upload whose worker was killed when it had shown the first versions
    record = shown_by_a_killed_worker(application, monkeypatch)

    # When versions are made again, and the job that deletes the former ones runs before the retry
    # or after it, as while the storage is away
    fresh(record).file.recreate_versions(*recreated)
    run(application, "recreate_versions")
    if deleted == "before":
        run(application, "remove_files")
    run(application, "store_asset")
    application.work()

    # I expect the row to name files that are there, and nothing else to be there
    assert fresh(record).file_state == "ready"
    assert {"small", "large"} <= set(fresh(record).file.stored.versions)
    named = [key for _, key in fresh(record).file.stored.files]
    assert application.stored == sorted(named)


@pytest.mark.parametrize("recreated", [False, True])
def test_the_retry_of_a_killed_job_keeps_its_versions_under_another_name_of_the_original(
    application: Application, monkeypatch: pytest.MonkeyPatch, recreated: bool
):
    # Given an upload whose worker was killed when it had shown the first versions
    record = shown_by_a_killed_worker(application, monkeypatch)
    if recreated:
        fresh(record).file.recreate_versions("small")
        run(application, "recreate_versions")

    # When the original has another name in the retry, as that of a later release, or as it is made
    # from a title that has changed
    def filename(self: Any, version: str | None, upload: Any) -> str:
        return version or "renamed"

    monkeypatch.setattr(ClipUploader, "filename", filename)
    run(application, "store_asset")
    application.work()

    # I expect the row to name files that are there, and nothing else to be there
    assert fresh(record).file_state == "ready"
    assert {"small", "large"} <= set(fresh(record).file.stored.versions)
    assert fresh(record).file.stored.key.endswith("renamed.gif")
    named = [key for _, key in fresh(record).file.stored.files]
    assert application.stored == sorted(named)


@pytest.mark.parametrize("ends", ["it cannot be processed", "its job is given up"])
def test_an_upload_whose_replacement_fails_gets_its_later_versions_after_all(
    application: Application, ends: str
):
    # Given an upload that is shown, and is replaced before its other versions are made
    record = clip()
    clip(OTHER)
    run(application, "store_asset")
    record = fresh(record)
    record.file = OTHER
    record.save()

    # When the replacement fails
    failing = promotion.Promotion("clip", record.id, "file", record.file_tmp.key)
    if ends == "it cannot be processed":
        failing.fail(UploadError("No such picture."), give_up=True)
    else:
        failing.fail(OSError("The disk is full."), give_up=False)
        for job in Job.select().where(Job.actor == "store_asset"):
            if record.file_tmp.key in job.arguments:
                Job.update(failed_at=1.0).where(Job.id == job.id).execute()
    application.work()

    # Then the one that stays has all its versions
    failed = fresh(record)
    assert failed.file_state == "failed"
    assert failed.file.stored.width == 120
    assert {"small", "large"} <= set(failed.file.stored.versions)
    assert failed.file.stored.steps == ""
    named = [key for r in Clip.select() for _, key in r.file.stored.files]
    assert application.stored == sorted(named)
