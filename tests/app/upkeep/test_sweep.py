"""The sweep finds and mends what crashes leave behind, and touches nothing else."""

import os
import re
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from gifster.jobs import Job
from gifster.uploads import sweep
from gifster.uploads.columns import bulk
from gifster.uploads.files.cache import CacheWriter
from gifster.uploads.files.content import HELD_BYTES
from gifster.uploads.storage import temporaries
from gifster.uploads.storage.temporaries import PREFIX, temporary_file, temporary_folder
from gifster.uploads.sweep import Findings
from tests import images
from tests.machine import eventually, files_below
from tests.stack import Stack
from tests.uploads.framework import Application, AvatarUploader, Company, Person

GIF = images.gif((80, 60))
NOTHING = Findings()


def person() -> Person:
    made = Person(name="Ann")
    made.avatar = GIF
    made.save()
    return made


def sweep_old(*, repair: bool = True) -> Findings:
    """A sweep for which all files are old."""
    return sweep(repair=repair, min_age_s=-60)


def test_a_sound_library_has_no_findings(application: Application):
    # Given uploads that are stored, waiting, and stored without a worker
    person()
    application.work()
    person()
    company = Company(name="Acme")
    company.logo = images.still("PNG", (60, 40))
    company.save()
    before = application.cached, application.stored

    assert sweep_old() == NOTHING
    assert (application.cached, application.stored) == before


def test_an_old_cached_file_without_a_row_is_removed(application: Application):
    # Given a web process that was killed between the cache and the commit
    writer = CacheWriter(AvatarUploader, "a.gif")
    writer.write(GIF)
    cached = writer.finish()
    assert sweep(repair=True) == NOTHING

    expected = Findings(abandoned=[f"cache:{cached.key}"])
    assert sweep_old(repair=False) == expected
    assert application.cached
    assert sweep_old() == expected
    assert application.cached == []


def test_an_old_half_written_file_is_removed(application: Application):
    # Given a web process that was killed in the middle of an upload
    writer = CacheWriter(AvatarUploader, "a.gif")
    writer.write(GIF + bytes(HELD_BYTES))
    assert sweep_old() == NOTHING  # it still runs
    writer._content._file._file.close()  # the system does this for a dead process
    assert sweep(repair=True) == NOTHING

    assert len(sweep_old().abandoned) == 1
    assert application.cached == []


def test_an_old_stored_file_without_a_row_is_removed(application: Application):
    person()
    application.work()
    Person._meta.database.execute_sql("DELETE FROM person")  # nobody told the framework
    assert sweep(repair=True) == NOTHING

    assert len(sweep_old().orphans) == 2
    assert application.stored == []


def test_stored_files_of_a_pending_upload_are_left_alone(application: Application):
    # Given a worker that was killed after it stored the files and before it changed the row
    made = person()
    application.deliver(application.jobs()[0])
    stored = application.stored
    waiting = {"avatar": None, "avatar_tmp": made.avatar_tmp, "avatar_state": "processing"}
    with bulk.saving():
        Person.update(**waiting).execute()
    found = sweep_old()

    assert found.orphans == []
    assert application.stored == stored


def test_a_row_whose_file_is_missing_is_reported(application: Application):
    made = person()
    application.work()
    stored = Person.get_by_id(made.id).avatar.stored
    application.store.delete(stored.key)

    assert sweep(repair=True) == Findings(missing=[f"store:{stored.key}"])


def test_an_upload_without_a_job_gets_one(application: Application):
    made = person()
    Job.delete().execute()

    assert sweep(repair=False) == Findings(stuck=[f"person {made.id} avatar"])
    assert application.jobs() == []
    sweep(repair=True)
    application.work()

    assert Person.get_by_id(made.id).avatar_state == "ready"


def test_a_failed_upload_is_not_stuck(application: Application):
    made = person()
    Job.delete().execute()
    Person.update(avatar_state="failed").where(Person.id == made.id).execute()

    assert sweep(repair=True) == NOTHING


def test_old_work_folders_of_killed_workers_are_removed(application: Application):
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    (folder / "thumb").write_bytes(b"half")
    other = Path(tempfile.mkdtemp(prefix="somebody-elses-"))
    assert sweep(repair=True) == NOTHING

    assert sweep_old() == Findings(abandoned=[f"temporary:{folder.name}"])
    assert not folder.exists()
    assert other.exists()


