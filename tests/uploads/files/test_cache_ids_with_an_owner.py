"""Cache ids with an owner: only that owner can use them, and they give the file itself, not a copy.
The first record that is saved with the file gets it, whatever fails or happens twice.
`test_cache_ids` has those without an owner."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job, transaction
from gifster.uploads import (
    Backgrounder,
    CacheField,
    ErrorField,
    StateField,
    errors,
    mount_uploader,
    mount_uploaders,
    store_in_background,
)
from gifster.uploads.columns.fields import CacheListField
from gifster.uploads.files import cache_ids
from gifster.uploads.files.cache_ids import presign
from gifster.uploads.storage.s3 import S3Storage
from gifster.uploads.uploader import Uploader
from tests import images
from tests.logs import said_by
from tests.uploads.framework import Application, Base

GIF = images.gif()


class OwnUploader(Backgrounder, Uploader):
    def cache_owner(self) -> str:
        return self.record.owner


class AtOnceUploader(Uploader):
    def cache_owner(self) -> str:
        return self.record.owner


@store_in_background("photo")
class Post(Base):
    owner = peewee.CharField(default="ann")
    photo = mount_uploader(OwnUploader)
    photo_tmp = CacheField()
    photo_state = StateField()
    photo_error = ErrorField()


@store_in_background("photos")
class Pages(Base):
    owner = peewee.CharField(default="ann")
    photos = mount_uploaders(OwnUploader)
    photos_tmp = CacheListField()


class FlatUploader(AtOnceUploader):
    store_prefix = "badges"

    def store_dir(self) -> str:
        return "badges"


class Badge(Base):
    owner = peewee.CharField(default="ann")
    photo = mount_uploader(AtOnceUploader)
    back = mount_uploader(FlatUploader)
    backs = mount_uploaders(FlatUploader)


@pytest.fixture
def app(application: Application) -> Application:
    application.create_tables(Post, Pages, Badge)
    return application


def test_a_constructor_sets_the_owner_before_it_retrieves_the_file(app: Application):
    given = Post(owner="bob", photo=GIF).photo_cache

    post = Post(photo_cache=given, owner="bob")

    assert post.photo.file is not None
    assert post.photo.read() == GIF


def kept(content: bytes = GIF, owner: str = "ann") -> str:
    """The hidden field of a form that was refused."""
    refused = Post(owner=owner)
    refused.photo.assign(content, "me.gif")
    text = refused.photo_cache
    assert text
    return text


def post(text: Any, owner: str = "ann") -> Post:
    made = Post(owner=owner)
    made.photo_cache = text
    return made


def test_a_form_that_is_refused_again_and_again_keeps_one_file(app: Application):
    text = kept()

    for _ in range(5):
        text = post(text).photo_cache
    assert len(app.cached) == 1
    made = post(text)
    made.save()
    app.work()

    made = Post.get_by_id(made.id)
    assert (made.photo_state, made.photo.stored.filename) == ("ready", "me.gif")
    assert app.cached == []


@pytest.mark.parametrize(("whose", "by"), [("ann", "ben"), ("ann", ""), ("", "ann")])
def test_the_cache_id_of_somebody_else_is_refused(app: Application, whose: str, by: str):
    text = kept(owner=whose)

    with pytest.raises(errors.CacheIdInvalid):
        post(text, by)


def test_the_first_record_to_be_saved_gets_the_file(app: Application):
    text = kept()
    first, second = post(text), post(text)
    first.save()

    for late in (second, post(text)):
        with pytest.raises(errors.CacheFileTaken, match="choose the file again"):
            late.save()
    app.work()
    with pytest.raises(errors.CacheFileMissing):
        second.save()
    with pytest.raises(errors.CacheFileMissing):
        post(text)

    assert [(p.id, p.photo_state) for p in Post.select()] == [(first.id, "ready")]


def test_one_of_many_at_once_gets_the_file_and_keeps_it(app: Application):
    for _ in range(5):
        text, ready = kept(), threading.Barrier(6)

        def save(text: str = text, ready: threading.Barrier = ready) -> int | None:
            with app.database.connection_context():
                made = post(text)
                ready.wait()
                try:
                    made.save()
                except errors.CacheFileTaken:
                    return None
                return made.id

        with ThreadPoolExecutor(6) as threads:
            saved = [pk for pk in threads.map(lambda _: save(), range(6)) if pk is not None]
        gc.collect()  # the records of the others, and their claims

        assert len(saved) == 1
        assert len(app.cached) == 1
        app.work()
        assert Post.get_by_id(saved[0]).photo_state == "ready"
    assert app.cached == []


def test_a_second_save_waits_until_the_first_commits_or_rolls_back(app: Application):
    # Given two requests with one cache id, the first of them in its transaction
    text = kept()
    first, begun = post(text), threading.Event()

    def save_second() -> int:
        with app.database.connection_context():
            second = post(text)
            begun.set()
            second.save()
            return second.id

    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(ZeroDivisionError), transaction(app.database):
            first.save()
            second = threads.submit(save_second)
            assert begun.wait(60)
            raise ZeroDivisionError

        # When the first is rolled back, the second gets the file
        pk = second.result()
    del first
    gc.collect()
    app.work()

    assert [(p.id, p.photo_state) for p in Post.select()] == [(pk, "ready")]


def test_after_a_rollback_the_file_can_be_sent_again(app: Application):
    text = kept()

    with pytest.raises(ZeroDivisionError), transaction(app.database):
        post(text).save()
        raise ZeroDivisionError
    gc.collect()
    made = post(text)
    made.save()
    app.work()

    assert Post.get_by_id(made.id).photo_state == "ready"


def test_a_record_that_lost_its_file_to_another_is_refused(app: Application):
    # Given a record whose save was rolled back, and another that got the file before the
    # transaction around both ended
    text = kept()
    loser = Post.create()
    loser.photo_cache = text
    with transaction(app.database):
        with transaction(app.database) as savepoint:
            loser.save()
            savepoint.rollback()
        post(text).save()

    with pytest.raises(errors.CacheFileTaken):
        loser.save()
    assert loser.photo.assigned is not None
    app.work()
    assert Post.get_by_id(loser.id).photo.stored is None


def test_after_a_request_died_the_file_can_be_sent_again(app: Application):
    text = kept()
    post(text)  # and the request dies
    gc.collect()

    made = post(text)
    made.save()
    app.work()

    assert Post.get_by_id(made.id).photo_state == "ready"


def test_an_upload_with_a_dead_job_keeps_its_file(app: Application):
    text = kept()
    made = post(text)
    made.save()
    (job,) = app.jobs()
    Job.update(failed_at=1.0).where(Job.id == job.id).execute()

    with pytest.raises(errors.CacheFileTaken):
        post(text).save()
    jobs.retry(job.id)
    app.work()

    assert Post.get_by_id(made.id).photo_state == "ready"


def test_a_request_may_give_the_id_out_and_then_save(app: Application):
    # Given an application that gives the id out, and then saves the record
    made = Post()
    made.photo = GIF
    text = made.photo_cache
    made.save()

    with pytest.raises(errors.CacheFileTaken):
        post(text).save()
    app.work()

    assert Post.get_by_id(made.id).photo_state == "ready"


def test_a_list_gets_the_file_too(app: Application):
    pages = Pages()
    pages.photos.append(GIF)
    text = pages.photos[0].cache_id
    first, second = Pages(), Pages()
    first.photos.append_cache_id(text)
    second.photos.append_cache_id(text)

    first.save()
    with pytest.raises(errors.CacheFileTaken):
        second.save()
    app.work()

    assert [bool(photo) for photo in Pages.get_by_id(first.id).photos] == [True]


def test_an_upload_stored_at_once_leaves_the_file_to_others(app: Application):
    badge = Badge()
    badge.photo = GIF
    first, second = Badge(), Badge()
    first.photo_cache = second.photo_cache = badge.photo_cache

    first.save()
    second.save()

    assert [bool(one.photo) for one in Badge.select()] == [True, True]
    assert len(app.cached) == 1  # for the sweep


def test_a_form_that_is_sent_twice_to_a_record_does_not_lose_its_file(app: Application):
    # Given a record that has stored the file of a form
    badge = Badge.create()
    badge.photo = GIF
    text = badge.photo_cache
    for _ in range(2):
        badge = Badge.get()
        badge.photo_cache = text
        badge.save()

    # When the form has come once more, I expect that removing the former file takes no other
    app.work()

    badge = Badge.get()
    assert badge.photo.read() == GIF
    assert app.stored == [badge.photo.stored.key]


def test_two_records_that_store_a_file_at_once_have_one_each(app: Application):
    badge = Badge(back=GIF)
    badge.backs.append(GIF)
    text, texts = badge.back_cache, badge.backs_cache
    first, second = Badge(), Badge()
    for made in (first, second):
        made.back_cache, made.backs_cache = text, texts
        made.save()

    first.delete_instance()
    app.work()

    badge = Badge.get()
    assert [file.read() for file in (badge.back, *badge.backs)] == [GIF, GIF]


def test_another_uploader_checks_a_copy(app: Application):
    text = kept()
    badge = Badge()
    badge.photo_cache = text
    badge.save()

    assert badge.photo.stored.filename == "me.gif"
    assert post(text).photo.assigned is not None


def test_limits_that_changed_meanwhile_apply(app: Application, monkeypatch: pytest.MonkeyPatch):
    text = kept()
    monkeypatch.setattr(OwnUploader, "max_bytes", 100)

    with pytest.raises(errors.TooLarge):
        post(text)


def test_a_file_that_the_sweep_may_remove_soon_is_copied(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    text = kept()
    monkeypatch.setattr(cache_ids, "SHARED_S", -1)

    made = post(text)

    assert len(app.cached) == 2
    made.save()
    app.work()
    assert Post.get_by_id(made.id).photo_state == "ready"


def test_a_direct_upload_is_for_its_owner_and_copied(app: Application):
    if not isinstance(app.cache, S3Storage):
        return
    direct = presign(OwnUploader, "me.gif", len(GIF), "image/gif", owner="ann")
    request = direct.request
    httpx.request(request.method, request.url, content=GIF, headers=request.headers)

    with pytest.raises(errors.CacheIdInvalid):
        post(direct.cache_id, "ben")
    assert post(direct.cache_id).photo.assigned.key not in direct.request.url
    assert len(app.cached) == 2


# The log says why an id was refused; the answer does not.


def reason(caplog: pytest.LogCaptureFixture, text: object, by: str = "ann") -> tuple[str, str]:
    """The level and the message with which a cache id is refused."""
    caplog.clear()
    with caplog.at_level("INFO", "gifster.uploads"), pytest.raises(errors.UploadError) as refusal:
        post(text, by)
    assert "Choose the file again" in str(refusal.value)
    [record] = said_by("gifster.uploads", caplog)
    message = record.getMessage()
    assert message.startswith(
        "cache id refused uploader=tests.uploads.files.test_cache_ids_with_an_owner"
    )
    assert "a secret of the tests" not in message
    assert not (isinstance(text, str) and text in message)
    return record.levelname, message.partition("reason=")[2]


def test_the_log_says_why_a_cache_id_was_refused(
    app: Application, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    text = kept()
    assert reason(caplog, text, "ben") == ("WARNING", "'it is for another owner'")
    assert reason(caplog, text, "") == ("WARNING", "'it is for another owner'")
    unsealed = text.rpartition(".")[0]
    for forged in (f"x{text}", text[:-1], f"{unsealed}.{'A' * 27}", "hello", "..", 5, {"a": 1}):
        level, why = reason(caplog, forged)
        assert (level, why[:21]) == ("WARNING", "'it was not made here"), forged

    app.configure(secret="another secret")
    assert reason(caplog, text)[1].startswith("'it was not made here")
    app.configure(secret=["a secret of the tests", "another secret"])
    assert post(text, "ann").photo.changed

    monkeypatch.setattr(cache_ids, "CACHE_ID_S", -1)
    assert reason(caplog, text) == ("INFO", "'it has expired'")
    assert reason(caplog, text, "ben")[1] == "'it is for another owner'"


def test_the_log_names_a_file_that_is_gone(app: Application, caplog: pytest.LogCaptureFixture):
    text = kept()
    [key] = app.cached
    app.cache.delete(key)

    assert reason(caplog, text) == ("INFO", f"'its file is gone' key={key}")


def test_an_id_of_the_release_before_is_valid(app: Application):
    cache_id = kept()

    assert post(cache_id.rpartition(".")[0], "ann").photo.changed  # it had no seal
