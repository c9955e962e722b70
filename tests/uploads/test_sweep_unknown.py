"""The sweep deletes only what it knows: each way in which it could meet what it does not know."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import peewee
import pytest

from gifster.jobs import Job, enqueue
from gifster.uploads import (
    Backgrounder,
    CacheField,
    HasUploads,
    Image,
    LocalStorage,
    StateField,
    StorageUnavailable,
    Uploader,
    mount,
    mount_uploader,
    process_in_background,
    store_in_background,
    sweep,
    version,
)
from gifster.uploads.sources import cache_upload
from gifster.uploads.storing import folder as folder_of
from gifster.uploads.sweep import Findings, Why
from gifster.uploads.testing import MemoryStorage, keep
from tests import images
from tests.conftest import PLATFORMS, Platform, new_platform
from tests.uploads.framework import Application, AvatarUploader, Base, Company, LogoUploader, Person

GIF = images.gif((80, 60))
FOLDER = "0123456789abcdef"  # as an upload's is called


on_both = pytest.mark.parametrize("platform", PLATFORMS, indirect=True)


@pytest.fixture
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Platform:
    """Folders and SQLite, unless a test says otherwise."""
    return new_platform(getattr(request, "param", PLATFORMS[0]), request, tmp_path)


@pytest.fixture(autouse=True)
def _models_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no test knows the models that another one defines."""
    monkeypatch.setattr(mount, "_models", dict(mount._models))


def sweep_old(*, repair: bool = True, force: bool = False) -> Findings:
    """A sweep to which everything that is there is old."""
    return sweep(repair=repair, min_age_s=-60, force=force)


def person(name: str = "Ann") -> Person:
    made = Person(name=name)
    made.avatar = GIF
    made.save()
    return made


def company() -> Company:
    made = Company(name="Acme")
    made.logo = images.still("PNG", (60, 40))
    made.save()
    return made


def orphan(application: Application, model: Any = Person, column: str = "avatar") -> str:
    """A file that the framework could have written, and that no row names."""
    key = f"{model._meta.table_name}/{column}/9999/{FOLDER}/original.gif"
    keep(application.store, key, GIF)
    return key


def known(monkeypatch: pytest.MonkeyPatch, *models: Any) -> None:
    """Have this process know no other models than these."""
    monkeypatch.setattr(mount, "_models", dict.fromkeys(models))


def why(found: Findings) -> set[Why]:
    return {item.why for item in found.left_alone}


def reasons(found: Findings) -> str:
    return "\n".join(str(item) for item in found.left_alone)


# Whose files they are.


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
    # All but the one that waits: its job names it
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
    # Given a model whose rows are elsewhere than the outbox
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


def test_of_two_models_with_one_table_name_both_are_known(application: Application, tmp_path: Path):
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
    # And what waits is stored, though its row is hidden
    assert len(found.stuck) == 1
    assert found.left_alone == []
    application.work()
    assert (len(application.cached), len(application.stored)) == (0, 4)


def test_files_of_others_in_the_same_place_are_left_alone(application: Application):
    # Given files of another application, hand-made ones, a backup, and an earlier release's
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


def test_cache_files_in_the_store_and_the_other_way_round_are_left_alone(application: Application):
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
    # Given the guide's cron line, less the import of the models, in a process of its own
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


# What cannot be read.


