"""Quotas under simultaneous requests. `api/limits/test_limits.py` has the rest."""

import json
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import peewee
import pytest

from gifster import jobs
from gifster.app import accounts, direct, kept_uploads, library
from gifster.app.database import db
from gifster.app.models import Gif, ImageUploader, KeptUpload, User, now
from gifster.app.settings import Settings
from gifster.jobs import transaction
from gifster.jobs.transactions import schema_transaction
from gifster.uploads import CachedFile, StorageUnavailable
from gifster.uploads.columns.rows import locked_row
from gifster.uploads.config import config
from gifster.uploads.files.cache_ids import cache_id, retrieve
from gifster.uploads.resumable import rows, table
from tests import images
from tests.app.gifs import SMALL, added, cached
from tests.combinations import on_postgresql
from tests.machine import eventually
from tests.stack import Stack

LARGE = images.gif(size=(300, 200))


def tried(work: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
    """Whether the quota let the thread of a request do something."""
    with db.connection_context():
        try:
            work(*arguments, **options)
        except library.Denied:
            return False
        return True


def someone(who: str) -> User | None:
    return accounts.sign_up("ann@example.org", "correct horse") if who == "ann" else None


@pytest.mark.parametrize("who", ["ann", "nobody"])
def test_simultaneous_uploads_cannot_share_the_last_place(booted: Settings, who: str):
    user, quota = someone(who), library.Quota(gifs=3, bytes=10**9)
    files = [cached() for _ in range(12)]
    ready = threading.Barrier(12)

    def add(file: CachedFile) -> bool:
        ready.wait()
        return tried(library.add_gif, file, user=user, quota=quota)

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(add, files)) == 3
    assert Gif.select().count() == 3


@pytest.mark.parametrize("who", ["ann", "nobody"])
def test_a_replacement_is_compared_with_the_image_at_its_turn(
    booted: Settings, monkeypatch: pytest.MonkeyPatch, who: str
):
    # Given a large GIF that fills the quota
    user, quota = someone(who), library.Quota(gifs=9, bytes=len(LARGE))
    gif = added(LARGE, user=user, quota=quota)
    files = [cached(), cached(LARGE[:-1] + b";"), cached()]
    has_looked, look = threading.Event(), library.gif_to_change

    def looking(*arguments: Any) -> Gif:
        found = look(*arguments)
        has_looked.set()
        return found

    with ThreadPoolExecutor(1) as threads:
        # When somebody replaces it by a large one, but a small one and an upload come first
        with transaction(db):
            if user is not None:
                locked_row(user)
            library.replace_image(gif.id, user, files[0], quota)
            monkeypatch.setattr(library, "gif_to_change", looking)
            second = threads.submit(tried, library.replace_image, gif.id, user, files[1], quota)
            assert eventually(has_looked.is_set)
            library.add_gif(files[2], user=user, quota=quota)
        assert second.result() is False

    assert sum(gif.bytes for gif in Gif.select()) == 2 * len(SMALL)


def test_a_replacement_counts_for_the_owner(booted: Settings):
    ann, admin = someone("ann"), accounts.sign_up("admin@example.org", "correct horse")
    gif = added(user=ann)
    files = [cached(), cached(LARGE)]
    added(LARGE, user=admin)

    def tried_by_admin(file: CachedFile, quota: library.Quota) -> bool:
        return tried(library.replace_image, gif.id, admin, file, quota, library.Reach.ALL)

    quota = library.Quota(gifs=9, bytes=len(LARGE) + len(SMALL))
    assert tried_by_admin(files[1], quota)
    quota = library.Quota(gifs=9, bytes=len(LARGE) - 1)
    assert tried_by_admin(files[0], quota)
    assert not tried_by_admin(cached(LARGE), quota)


# Kept files of refused forms.


def again(file: CachedFile) -> CachedFile:
    """The file of a form that is sent again."""
    return retrieve(ImageUploader, cache_id(file, "somebody"), "somebody")


