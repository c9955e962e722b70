"""What nobody asks for any more is removed by the hourly job; and every table and folder has
something that bounds it."""

import os
import re
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import dramatiq
import peewee
import pytest

from gifster import jobs
from gifster.app import library, lists, one_by_one, retention
from gifster.app.database import db
from gifster.app.mailers import FileTransport, WelcomeMailer
from gifster.app.models import Gif, GifTag, Tag, User, now
from gifster.app.settings import Retention, Settings
from gifster.jobs import Job
from gifster.jobs.testing import run_jobs
from gifster.uploads import actors
from gifster.uploads.columns.fields import UploadFailure
from gifster.uploads.config import storage
from gifster.uploads.sweep import sweep
from tests import images
from tests.app.gifs import added, cached
from tests.combinations import on_postgresql
from tests.machine import eventually

DAY = timedelta(days=1)
PAGE = Path(__file__).parents[3] / "docs" / "running" / "observing.md"


def fail(gif: Gif, days: float) -> None:
    """Let an upload have failed, of a GIF that is so old."""
    failure = UploadFailure("storing_failed", "It cannot be stored.")
    Gif.update(
        image_state="failed", image_error=failure, image_processing=False,
        created_at=now() - days * DAY,
    ).where(Gif.id == gif.id).execute()  # fmt: skip


def test_failed_uploads_are_deleted_with_their_files(booted: Settings):
    # Given a stored GIF whose replacement failed, and three uploads of which two failed
    for actor in (actors.store_asset, actors.complete_asset, actors.remove_files):
        dramatiq.get_broker().declare_actor(actor)
    stored = added()
    run_jobs()
    library.replace_image(stored.id, None, cached(images.gif()))
    old, young, waiting = (added(tags=["cats"]) for _ in range(3))
    Job.delete().execute()  # nobody does them
    fail(stored, 200)
    fail(old, 181)
    fail(young, 179)
    Gif.update(created_at=now() - 200 * DAY).where(Gif.id == waiting.id).execute()
    left = Gif.get_by_id(old.id).image_tmp

    # When they are forgotten
    assert retention.forget_failed(180) == 1
    run_jobs()
    sweep(repair=True, min_age_s=-60)

    # I expect the old one to be gone with its file, and all others to be there
    assert {gif.id for gif in Gif.select()} == {stored.id, young.id, waiting.id}
    assert not storage("cache").exists(left.key)
    assert GifTag.select().count() == 2
    assert storage("cache").exists(Gif.get_by_id(young.id).image_tmp.key)
    assert retention.forget_failed(180) == 0