@on_both
def test_a_row_that_cannot_be_read_keeps_its_models_files_and_nobody_elses(
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


def test_what_a_newer_release_has_written_is_not_readable_either(application: Application):
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
def test_a_table_that_is_not_migrated_stops_nobody_else(application: Application):
    # Given a model of which the table lacks a column, and one that has no table
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
    # In a transaction, too: PostgreSQL ends one in which a SELECT fails
    with application.database.atomic():
        found = sweep_old()
        Company.select().count()

    assert found.orphans == [f"store:{other}"]
    assert set(left) < set(application.stored)
    assert found.counts(all_kinds=True)["unread"] == 1
    assert "sweep_early" in reasons(found)
    assert "sweep_never" in reasons(found)


@on_both
def test_a_process_from_before_a_table_was_renamed_deletes_nothing(application: Application):
    # Given a stored file, and one that has failed, whose dead job somebody dropped
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


def test_a_job_that_cannot_be_read_stops_nothing_and_names_its_files(application: Application):
    person()
    mine = orphan(application)
    text = str(Job.select(Job.arguments).tuples().get()[0]).replace("'", '"')
    application.database.execute_sql(f"UPDATE outbox SET arguments = '{text} {{'")

    found = sweep_old()

    assert found.orphans == [f"store:{mine}"]
    assert len(application.cached) == 1
    assert found.stuck == []


def test_an_uploader_whose_store_dir_raises_stops_nobody_else(application: Application):
    class ByOwner(Backgrounder, Uploader):
        broken = False

        def store_dir(self) -> str:
            if self.broken:
                raise KeyError("owner")
            return f"scans/{self.record.owner}/{self.record.id}"

    @store_in_background("scan")
    class Scan(Base):
        owner = peewee.CharField()
        scan = mount_uploader(ByOwner)
        scan_tmp = CacheField()

        class Meta:
            table_name = "sweep_scan"

    application.create_tables(Scan)
    scan = Scan(owner="Ann")
    scan.scan = GIF
    scan.save()
    lost = f"scans/Ann/7/{FOLDER}/original.gif"
    keep(application.store, lost, GIF)
    mine = orphan(application)
    ByOwner.broken = True

    found = sweep_old()

    assert found.orphans == [f"store:{mine}"]
    assert application.stored == [lost]
    assert len(application.cached) == 1
    assert "ByOwner" in reasons(found)
    assert "store_prefix" in reasons(found)


def test_a_store_dir_that_needs_other_columns_is_told_by_its_prefix(application: Application):
    class ByOwner(Uploader):
        def store_dir(self) -> str:
            return f"plans/{self.record.owner}/{self.record.id}"

    class Plan(Base):
        owner = peewee.CharField()
        plan = mount_uploader(ByOwner)

        class Meta:
            table_name = "sweep_plan"

    application.create_tables(Plan)
    plan = Plan(owner="Ann")
    plan.plan = GIF
    plan.save()
    named = application.stored
    lost = f"plans/Bob/7/{FOLDER}/original.gif"
    keep(application.store, lost, GIF)

    found = sweep_old()
    assert found.orphans == []
    assert "ByOwner.store_dir() reads owner" in reasons(found)

    # When the uploader says what is its own
    ByOwner.store_prefix = "plans"
    assert sweep_old().orphans == [f"store:{lost}"]
    assert application.stored == named


def test_store_dirs_are_worked_out_from_what_they_make_of_a_primary_key(application: Application):
    class Sharded(Uploader):
        def store_dir(self) -> str:
            return f"shots/{self.record.id % 100:02d}/shot-{self.record.id}"

    class Shot(Base):
        shot = mount_uploader(Sharded)

        class Meta:
            table_name = "sweep_shot"

    class Alike(Uploader):
        def store_dir(self) -> str:
            return "all"

    class Thing(Base):
        thing = mount_uploader(Alike)

        class Meta:
            table_name = "sweep_thing"

    application.create_tables(Shot, Thing)
    lost, other = f"shots/07/shot-7/{FOLDER}/original.gif", f"shots/7/{FOLDER}/original.gif"
    mixed = f"all/{FOLDER}/original.gif"
    for key in (lost, other, mixed):
        keep(application.store, key, GIF)

    found = sweep_old()

    assert found.orphans == [f"store:{lost}"]
    assert application.stored == [mixed, other]
    assert "Alike.store_dir() says nothing of the primary key" in reasons(found)


class Away(MemoryStorage):
    """A storage that cannot be listed now."""

    def walk(self) -> Any:
        yield "a/b.gif", time.time()
        raise StorageUnavailable("the server does not answer")


def test_a_storage_that_cannot_be_listed_stops_nobody_else(application: Application):
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


def test_a_folder_that_may_not_be_read_is_a_storage_that_cannot_be_listed(
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


# What may still be in use.


@on_both
def test_a_cached_file_that_a_job_names_is_in_use(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given an upload whose model is not known here, and whose job is dead
    company()
    cached = cache_upload(AvatarUploader, GIF)
    job = enqueue("store_asset", "album", 7, "cover", cached.key, queue="carrierwave")
    assert job is not None
    Job.update(failed_at=time.time()).execute()
    other = cache_upload(AvatarUploader, GIF)

    found = sweep_old()

    # I expect that all of the cache may wait for such a model
    assert found.abandoned == []
    assert application.cached == sorted([cached.key, other.key])
    assert "album.cover" in reasons(found)

    # When the jobs are about models that are known, only what they name
    Job.update(arguments=["person", 7, "avatar", cached.key]).execute()
    found = sweep_old()
    assert found.abandoned == [f"cache:{other.key}"]
    assert application.cached == [cached.key]


def test_files_that_a_dead_job_would_store_again_are_left(application: Application):
    # Given a worker that was killed while it made versions again, more than once
    made = person()
    application.work()
    made = Person.get_by_id(made.id)
    job = made.avatar.recreate_versions()
    assert job is not None
    folder = folder_of(made.avatar, made.avatar.stored)
    half = f"{folder}/{job.arguments[-1]}/thumb.gif"
    keep(application.store, half, GIF)
    Job.update(failed_at=time.time()).execute()

    assert sweep_old().orphans == []
    Job.delete().execute()
    assert sweep_old().orphans == [f"store:{half}"]


def test_files_that_a_stuck_upload_has_made_so_far_are_left(application: Application):
    # Given an upload whose versions a worker has still to make, and whose job is gone
    @process_in_background("photo")
    class Post(Base):
        photo = mount_uploader(AvatarUploader)

        class Meta:
            table_name = "sweep_photo"

    application.create_tables(Post)
    post = Post()
    post.photo = GIF
    post.save()
    folder = folder_of(post.photo, post.photo.stored)
    keep(application.store, f"{folder}/made/thumb.gif", GIF)
    Job.delete().execute()

    found = sweep_old()

    assert found == Findings(stuck=[f"sweep_photo {post.id} photo"])
    application.work()
    assert Post.get_by_id(post.id).photo.url("thumb")


def test_a_stuck_row_that_cannot_be_loaded_stops_nobody_else(application: Application):
    made = person()
    Job.delete().execute()
    mine = orphan(application, Company, "logo")
    application.database.execute_sql("ALTER TABLE person DROP COLUMN name")

    found = sweep_old()

    assert (found.orphans, found.stuck) == ([f"store:{mine}"], [])
    assert f"person {made.id} cannot be loaded" in reasons(found)


def test_names_of_storages_that_were_not_configured_count_everywhere(application: Application):
    # Given rows that were written when the store had another name
    made = person()
    application.work()
    stored = Person.get_by_id(made.id).avatar.stored
    text = json.dumps(stored.dump()).replace('"storage": "store"', '"storage": "disk"')
    application.database.execute_sql(f"UPDATE person SET avatar = '{text}'")
    before = application.stored

    found = sweep_old()

    assert found.orphans == []
    assert application.stored == before
    assert "disk: configure() was given no storage of this name" in reasons(found)


@on_both
def test_two_names_of_one_place_are_one_storage(application: Application):
    made = person()
    application.work()
    stored = Person.get_by_id(made.id).avatar.stored
    text = json.dumps(stored.dump()).replace('"storage": "store"', '"storage": "disk"')
    application.database.execute_sql(f"UPDATE person SET avatar = '{text}'")
    mine = orphan(application)
    before = application.stored
    application.also = {"disk": application.within_store()}
    application.configure()

    found = sweep_old()

    assert found == Findings(orphans=[f"store:{mine}"])
    assert application.stored == [key for key in before if key != mine]


@on_both
def test_a_store_and_a_cache_can_be_one_storage(application: Application):
    application.cache, application.cache_folder = application.store, application.store_folder
    application.configure()
    person()
    application.work()
    waiting = person()
    lost = cache_upload(AvatarUploader, GIF)
    mine = orphan(application)
    before = application.stored

    found = sweep_old()

    assert sorted(found.orphans + found.abandoned) in (
        sorted([f"cache:{mine}", f"cache:{lost.key}"]),
        sorted([f"store:{mine}", f"store:{lost.key}"]),
    )
    assert found.abandoned[0].endswith(lost.key)
    assert set(application.stored) == set(before) - {mine, lost.key}
    assert waiting.avatar_tmp.key in application.stored


@on_both
def test_a_storage_within_another_keeps_what_both_name(application: Application):
    # Given a cache in the folder of the store, or under a longer prefix of its bucket
    application.cache = application.within_store("cache")
    application.configure()
    person()
    application.work()
    waiting = person()

    assert sweep_old() == Findings()
    assert waiting.avatar_tmp.exists()


def test_versions_in_another_storage_are_looked_for_there(application: Application, tmp_path: Path):
    class Split(Uploader):
        @version(storage="small")
        def thumb(self, image: Image) -> Image:
            return image.fit(20, 20)

    class Sheet(Base):
        sheet = mount_uploader(Split)

        class Meta:
            table_name = "sweep_sheet"

    small, backup = MemoryStorage(), MemoryStorage()
    application.also = {"small": small, "backup": backup}
    application.configure()
    application.create_tables(Sheet)
    sheet = Sheet()
    sheet.sheet = GIF
    sheet.save()
    [thumb] = small.files
    lost = f"sweep_sheet/sheet/9/{FOLDER}/thumb.gif"
    for storage in (small, backup):
        keep(storage, lost, GIF)
        keep(storage, thumb, GIF)

    found = sweep_old()

    # I expect a storage that no uploader stores into, such as a backup, to be left alone
    assert found.orphans == [f"small:{lost}"]
    assert list(small.files) == [thumb]
    assert set(backup.files) == {lost, thumb}


@on_both
def test_what_a_table_without_a_known_model_names_is_in_use(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given an uploader on two models, of which this process has imported one
    class Shared(Backgrounder, Uploader):
        def store_dir(self) -> str:
            return f"pictures/{self.record.id}"

    class Post(Base):
        image = mount_uploader(Shared)

        class Meta:
            table_name = "sweep_post"

    @store_in_background("image")
    class Comment(Base):
        image = mount_uploader(Shared)
        image_tmp = CacheField()
        image_state = StateField()

        class Meta:
            table_name = "sweep_comment"

    application.create_tables(Post, Comment)
    post = Post()
    post.image = GIF
    post.save()
    for state in ("ready", "failed"):
        comment = Comment()
        comment.image = GIF
        comment.save()
        if state == "ready":
            application.work()
    # And an upload that has failed, whose dead job somebody dropped
    Job.delete().execute()
    Comment.update(image_state="failed").where(Comment.id == comment.id).execute()
    lost, cached = f"pictures/7/{FOLDER}/original.gif", cache_upload(Shared, GIF)
    keep(application.store, lost, GIF)
    before = application.stored
    known(monkeypatch, Post)

    found = sweep_old()

    assert found.orphans == [f"store:{lost}"]
    assert found.abandoned == [f"cache:{cached.key}"]
    assert application.stored == [key for key in before if key != lost]
    assert application.cached == [comment.image_tmp.key]


def test_a_column_that_the_model_no_longer_has_still_names_its_files(application: Application):
    made = person()
    application.work()

    class Renamed(Base):
        avatar = mount_uploader(LogoUploader)

        class Meta:
            table_name = "sweep_renamed"

    application.create_tables(Renamed)
    database = application.database
    database.execute_sql("ALTER TABLE sweep_renamed ADD COLUMN picture TEXT")
    database.execute_sql("INSERT INTO sweep_renamed (picture) SELECT avatar FROM person")
    Person.delete().execute()
    before = application.stored

    assert made.id
    assert sweep_old().orphans == []
    assert application.stored == before


def test_two_sweeps_at_once_do_what_one_does(
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


def test_what_cannot_be_deleted_now_is_said(
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


# Symbolic links.


def test_links_are_not_followed_and_what_they_lead_to_is_in_use(
    application: Application, tmp_path: Path
):
    root = application.store_folder
    outside = tmp_path / "outside"
    (outside / "person/avatar/5" / FOLDER).mkdir(parents=True)
    (outside / "person/avatar/5" / FOLDER / "original.gif").write_bytes(GIF)
    target, free = orphan(application), f"person/avatar/8/{FOLDER}/original.gif"
    keep(application.store, free, GIF)
    (root / "person/avatar/linked").symlink_to(outside / "person/avatar/5")
    copy = root / f"person/avatar/6/{FOLDER}/original.gif"
    copy.parent.mkdir(parents=True)
    copy.symlink_to(root / target)

    found = sweep_old()

    assert f"store:{free}" in found.orphans
    assert (root / target).exists()
    assert (outside / "person/avatar/5" / FOLDER / "original.gif").exists()
    assert (root / "person/avatar/linked").is_symlink()
    assert "symbolic link" in reasons(found)


# The brake.


@pytest.fixture
def many(application: Application) -> MemoryStorage:
    """A store with room for many files."""
    application.store = MemoryStorage()
    application.configure()
    return application.store


def fill(storage: MemoryStorage, count: int, key: str = f"person/avatar/%d/{FOLDER}/x.gif") -> None:
    for number in range(count):
        storage.files[key % number], storage._written[key % number] = b"", 0


def test_more_than_a_hundred_files_and_a_tenth_are_deleted_by_force_only(
    application: Application, many: MemoryStorage
):
    cached = cache_upload(AvatarUploader, GIF)
    fill(many, 101)

    found = sweep_old()

    # I expect nothing to be done in that storage, and all the rest
    assert (len(found.orphans), len(many.files)) == (101, 101)
    assert (found.abandoned, application.cached) == ([f"cache:{cached.key}"], [])
    assert found.counts(all_kinds=True)["held_back"] == 101
    assert why(found) == {Why.BRAKE}
    assert "101 of the storage's 101 files" in reasons(found)
    assert "force" in reasons(found)
    # And that is said before, too
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


def test_an_abandoned_cache_has_the_brake_too_and_half_written_files_stay_with_it(
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


def test_a_cache_is_cleared_whatever_its_share_where_the_store_is_sound(
    application: Application, many: MemoryStorage
):
    # Given a store whose files rows name, and a hundred forms that were never sent again
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


# What others have begun to write.


def test_half_written_files_of_others_are_left_alone(application: Application):
    others = [application.store_folder / name for name in (".cat.gif.tmp", "notes.tmp", ".x.tmp")]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")

    assert sweep_old().abandoned == []
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("platform", PLATFORMS[1:], indirect=True)
def test_uploads_in_parts_of_others_are_left_alone(application: Application):
    store: Any = application.store
    client = store._connected()
    ours = f"person/avatar/1/{FOLDER}/original.gif"
    for key in ("dumps/monday.sql", ours):
        client.create_multipart_upload(Bucket=store.bucket, Key=key)

    [found] = sweep_old().abandoned

    assert found.startswith(f"store:{ours} ")
    [left] = client.list_multipart_uploads(Bucket=store.bucket)["Uploads"]
    assert left["Key"] == "dumps/monday.sql"
