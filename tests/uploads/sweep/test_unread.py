"""The sweep leaves the files of a row, table, job or storage alone that it cannot read."""

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import peewee
import pytest

from gifster.jobs import Job
from gifster.uploads import (
    TABLES,
    LocalStorage,
    StorageUnavailable,
    errors,
    mount_uploader,
)
from gifster.uploads.config import storage
from gifster.uploads.resumable import rows
from gifster.uploads.resumable.receiving import Receiver
from gifster.uploads.sweep import reading
from gifster.uploads.testing import MemoryStorage, keep
from tests.combinations import on_one_platform
from tests.uploads.framework import (
    Application,
    AvatarUploader,
    Base,
    Company,
    LogoUploader,
    Person,
)
from tests.uploads.sweep.scene import (
    FOLDER,
    GIF,
    company,
    on_both,
    orphan,
    person,
    reasons,
    sweep_old,
)


@on_both
def test_an_unreadable_row_keeps_the_files_of_its_model_only(
    application: Application,
):
    made = person()
    application.work()
    company()
    mine, other = orphan(application), orphan(application, Company, "logo")
    application.database.execute_sql(f"UPDATE person SET avatar = '{{broken' WHERE id = {made.id}")
    before = application.stored

    found = sweep_old()

    assert found.orphans == [f"store:{other}"]
    assert application.stored == [key for key in before if key != other]
    assert mine in application.stored
    assert found.counts(all_kinds=True)["unread"] == 1
    assert f"person {made.id}" in reasons(found)


def test_a_row_of_a_newer_release_keeps_the_files_of_its_model(application: Application):
    made = person()
    application.work()
    [text] = application.database.execute_sql("SELECT avatar FROM person").fetchone()
    newer = json.dumps(json.loads(text) | {"blurhash": "x"})
    application.database.execute_sql(f"UPDATE person SET avatar = '{newer}' WHERE id = {made.id}")
    orphan(application)
    before = application.stored

    assert sweep_old().orphans == []
    assert application.stored == before


@on_both
def test_a_table_without_its_columns_does_not_stop_the_rest(application: Application):
    # Given a model whose table lacks a column, and a model without a table
    class Early(Base):
        logo = mount_uploader(LogoUploader)
        banner = mount_uploader(LogoUploader)

        class Meta:
            table_name = "sweep_early"

    class Never(Base):
        logo = mount_uploader(LogoUploader)

        class Meta:
            table_name = "sweep_never"

    application.database.execute_sql("CREATE TABLE sweep_early (id INTEGER, logo TEXT)")
    left = [orphan(application, Early, "logo"), orphan(application, Never, "logo")]
    company()
    other = orphan(application, Company, "logo")
    # When it is swept in a transaction, which PostgreSQL ends if a SELECT fails
    with application.database.atomic():
        found = sweep_old()
        Company.select().count()

    assert found.orphans == [f"store:{other}"]
    assert set(left) < set(application.stored)
    assert found.counts(all_kinds=True)["unread"] == 1
    assert "sweep_early" in reasons(found)
    assert "sweep_never" in reasons(found)


@on_both
def test_after_a_table_is_renamed_an_old_process_deletes_nothing(application: Application):
    # Given a stored file, and a failed upload whose dead job somebody dropped
    person()
    application.work()
    person()
    Job.delete().execute()
    before = application.cached, application.stored
    application.database.execute_sql("ALTER TABLE person RENAME TO people")

    found = sweep_old()

    assert (application.cached, application.stored) == before
    assert (found.orphans, found.abandoned) == ([], [])
    assert found.counts(all_kinds=True)["unread"] == 0


def test_without_an_outbox_nothing_is_deleted(application: Application):
    person()
    orphan(application)
    before = application.cached, application.stored
    application.database.execute_sql("DROP TABLE outbox")

    found = sweep_old()

    assert (application.cached, application.stored) == before
    assert found.stuck == []
    assert "outbox" in reasons(found)


