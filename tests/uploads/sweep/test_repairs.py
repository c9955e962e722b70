"""What a sweep deletes while others write and sweep, and the brake that stops it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gifster.uploads.files.sources import cache_upload
from gifster.uploads.sweep import Why
from gifster.uploads.testing import MemoryStorage, keep
from tests.combinations import on_s3
from tests.uploads.framework import Application, AvatarUploader, Person
from tests.uploads.sweep.scene import (
    FOLDER,
    GIF,
    orphan,
    person,
    reasons,
    sweep_old,
    why,
)


def test_two_sweeps_at_once_delete_what_one_does(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    keys = [f"person/avatar/{number}/{FOLDER}/original.gif" for number in range(5)]
    for key in keys:
        keep(application.store, key, GIF)
    delete = application.store.delete

    def delete_after_another_sweep(key: str) -> None:
        monkeypatch.setattr(application.store, "delete", delete)
        sweep_old()
        delete(key)

    monkeypatch.setattr(application.store, "delete", delete_after_another_sweep)

    assert len(sweep_old().orphans) == 5
    assert application.stored == []


def test_a_file_that_cannot_be_deleted_is_reported(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    mine = orphan(application)

    def refuse(key: str) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(application.store, "delete", refuse)

    found = sweep_old()

    assert found.orphans == [f"store:{mine}"]
    assert "Read-only file system" in reasons(found)
    assert found.counts(all_kinds=True)["unread"] == 1


def test_half_written_files_of_others_are_left_alone(application: Application):
    others = [application.store_folder / name for name in (".cat.gif.tmp", "notes.tmp", ".x.tmp")]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")

    assert sweep_old().abandoned == []
    assert all(path.exists() for path in others)


@on_s3
def test_multipart_uploads_of_others_are_left_alone(application: Application):
    store: Any = application.store
    client = store._connected()
    ours = f"person/avatar/1/{FOLDER}/original.gif"
    for key in ("dumps/monday.sql", ours):
        client.create_multipart_upload(Bucket=store.bucket, Key=key)

    [found] = sweep_old().abandoned

    assert found.startswith(f"store:{ours} ")
    [left] = client.list_multipart_uploads(Bucket=store.bucket)["Uploads"]
    assert left["Key"] == "dumps/monday.sql"


@pytest.fixture
def many(application: Application) -> MemoryStorage:
    """A store that takes many files quickly."""
    application.store = MemoryStorage()
    application.configure()
    return application.store


def fill(storage: MemoryStorage, count: int, key: str = f"person/avatar/%d/{FOLDER}/x.gif") -> None:
    for number in range(count):
        storage.files[key % number], storage._written[key % number] = b"", 0


def test_only_force_deletes_more_than_a_hundred_files_and_a_tenth(
    application: Application, many: MemoryStorage
):
    cached = cache_upload(AvatarUploader, GIF)
    fill(many, 101)

    found = sweep_old()

    # I expect the brake to keep the files of that storage only
    assert (len(found.orphans), len(many.files)) == (101, 101)
    assert (found.abandoned, application.cached) == ([f"cache:{cached.key}"], [])
    assert found.counts(all_kinds=True)["held_back"] == 101
    assert why(found) == {Why.BRAKE}
    assert "101 of the storage's 101 files" in reasons(found)
    assert "force" in reasons(found)
    # I expect a sweep without repair to report the same
    assert why(sweep_old(repair=False)) == {Why.BRAKE}

    found = sweep_old(force=True)
    assert (len(found.orphans), found.left_alone, many.files) == (101, [], {})


def test_a_hundred_files_or_a_tenth_are_not_too_many(application: Application, many: MemoryStorage):
    fill(many, 100)
    assert sweep_old().left_alone == []
    assert many.files == {}

    fill(many, 110)
    fill(many, 990, "another/%d")
    assert sweep_old().counts(all_kinds=True)["held_back"] == 0
    assert len(many.files) == 990


def test_the_brake_keeps_cached_and_half_written_files_too(
    application: Application,
):
    for number in range(101):
        keep(application.cache, f"ab/ab{number:030x}", b"")
    half = application.cache_folder / "ab" / ".0123456789abcdef.tmp"
    half.write_bytes(b"half")

    found = sweep_old()

    assert len(found.abandoned) == 102
    assert len(application.cached) == 102
    assert found.counts(all_kinds=True)["held_back"] == 101
    assert len(sweep_old(force=True).abandoned) == 102
    assert application.cached == []


def test_the_brake_lets_a_cache_be_emptied_if_the_store_is_sound(
    application: Application, many: MemoryStorage
):
    # Given a store whose files rows name, and 101 forms that were never sent again
    made = person()
    application.work()
    stored = Person.get_by_id(made.id).avatar.stored
    Person.delete().execute()
    many.files.clear()
    for number in range(100):
        key = f"person/avatar/{number}/{FOLDER}/original.gif"
        many.files[key], many._written[key] = b"", 0
        text = json.dumps(replace(stored, key=key, versions={}).dump())
        application.database.execute_sql(
            f"INSERT INTO person (name, avatar, avatar_processing) VALUES ('Ann', '{text}', '0')"
        )
    for number in range(101):
        keep(application.cache, f"ab/ab{number:030x}", b"")

    found = sweep_old()

    assert (len(found.abandoned), found.orphans, found.left_alone) == (101, [], [])
    assert application.cached == []
