"""Files that no row of a known model names, and that are in use all the same."""

import time
from pathlib import Path

import peewee
import pytest

from gifster.jobs import Job, enqueue
from gifster.uploads import (
    TABLES,
    Backgrounder,
    CacheField,
    StateField,
    Uploader,
    mount_uploader,
    process_in_background,
    store_in_background,
)
from gifster.uploads.attaching.storing import folder as folder_of
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.resumable import rows
from gifster.uploads.resumable.receiving import Receiver
from gifster.uploads.sweep import Findings
from gifster.uploads.testing import keep
from tests.uploads.framework import Application, AvatarUploader, Base, LogoUploader, Person
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
)


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

    # I expect every cached file to stay, as it may wait for such a model
    assert found.abandoned == []
    assert application.cached == sorted([cached.key, other.key])
    assert "album.cover" in reasons(found)

    # When the job is about a known model, I expect only the file that it names to stay
    Job.update(arguments=["person", 7, "avatar", cached.key]).execute()
    found = sweep_old()
    assert found.abandoned == [f"cache:{other.key}"]
    assert application.cached == [cached.key]


def test_files_that_a_dead_job_may_store_again_are_left_alone(application: Application):
    # Given a worker that was killed more than once while it made versions again
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


def test_files_that_a_stuck_upload_has_stored_so_far_are_left_alone(application: Application):
    # Given an upload whose versions are still to be made, and whose job is gone
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


@on_both
def test_files_that_a_table_without_a_model_names_are_in_use(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given an uploader on two models; this process has imported one of them
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
    # And a failed upload whose dead job somebody dropped
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


def test_a_column_that_left_the_model_still_names_its_files(application: Application):
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


def test_parts_that_a_second_database_names_are_in_use(application: Application, tmp_path: Path):
    # Given unfinished uploads in another database than the outbox, of one of which some has come
    elsewhere = peewee.SqliteDatabase(tmp_path / "second.db")
    elsewhere.bind(TABLES)
    sweep_old()  # the table need not be there yet
    with elsewhere.connection_context():
        elsewhere.create_tables(TABLES)
        receiver = Receiver(AvatarUploader, rows.create(AvatarUploader, len(GIF)), 0)
        receiver.write(GIF[:100])
        receiver.break_off()
    mine = orphan(application)

    # When a worker sweeps that has no connection to it
    found = sweep_old()

    # I expect only a file that nothing names to be gone, and the upload to go on
    assert (found.orphans, found.abandoned) == ([f"store:{mine}"], [])
    assert len(application.cached) == 1
    assert elsewhere.is_closed()

    # When it is away, I expect nothing to be deleted
    orphan(application)
    elsewhere.init(tmp_path)
    found = sweep_old()
    assert (len(application.stored), len(application.cached)) == (1, 1)
    assert "resumable_upload could not be read: unable to open" in reasons(found)


@on_both
def test_a_file_that_comes_and_goes_beside_a_sweep_is_not_missing(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a file that is really gone
    lost = person()
    application.work()
    [key] = [key for _, key in Person.get_by_id(lost.id).avatar.stored.files if "original" in key]
    application.store.delete(key)
    walk, in_cache, in_store = (
        application.store.walk, application.cache.exists, application.store.exists
    )  # fmt: skip
    late: list[Person] = []

    # And a sweep beside which two people upload, after the storages were listed
    def list_before_uploads(**options: object) -> list[tuple[str, float]]:
        files = list(walk(**options))
        late.append(person("Eve"))
        application.work()
        person("Bob")
        return files

    # … the one what a worker stores then, and the other what she deletes again
    def look_after_work(key: str) -> bool:
        application.work()
        return in_cache(key)

    def look_after_a_deletion(key: str) -> bool:
        for made in late:
            Person.get_by_id(made.id).delete_instance()
            application.work()
        late.clear()
        return in_store(key)

    monkeypatch.setattr(application.store, "walk", list_before_uploads)
    monkeypatch.setattr(application.cache, "exists", look_after_work)
    monkeypatch.setattr(application.store, "exists", look_after_a_deletion)

    # I expect it to call the file missing that is gone, and no other
    assert sweep_old(repair=False).missing == [f"store:{key}"]
