"""Whose files they are: the sweep deletes only the files of models that it knows."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import peewee
import pytest

from gifster.jobs import Job
from gifster.uploads import (
    CacheField,
    HasUploads,
    mount,
    mount_uploader,
    store_in_background,
)
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.sweep import Why
from gifster.uploads.testing import keep
from tests.uploads.framework import Application, AvatarUploader, Base, Company, LogoUploader, Person
from tests.uploads.sweep.scene import (
    FOLDER,
    GIF,
    company,
    known,
    on_both,
    orphan,
    person,
    reasons,
    sweep_old,
    why,
)


@on_both
def test_a_process_that_has_imported_no_model_deletes_nothing(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a stored file, one that waits for a worker, and a cron line that imports no models
    person()
    application.work()
    person()
    orphan(application)
    cache_upload(AvatarUploader, GIF)
    before = application.cached, application.stored
    known(monkeypatch)

    found = sweep_old()

    assert (application.cached, application.stored) == before
    assert (found.orphans, found.abandoned, found.stuck) == ([], [], [])
    assert why(found) == {Why.UNKNOWN}
    assert "import" in reasons(found)
    # I expect all files to count but the one that waits: its job names it
    assert found.counts(all_kinds=True)["left_alone"] == 4


def test_files_of_a_model_that_was_not_imported_are_left_alone(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    person()
    application.work()
    company()
    mine, other = orphan(application), orphan(application, Company, "logo")
    before = application.stored
    known(monkeypatch, Person)

    found = sweep_old()

    assert found.orphans == [f"store:{mine}"]
    assert application.stored == [key for key in before if key != mine]
    assert why(found) == {Why.UNKNOWN}
    assert found.counts(all_kinds=True)["left_alone"] == 3  # the logo, its version, and the orphan
    assert other in application.stored


def test_files_of_a_model_in_a_second_database_are_left_alone(
    application: Application, tmp_path: Path
):
    # Given a model whose rows are in another database than the outbox
    elsewhere = peewee.SqliteDatabase(tmp_path / "second.db")

    class Poster(HasUploads, peewee.Model):
        logo = mount_uploader(LogoUploader)

        class Meta:
            table_name = "sweep_poster"

    Poster.bind(elsewhere)
    keep(application.store, f"sweep_poster/logo/1/{FOLDER}/original.gif", GIF)
    mine = orphan(application)

    found = sweep_old()

    assert found.orphans == [f"store:{mine}"]
    assert application.stored == [f"sweep_poster/logo/1/{FOLDER}/original.gif"]
    assert "another database" in reasons(found)
    assert not (tmp_path / "second.db").exists()


def test_two_models_with_one_table_name_are_both_known(application: Application, tmp_path: Path):
    person()
    application.work()
    before = application.stored

    class Other(HasUploads, peewee.Model):
        avatar = mount_uploader(LogoUploader)

        class Meta:
            table_name = "person"

    Other.bind(peewee.SqliteDatabase(tmp_path / "second.db"))
    assert sweep_old().orphans == []
    assert mount.mount_named("person", "avatar").model is Person
    assert application.stored == before


def test_two_models_of_one_table_each_keep_what_their_columns_name(application: Application):
    class Front(Base):
        cover = mount_uploader(LogoUploader)

        class Meta:
            table_name = "sweep_book"

    class Back(Base):
        back = mount_uploader(LogoUploader)

        class Meta:
            table_name = "sweep_book"

    application.create_tables(Back)
    application.database.execute_sql("ALTER TABLE sweep_book ADD COLUMN cover TEXT")
    for model, column in ((Front, "cover"), (Back, "back")):
        record = model()
        setattr(record, column, GIF)
        record.save()
    before = application.stored

    assert sweep_old().orphans == []
    assert application.stored == before
    assert mount.mount_named("sweep_book", "back").model is Back


@on_both
def test_rows_that_select_hides_keep_their_files(application: Application):
    # Given a model with a soft delete
    @store_in_background("avatar")
    class Note(Base):
        deleted = peewee.BooleanField(default=False)
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

        class Meta:
            table_name = "sweep_note"

        @classmethod
        def select(cls, *fields: Any) -> Any:
            return super().select(*fields).where(~cls.deleted)

    application.create_tables(Note)
    for stored in (True, False):
        note = Note()
        note.avatar = GIF
        note.save()
        if stored:
            application.work()
    Note.update(deleted=True).execute()
    Job.delete().execute()
    before = application.cached, application.stored
    assert [len(files) for files in before] == [1, 2]

    found = sweep_old()

    assert (application.cached, application.stored) == before
    # I expect the waiting upload to be stored, though its row is hidden
    assert len(found.stuck) == 1
    assert found.left_alone == []
    application.work()
    assert (len(application.cached), len(application.stored)) == (0, 4)


def test_files_of_others_in_the_same_place_are_left_alone(application: Application):
    # Given files of another application, made by hand, of a backup, and of an earlier release
    person()
    application.work()
    stored = application.stored[0]
    others = [
        "index.html", "uploads/2024/cat.gif", f"backup/{stored}", "person/avatar/1/original.gif",
        "person/avatar/1/thumbnails/small.gif", f"person/avatar/{FOLDER}", "ab/cat.gif",
        "person/avatar/1/0123456789ABCDEF/original.gif", f"person/avatar/1/{FOLDER}/x/y/z.gif",
        f"person/avatar/1/{FOLDER}/original",
    ]  # fmt: skip
    for key in others:
        keep(application.store, key, b"precious")
        keep(application.cache, key, b"precious")

    found = sweep_old()

    assert (found.orphans, found.abandoned) == ([], [])
    assert set(others) < set(application.stored)
    assert sorted(others) == application.cached
    assert {(item.where, item.why) for item in found.left_alone} >= {
        ("store", Why.FOREIGN), ("cache", Why.FOREIGN), ("store", Why.UNKNOWN),
    }  # fmt: skip
    assert found.counts(all_kinds=True)["left_alone"] == 2 * len(others)


def test_cached_files_in_the_store_and_stored_files_in_the_cache_are_left_alone(
    application: Application,
):
    cached, stored = f"ab/ab{'0' * 30}", f"person/avatar/9/{FOLDER}/thumb.gif"
    keep(application.store, cached, GIF)
    keep(application.cache, stored, GIF)

    found = sweep_old()

    assert (found.orphans, found.abandoned) == ([], [])
    assert (application.stored, application.cached) == ([cached], [stored])


def test_a_cache_folder_of_an_unknown_uploader_is_left_alone(application: Application):
    key = f"scans/ab/ab{'0' * 30}"
    keep(application.cache, key, GIF)

    found = sweep_old()

    assert found.abandoned == []
    assert application.cached == [key]
    assert why(found) == {Why.UNKNOWN}


def test_a_cron_line_without_the_models_deletes_nothing(application: Application, tmp_path: Path):
    # Given the guide's cron line without the import of the models, in a process of its own
    person()
    application.work()
    person()
    Job.delete().execute()
    before = application.cached, application.stored
    script = f"""
import peewee
from gifster import jobs, uploads
db = peewee.SqliteDatabase({str(application.database.database)!r})
jobs.Job.bind(db)
uploads.configure({{
    "cache": uploads.LocalStorage({str(application.cache_folder)!r}),
    "store": uploads.LocalStorage({str(application.store_folder)!r}),
}})
found = uploads.sweep(repair=True, min_age_s=-60, force=True)
print(found.counts()["left_alone"], *found.left_alone, sep="\\n")
"""

    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert (application.cached, application.stored) == before
    lines = ran.stdout.splitlines()
    assert lines[0] == "3"
    assert any(line.startswith("cache: 1 file, such as") for line in lines)
    assert any(line.startswith("store: 2 files, such as person/avatar/") for line in lines)