def test_temporary_files_that_somebody_uses_are_left_alone(application: Application):
    with temporary_folder() as folder, temporary_file(".gif") as file:
        (folder / "thumb").write_bytes(b"half")

        assert sweep_old() == NOTHING
        assert (folder / "thumb").exists()
        assert Path(file.name).exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_sweep_removes_before_it_is_locked_is_made_again(
    application: Application, monkeypatch: pytest.MonkeyPatch, kind: str
):
    sweeps = iter([sweep_old, Findings])
    take = temporaries.lock

    def swept_before(descriptor: int) -> bool:
        next(sweeps, Findings)()
        return take(descriptor)

    monkeypatch.setattr(temporaries, "lock", swept_before)
    if kind == "file":
        with temporary_file() as file:
            assert Path(file.name).exists()
    else:
        with temporary_folder() as folder:
            assert folder.exists()
    assert next(sweeps, None) is None


@pytest.mark.long
def test_fsck_lists_and_mends(new_stack: Callable[..., Stack]):
    stack = new_stack()
    stack.start_web()
    stack.start_worker()
    done = stack.finished(stack.upload(images.gif()).json()["id"])
    clean = stack.run("gifster", "fsck", "--older-than", "0")
    assert (clean.returncode, clean.stdout) == (0, "0 abandoned, 0 orphans, 0 missing, 0 stuck\n")

    # Given an orphan in the store, a file that Gifster did not write, and a missing file
    stray = stack.var / "store" / "gifs" / "nobody" / "0123456789abcdef" / "small.gif"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"GIF89a")
    other = stack.var / "store" / "stray.gif"
    other.write_bytes(b"GIF89a")
    [thumb] = [f for f in files_below(stack.var / "store") if f.endswith("thumb.gif")]
    (stack.var / "store" / thumb).unlink()

    found = stack.run("gifster", "fsck", "--older-than", "0")
    assert found.returncode == 1
    assert "orphans    store:gifs/nobody/0123456789abcdef/small.gif" in found.stdout
    assert "left alone store: 1 file, such as stray.gif: not a key" in found.stdout
    assert ", 1 left alone" in found.stdout.splitlines()[-1]
    assert f"missing    store:gifs/{done['id']}/" in found.stdout
    assert stray.exists()

    mended = stack.run("gifster", "fsck", "--repair", "--older-than", "0")
    assert mended.returncode == 1  # what is missing cannot be mended
    assert "small.gif  stored, and no row names it (mended)" in mended.stdout
    assert not stray.exists()
    assert other.exists()
    again = stack.run("gifster", "fsck", "--older-than", "0").stdout
    assert [line[:10] for line in again.splitlines()[:-1]] == ["missing   ", "left alone"]


@pytest.mark.long
def test_fsck_removes_many_files_only_with_force(new_stack: Callable[..., Stack]):
    # Given more stored files without a row than a sweep removes by itself
    stack = new_stack()
    for number in range(101):
        stray = stack.var / "store" / "gifs" / str(number) / "0123456789abcdef" / "thumb.gif"
        stray.parent.mkdir(parents=True)
        stray.write_bytes(b"GIF89a")

    held = stack.run("gifster", "fsck", "--repair", "--older-than", "0")
    assert held.returncode == 1
    assert "(mended)" not in held.stdout
    assert "101 of the storage's 101 files" in held.stdout
    assert held.stdout.splitlines()[-1].endswith("101 held back")
    assert len(files_below(stack.var / "store")) == 101

    # And the scheduler's sweep says so, in the log and in /metrics
    stack.start_worker()
    stack.start_web()
    for name in files_below(stack.var / "store"):
        os.utime(stack.var / "store" / name, (0, 0))
    assert stack.run("python", "-c", SWEEP_NOW).returncode == 0
    eventually(lambda: "[ERROR] swept abandoned=0 orphans=101" in worker_log(stack))
    assert "[ERROR] sweep left alone store: 101 files" in worker_log(stack)
    assert "held_back=101" in worker_log(stack)
    assert 'findings{kind="held_back"} 101.0' in stack.client.get("/metrics").text

    assert stack.run("gifster", "fsck", "--force").returncode == 2
    forced = stack.run("gifster", "fsck", "--repair", "--force", "--older-than", "0")
    assert forced.returncode == 0
    assert forced.stdout.count("(mended)") == 101
    assert files_below(stack.var / "store") == []


def test_fsck_sends_stuck_uploads_to_our_broker(new_stack: Callable[..., Stack]):
    # Given a waiting upload without a job
    stack = new_stack()
    stack.start_web()
    stack.upload(images.gif())
    broker = redis.Redis.from_url(stack.environment["GIFSTER_BROKER__URL"])
    assert eventually(lambda: broker.llen("dramatiq:carrierwave")) == 1
    with sqlite3.connect(stack.var / "gifster.db") as database:
        database.execute("DELETE FROM outbox")

    mended = stack.run("gifster", "fsck", "--repair")

    assert mended.returncode == 0, mended.stderr
    assert "1 stuck" in mended.stdout
    assert broker.llen("dramatiq:carrierwave") == 2