@pytest.mark.parametrize("who", ["ann", "nobody"])
def test_kept_files_count_until_they_are_used(booted: Settings, who: str):
    user, quota = someone(who), library.Quota(gifs=9, bytes=2 * len(SMALL) + 10)
    first = cached()
    kept_uploads.keep(first, user, quota)
    kept_uploads.keep(first, user, quota)  # refused once more
    kept_uploads.keep(cached(), user, quota)

    assert not tried(kept_uploads.keep, cached(), user, quota)
    assert not tried(library.add_gif, cached(), user=user, quota=quota)
    gif = library.add_gif(again(first), user=user, quota=quota)
    assert not tried(library.add_gif, cached(), user=user, quota=quota)
    library.delete_gif(gif.id, user)
    assert tried(library.add_gif, cached(), user=user, quota=quota)


@pytest.mark.parametrize("who", ["ann", "nobody"])
def test_simultaneously_refused_forms_cannot_share_the_last_place(booted: Settings, who: str):
    user, quota = someone(who), library.Quota(gifs=9, bytes=3 * len(SMALL))
    files = [cached() for _ in range(12)]
    ready = threading.Barrier(12)

    def keep(file: CachedFile) -> bool:
        ready.wait()
        return tried(kept_uploads.keep, file, user, quota)

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(keep, files)) == 3


@on_postgresql
def test_an_upload_without_an_account_does_not_wait_for_changes_of_the_jobs_tables(
    booted: Settings,
):
    # Given a process that changes these tables
    changing, done = threading.Event(), threading.Event()

    def change() -> None:
        with db.connection_context(), schema_transaction(db.obj):
            changing.set()
            done.wait(60)

    other = threading.Thread(target=change)
    other.start()
    assert changing.wait(60)

    try:
        with transaction(db):
            db.execute_sql("SET LOCAL lock_timeout = '1s'")
            library.lock_quota(None, library.Quota(gifs=1, bytes=1))
    finally:
        done.set()
        other.join()


def test_a_kept_file_that_is_refused_again_still_counts(booted: Settings):
    quota = library.Quota(gifs=1, bytes=10**9)
    added(quota=quota)
    file = cached()
    kept_uploads.keep(file, None, quota)

    assert not tried(library.add_gif, again(file), quota=quota)
    assert KeptUpload.select().count() == 1
    ours = Gif.get()
    library.replace_image(ours.id, None, again(file), quota)
    assert KeptUpload.select().count() == 0


def test_a_kept_file_is_deleted_when_it_is_too_old(booted: Settings):
    old, young = cached(), cached()
    for file in (old, young):
        kept_uploads.keep(file, None, None)
    hour_ago = now() - kept_uploads.MOST_AGE - timedelta(seconds=1)
    KeptUpload.update(kept_at=hour_ago).where(KeptUpload.key == old.key).execute()

    assert kept_uploads.forget_expired() == 1

    assert (old.exists(), young.exists()) == (False, True)
    assert [row.key for row in KeptUpload.select()] == [young.key]


def test_the_end_of_kept_files_needs_no_memory_for_all_gifs_that_wait(booted: Settings):
    # Given 5,000 GIFs that wait for a worker, and a kept file that is too old
    waiting, old = cached(), cached()
    with db.atomic():
        for batch in peewee.chunked([{"title": "w"}] * 5_000, 100):
            Gif.insert_many(batch).execute()
        text = json.dumps(waiting.dump())
        db.execute_sql(f"UPDATE gif SET image_tmp = {db.obj.param}", (text,))
    kept_uploads.keep(old, None, None)
    KeptUpload.update(kept_at=now() - timedelta(hours=2)).execute()

    tracemalloc.start()
    assert kept_uploads.forget_expired() == 1
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 1_000_000
    assert not old.exists()