def test_more_than_a_batch_of_failed_uploads(booted: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(one_by_one, "AT_ONCE", 3)
    for _ in range(7):
        fail(added(), 200)

    assert retention.forget_failed(180) == 7


def test_a_gif_that_is_retried_at_the_same_moment_stays(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    # Given a failed upload that somebody retries after it was looked up
    gif = added()
    fail(gif, 200)
    locked_row = one_by_one.locked_row

    def retried(record: Gif) -> Gif | None:
        Gif.update(image_state="queued").where(Gif.id == record.id).execute()
        return locked_row(record)

    monkeypatch.setattr(one_by_one, "locked_row", retried)

    assert retention.forget_failed(180) == 0
    assert Gif.select().count() == 1


def test_unused_tags_are_deleted(booted: Settings, monkeypatch: pytest.MonkeyPatch):
    # Given tags of two GIFs, of which one is deleted, and more tags than a batch has
    monkeypatch.setattr(retention, "AT_ONCE", 3)
    kept, gone = added(tags=["cats", "dogs"]), added(tags=["dogs", "birds"])
    Tag.insert_many([{"name": f"unused {n}"} for n in range(7)]).execute()
    library.delete(gone)

    assert retention.forget_unused_tags() == 8

    assert {tag.name for tag in Tag.select()} == {"cats", "dogs"}
    assert lists.tags_of([kept])[kept.id] == ["cats", "dogs"]


def test_a_tag_that_is_deleted_while_somebody_gives_it_is_made_again(booted: Settings):
    # Given a tag that no GIF has, and a job that deletes it while an upload is about to name it
    Tag.create(name="cats")
    select, deleted = Tag.select, []

    def select_late(*fields: Any) -> Any:
        if not deleted:
            deleted.append(True)
            if isinstance(db.obj, peewee.SqliteDatabase):  # which has one writer at a time
                Tag.delete().execute()
            else:
                remover = threading.Thread(target=delete_tags)
                remover.start()
                remover.join()
        return select(*fields)

    def delete_tags() -> None:
        with db.connection_context():
            Tag.delete().execute()

    Tag.select = select_late
    try:
        gif = added(tags=["cats"])
    finally:
        Tag.select = select

    assert deleted
    assert lists.tags_of([gif])[gif.id] == ["cats"]


@on_postgresql
def test_a_tag_that_an_upload_names_at_the_same_moment_stays_on_its_gif(booted: Settings):
    # Given a tag that no GIF has, until an upload names it
    Tag.create(name="cats")
    remover = threading.Thread(target=forget_tags)
    with jobs.transaction(db):
        gif = added(tags=["cats"])
        # When tags are deleted before the upload is committed
        remover.start()
        eventually(lambda: not remover.is_alive() or somebody_waits())
    remover.join()

    # I expect the GIF to have its tag
    assert lists.tags_of([gif])[gif.id] == ["cats"]


def forget_tags() -> None:
    with db.connection_context():
        retention.forget_unused_tags()


def somebody_waits() -> bool:
    here = "datname = current_database() AND wait_event_type = 'Lock'"
    waits = f"SELECT 1 FROM pg_stat_activity WHERE {here}"
    return bool(db.execute_sql(waits).fetchall())


def test_old_mails_are_deleted_and_files_of_others_stay(tmp_path: Path):
    folder = tmp_path / "mails"
    # Given an old and a new mail of ours, and old files of others
    transport = FileTransport(folder)
    for name in ("old", "new"):
        user = User(id=name, email="ann@example.org", name="Ann")
        transport.deliver(WelcomeMailer.welcome_email(user, "Gifster <gifster@localhost>"))
    others = ["welcome.me.eml", "letter.eml", "welcome.old.eml.txt", "notes.txt"]
    for name in others:
        (folder / name).write_text("Message-ID: <somebody@example.org>\n\nHello")
    (folder / "welcome.link.eml").symlink_to(folder / "welcome.new.eml")
    for path in folder.iterdir():
        if path.name != "welcome.new.eml":
            os.utime(path, (0, time.time() - 31 * 86_400), follow_symlinks=False)

    month_ago = time.time() - 30 * 86_400
    assert retention.forget_mails(folder, month_ago) == 1

    left = {path.name for path in folder.iterdir()}
    assert left == {"welcome.new.eml", "welcome.link.eml", *others}
    assert retention.forget_mails(folder / "none", month_ago) == 0


def test_a_mail_that_cannot_be_deleted_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    user = User(id="old", email="ann@example.org", name="Ann")
    FileTransport(tmp_path).deliver(WelcomeMailer.welcome_email(user, "gifster@localhost"))
    os.utime(tmp_path / "welcome.old.eml", (0, 0))

    def refused(path: Path) -> None:
        raise PermissionError(f"{path} belongs to somebody else")

    monkeypatch.setattr(Path, "unlink", refused)

    assert retention.forget_mails(tmp_path, time.time()) == 0
    assert "old mails stay in" in caplog.text


def test_the_settings_say_how_long(booted: Settings, tmp_path: Path):
    # Given a failed upload, a mail and a dead job, all 40 days old, and an unused tag
    fail(added(), 40)
    Job.delete().execute()
    Tag.create(name="unused")
    mail = booted.mail.model_copy(update={"url": f"file:{tmp_path / 'mails'}"})
    user = User(id="old", email="ann@example.org", name="Ann")
    FileTransport(tmp_path / "mails").deliver(
        WelcomeMailer.welcome_email(user, "gifster@localhost")
    )
    os.utime(tmp_path / "mails" / "welcome.old.eml", (0, time.time() - 40 * 86_400))
    jobs.enqueue("nobody")
    Job.update(failed_at=time.time() - 40 * 86_400).execute()

    def forget(**kept: int) -> dict[str, int]:
        changed = {"retention": Retention(**kept), "mail": mail}
        return retention.forget_old(booted.model_copy(update=changed))

    assert forget(mail_days=0, failed_days=0) == {
        "dead_jobs": 0,
        "failed": 0,
        "mails": 0,
        "tags": 1,
    }
    assert forget(dead_job_days=39, mail_days=41, failed_days=41) == {
        "dead_jobs": 1, "failed": 0, "mails": 0, "tags": 0,
    }  # fmt: skip
    assert forget(mail_days=39, failed_days=39) == {
        "dead_jobs": 0, "failed": 1, "mails": 1, "tags": 0,
    }  # fmt: skip


def test_the_guide_says_of_every_table_what_bounds_it(booted: Settings):
    section = PAGE.read_text("utf-8").partition("## What is kept, and for how long")[2]
    named = set(re.findall(r"`([a-z_]+)`", section.partition("\n## ")[0]))
    shadows = re.compile(r"search_fts_|sqlite_")
    tables = {table for table in db.obj.get_tables() if not shadows.match(table)}

    assert tables - named == set(), "say in docs/running/observing.md what bounds these tables"