def test_an_unreadable_job_still_names_its_files(application: Application):
    person()
    mine = orphan(application)
    text = str(Job.select(Job.arguments).tuples().get()[0]).replace("'", '"')
    application.database.execute_sql(f"UPDATE outbox SET arguments = '{text} {{'")

    found = sweep_old()

    assert found.orphans == [f"store:{mine}"]
    assert len(application.cached) == 1
    assert found.stuck == []


def test_a_stuck_row_that_cannot_be_loaded_does_not_stop_the_rest(application: Application):
    made = person()
    Job.delete().execute()
    mine = orphan(application, Company, "logo")
    application.database.execute_sql("ALTER TABLE person DROP COLUMN name")

    found = sweep_old()

    assert (found.orphans, found.stuck) == ([f"store:{mine}"], [])
    assert f"person {made.id} cannot be loaded" in reasons(found)


class Away(MemoryStorage):
    """A storage that fails half-way through its listing."""

    def walk(self) -> Any:
        yield "a/b.gif", time.time()
        raise StorageUnavailable("the server does not answer")


def test_a_storage_that_cannot_be_listed_does_not_stop_the_rest(application: Application):
    made = person()
    application.work()
    mine = orphan(application)
    away = Away()
    application.also = {"archive": away}
    application.configure()

    found = sweep_old()

    assert found.orphans == [f"store:{mine}"]
    assert found.missing == []
    assert found.counts(all_kinds=True)["unread"] == 1
    assert "archive: the server does not answer" in reasons(found)
    assert Person.get_by_id(made.id).avatar.stored is not None