def test_a_cache_that_is_away_is_asked_once_for_all_kept_files(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def away(key: str) -> None:
        asked.append(key)
        raise StorageUnavailable("the bucket does not answer")

    for _ in range(3):
        kept_uploads.keep(cached(), None, None)
    KeptUpload.update(kept_at=now() - timedelta(hours=2)).execute()
    monkeypatch.setattr(config.storages["cache"], "delete", away)

    assert kept_uploads.forget_expired() == 3
    assert len(asked) == 1


def test_a_kept_file_that_belongs_to_a_gif_stays(booted: Settings):
    # Given a form that was refused, sent again and accepted, then (Back) sent and refused again
    ann = accounts.sign_up("ann@example.org", "correct horse")
    first = cached()
    kept_uploads.keep(first, ann, None)
    text = cache_id(first, "ann")
    gif = library.add_gif(retrieve(ImageUploader, text, "ann"), user=ann)
    kept_uploads.keep(retrieve(ImageUploader, text, "ann"), ann, None)

    # When the GIF still waits an hour later
    KeptUpload.update(kept_at=now() - timedelta(hours=2)).execute()
    assert kept_uploads.forget_expired() == 1

    image = Gif.get_by_id(gif.id).image_tmp
    assert image.exists()


def test_a_failed_replacement_frees_no_quota(new_stack: Callable[..., Stack]):
    # Given a GIF that fills most of the quota
    stack = new_stack(
        GIFSTER_LIMITS__ENABLED="true", GIFSTER_LIMITS__BYTES_PER_USER=str(len(LARGE) + 5_000)
    )
    stack.start_worker()
    stack.start_web()
    gif_id = stack.upload(LARGE).json()["id"]
    assert stack.finished(gif_id)["state"] == "ready"

    # When a replacement cannot be decoded
    files = {"image": ("b.gif", broken(), "image/gif")}
    assert stack.client.put(f"/api/gifs/{gif_id}/image", files=files).status_code == 202
    assert stack.finished(gif_id)["state"] == "failed"
    assert stack.gif(gif_id)["image"]["bytes"] == len(LARGE)

    # I expect no room for another large GIF
    assert stack.upload(LARGE).status_code == 403


def broken() -> bytes:
    """A GIF that is accepted but cannot be decoded: the codes of its frame are invalid."""
    small = bytearray(images.gif(size=(60, 40), durations=[50]))
    start = small.index(b"\x2c", 800) if b"\x2c" in small[800:] else small.index(b"\x2c")
    start += 12
    for at in range(start, start + 40):
        small[at] = 0xFF
    return bytes(small)


@pytest.mark.parametrize("who", ["ann", "nobody"])
def test_unfinished_uploads_count_once(booted: Settings, who: str):
    # Given a quota of two GIFs, and two uploads that have begun
    user, quota, file = someone(who), library.Quota(gifs=2, bytes=10**9), cached()
    begun = [direct.begin(len(SMALL), "", user, quota, 60) for _ in range(2)]
    assert not tried(library.add_gif, file, user=user, quota=quota)
    assert not tried(direct.begin, 9, "", user, quota, 60)
    other = accounts.sign_up("bob@example.org", "correct horse")
    assert tried(direct.begin, 9, "", other, quota, 60)

    # When one becomes a GIF, and the other is refused
    direct.take(begun[0], lambda: library.add_gif(file, user=user, quota=quota))
    assert not tried(direct.begin, 9, "", user, quota, 60)
    rows.fail(begun[1], library.Invalid("code", "Why."))

    # Then there is one place more
    assert tried(direct.begin, 9, "", user, quota, 60)


def test_an_upload_that_could_not_become_a_gif_stays_as_it_was(booted: Settings):
    upload = direct.begin(len(SMALL), "", None, None, 60)

    def refuse() -> Gif:
        raise library.Denied("quota_exceeded", "Why.")

    with pytest.raises(library.Denied):
        direct.take(upload, refuse)

    assert direct.find(upload.id, None).stage == table.Stage.OPEN
    gif = direct.take(upload, added)
    assert direct.find(upload.id, None).outcome == {"gif": gif.id}
    with pytest.raises(table.OffsetMoved):
        direct.take(upload, added)
    assert Gif.select().count() == 1


def test_an_upload_that_nobody_goes_on_with_does_not_count(booted: Settings):
    quota = library.Quota(gifs=1, bytes=10**9)
    upload = direct.begin(9, "", None, quota, 86_400)
    assert upload.expires_at - jobs.now() <= rows.FIRST_S
    assert not tried(direct.begin, 9, "", None, quota, 60)

    table.ResumableUpload.update(expires_at=time.time() - 1).execute()

    assert tried(direct.begin, 9, "", None, quota, 60)