def test_a_file_stored_during_the_sweep_is_not_missing(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a worker that stores an upload just after the storages were listed
    made = person()
    walk = application.store.walk

    def walk_then_store():
        listed = list(walk())
        application.work()
        return iter(listed)

    monkeypatch.setattr(application.store, "walk", walk_then_store)

    assert sweep(repair=True) == NOTHING
    assert Person.get_by_id(made.id).avatar_state == "ready"


def test_the_scheduler_enqueues_one_sweep_for_a_worker(new_stack: Callable[..., Stack]):
    stack = new_stack()
    stack.start_worker()
    script = """
from gifster import jobs, scheduler
from gifster.app import boot, settings
from gifster.app.database import db
loaded = settings.load()
boot.boot(loaded)
for _ in range(3):  # three schedulers, of which none has looked yet
    scheduler.look_at_the_clock(scheduler.recurring_jobs(loaded))
with db.connection_context():
    jobs.RecurringJob.update(next_at=1).execute()
for _ in range(3):
    scheduler.look_at_the_clock(scheduler.recurring_jobs(loaded))
"""
    assert stack.run("python", "-c", script).returncode == 0

    eventually(lambda: "swept abandoned=0 orphans=0 missing=0 stuck=0" in worker_log(stack))
    assert worker_log(stack).count(" start actor=clean_up") == 1


def test_a_step_that_fails_stops_none_of_the_others(new_stack: Callable[..., Stack]):
    # Given a GIF in the trash whose row nobody can read, a file of a form in a storage that is not
    # set any more, a table that is gone, and a session that has expired
    stack = new_stack()
    script = """
from gifster.app import accounts, boot, settings, tokens
from gifster.app.database import db
from gifster.app.models import Gif, KeptUpload, Token
boot.boot(settings.load())
with db.connection_context():
    KeptUpload.create(key="a.gif", storage="former", bytes=1, kept_at=1)
    tokens.start_session(accounts.sign_up("ann@example.org", "correct horse"), 1)
    Token.update(expires_at=1).execute()
    Gif.create(title="a", trashed_at=1)
    db.execute_sql("UPDATE gif SET image = '{'")
    db.execute_sql("DROP TABLE sign_in_step")
"""
    assert stack.run("python", "-c", script).returncode == 0
    assert stack.run("python", "-c", SWEEP_NOW).returncode == 0

    # When the hourly job runs
    stack.start_worker()

    # I expect it to say so, to do all else, and to fail
    eventually(lambda: "fail actor=clean_up" in worker_log(stack))
    said = worker_log(stack)
    assert "left alone, as it is unreadable: table=gif id=" in said
    assert 'clean_up goes on after reason="LookupError: ' in said
    assert "clean_up goes on after reason='OperationalError: no such table: sign_in_step" in said
    assert re.search("swept .* expired_tokens=1 expired_trash=0", said)


@pytest.mark.parametrize(
    ("before", "statement", "reason"),
    [
        ("set_progress_handler(lambda: 1, 1)", "SELECT count(*) FROM token", "interrupted"),
        ("execute('PRAGMA max_page_count = 1')", "CREATE TABLE more (a)", "disk is full"),
    ],
)
def test_a_step_that_waits_in_vain_or_has_no_room_stops_none_of_the_others(
    new_stack: Callable[..., Stack], before: str, statement: str, reason: str
):
    # Given a database that refuses a statement of one step for now
    stack = new_stack()
    script = f"""
from gifster.actors import maintenance
from gifster.app import library
from gifster.app.database import db
from gifster.app.sign_in import steps

def refused():
    db.connection().{before}
    try:
        db.execute_sql("{statement}")
    finally:
        db.connection().set_progress_handler(None, 1)
        db.connection().execute("PRAGMA max_page_count = 1000000")

steps.forget_expired = refused
with db.connection_context():
    try:
        maintenance.clean_up.fn()
    except Exception as error:
        print(error)
    print([kept.kind for kept in library.last_findings()])
"""

    # I expect the hourly job to do all else, and to fail
    said = stack.run("python", "-c", script).stdout
    assert reason in said
    assert "'orphans'" in said


#: What the scheduler has done every hour.
SWEEP_NOW = """
from gifster import jobs
from gifster.app import boot, settings
from gifster.app.database import db
boot.boot(settings.load())
with db.connection_context():
    jobs.enqueue("clean_up", unique="clean_up")
"""


def worker_log(stack: Stack) -> str:
    return stack.log("dramatiq-gifster.actors")