def test_a_storage_with_an_unreadable_folder_cannot_be_listed(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "closed"
    files = LocalStorage(folder)
    keep(files, f"person/avatar/1/{FOLDER}/original.gif", GIF)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("avatar"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    application.also = {"closed": files}
    application.configure()

    found = sweep_old()

    assert found.counts(all_kinds=True)["unread"] == 1
    assert "Permission denied" in reasons(found)


def test_a_table_that_is_locked_keeps_all_files(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given an unfinished upload of which some bytes have come
    application.database.bind(TABLES)
    application.create_tables(*TABLES)
    receiver = Receiver(AvatarUploader, rows.create(AvatarUploader, 1000), 0)
    receiver.write(b"GIF89a")
    receiver.break_off()
    orphan(application)
    person()
    application.work()
    files = application.cached, application.stored
    real = reading._read_column

    def read(ledger: Any, database: Any, its_name: tuple[str | None, str, str]) -> None:
        if its_name[1] == "resumable_upload":
            raise peewee.OperationalError("canceling statement due to lock timeout")
        real(ledger, database, its_name)

    # When the sweep cannot read which parts are in use, I expect it to delete nothing
    monkeypatch.setattr(reading, "_read_column", read)
    found = sweep_old(force=True)

    assert (application.cached, application.stored) == files
    assert "resumable_upload could not be read: canceling statement" in reasons(found)


def test_a_table_that_nobody_can_ever_read_keeps_no_file(application: Application):
    # Given virtual tables whose code this process lacks, and a table with a text that is not UTF-8
    # and names a file
    named, lost = orphan(application), f"person/avatar/9999/{'f' * 16}/original.gif"
    keep(application.store, lost, GIF)
    database, content = application.database, f'{{"key": "{named}"}}'.encode() + b"\xff"
    database.execute_sql("CREATE TABLE foreign_one (text TEXT)")
    database.execute_sql("INSERT INTO foreign_one VALUES (CAST(? AS TEXT))", (content,))
    database.execute_sql("PRAGMA writable_schema = 1")
    for name, how in (("v1", "zork"), ("v2", "fts5(x, tokenize=zork)")):
        database.execute_sql(
            "INSERT INTO sqlite_master VALUES ('table', ?, ?, 0, ?)",
            (name, name, f"CREATE VIRTUAL TABLE {name} USING {how}"),
        )
    database.execute_sql("PRAGMA writable_schema = RESET")
    for table, why in (("v1", "no such module"), ("v2", "no such tokenizer")):
        with pytest.raises(peewee.OperationalError, match=why):
            database.get_columns(table)

    # When it sweeps, I expect the file to stay that is named, and no other
    assert sweep_old(force=True).orphans == [f"store:{lost}"]
    assert application.stored == [named]


def test_a_table_with_a_damaged_page_keeps_all_files(application: Application):
    # Given a table of the application's own that alone names a file, and whose page is overwritten
    named, database = orphan(application), application.database
    database.execute_sql("CREATE TABLE archive (text TEXT)")
    database.execute_sql("INSERT INTO archive VALUES (?)", (f'{{"key": "{named}"}}',))
    [(page,)] = database.execute_sql("SELECT rootpage FROM sqlite_master WHERE name = 'archive'")
    [(size,)] = database.execute_sql("PRAGMA page_size")
    database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    database.execute_sql("PRAGMA shrink_memory")  # it forgets what it has read
    with Path(database.database).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"U" * size)

    # When it sweeps, I expect it to take no file for one that nothing names
    found = sweep_old(force=True)

    assert application.stored == [named]
    assert "the table archive could not be read: database disk image is malformed" in reasons(found)


def test_a_table_with_a_value_that_this_process_cannot_take_keeps_all_files(
    application: Application,
):
    # Given a table of the application's own that alone names a file, and a text that is too large
    named, database = orphan(application), application.database
    database.execute_sql("CREATE TABLE archive (text TEXT)")
    content = f'{{"key": "{named}", "note": "{"a" * 200_000}"}}'
    database.execute_sql("INSERT INTO archive VALUES (?)", (content,))
    database.connection().setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)

    # When it sweeps, I expect it to take no file for one that nothing names
    found = sweep_old(force=True)

    assert application.stored == [named]
    assert "the table archive could not be read: string or blob too big" in reasons(found)


def test_a_table_that_cannot_be_read_again_is_told(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given files that are gone, and a table that cannot be read when the sweep reads it again
    lost = person()
    application.work()
    for name, key in lost_files(lost):
        storage(name).delete(key)
    exists = application.store.exists

    def look_before_the_lock(key: str) -> bool:
        application.database.connection().set_progress_handler(lambda: 1, 1)
        return exists(key)

    monkeypatch.setattr(application.store, "exists", look_before_the_lock)

    # I expect it not to say that all is well
    found = sweep_old(repair=False)
    application.database.connection().set_progress_handler(None, 1)
    assert found.missing == []
    assert "person: interrupted" in reasons(found)


@on_one_platform
def test_a_store_whose_last_file_was_deleted_is_there(application: Application):
    # Given a store from which the framework has deleted all files, one that a row still names
    lost = person()
    application.work()
    for name, key in lost_files(lost):
        storage(name).delete(key)
    assert application.stored == []

    # I expect the sweep to call them missing, and nobody to wait for the disk
    found = sweep_old()
    assert sorted(found.missing) == sorted(f"{name}:{key}" for name, key in lost_files(lost))
    with pytest.raises(errors.CacheFileMissing, match="no longer exists"):
        Person().avatar = Person.get_by_id(lost.id).avatar

    # Nor does a file that is deleted while the disk is away make its mount point look like it
    application.store_folder.rename(application.store_folder.with_name("away"))
    application.store_folder.mkdir()
    application.store.delete(lost_files(lost)[0][1])
    assert sweep_old().missing == []


def lost_files(record: Person) -> list[tuple[str, str]]:
    return Person.get_by_id(record.id).avatar.stored.files


@on_one_platform
def test_a_store_whose_disk_is_not_mounted_has_lost_no_files(application: Application):
    person()
    application.work()
    application.store_folder.rename(application.store_folder.with_name("away"))

    found = sweep_old()

    assert found.missing == []
    assert "is its disk mounted?" in reasons(found)
