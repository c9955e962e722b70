"""Uploads that wait share a commit (`gifster.api.group_commit`): what each of them can rely on."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import dramatiq
import peewee
import pytest
import redis

from gifster.api.group_commit import GroupCommit
from gifster.app import library
from gifster.app.database import db
from gifster.app.models import Gif, GifTag, User
from gifster.app.settings import Settings
from gifster.app.shared_commits import CommitUnknown
from gifster.jobs import Job, transaction
from tests.api.receiving.committing import adding, committed_together, titles
from tests.app.gifs import added
from tests.combinations import on_sqlite
from tests.machine import eventually


def nothing() -> None:
    pass


@pytest.fixture
def commits(booted: Settings) -> Iterator[GroupCommit]:
    made = GroupCommit()
    yield made
    made.close()  # before the database is


@pytest.fixture
def count_commits(booted: Settings, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    made: list[None] = []
    commit = db.obj.commit

    def counted() -> Any:
        if threading.current_thread().name == "group-commit":
            made.append(None)
        return commit()

    monkeypatch.setattr(db.obj, "commit", counted)
    return made


def test_uploads_that_wait_share_a_commit(commits: GroupCommit, count_commits: list[None]):
    results = committed_together(commits, *[adding(f"GIF {n}") for n in range(5)])

    assert all(isinstance(result, Gif) for result in results)
    assert titles() == {f"GIF {n}" for n in range(5)}
    assert len(count_commits) == 2  # one of the upload that kept the thread busy
    assert Job.select().count() == 5


def test_an_upload_that_fails_takes_no_other_along(commits: GroupCommit):
    none_left = library.Quota(gifs=0, bytes=0)

    def fails_late() -> Gif:
        with transaction(db):
            added(title="late", tags=["cat"])
            raise LookupError

    first, denied, late, last = committed_together(
        commits,
        adding("first"),
        adding("denied", quota=none_left),
        fails_late,
        adding("last"),
    )

    assert isinstance(first, Gif)
    assert isinstance(last, Gif)
    assert isinstance(denied, library.Denied)
    assert isinstance(late, LookupError)
    assert titles() == {"first", "last"}
    assert Job.select().count() == 2
    assert GifTag.select().count() == 0


def test_an_upload_that_cannot_be_answered_leaves_nothing(commits: GroupCommit):
    """Its file is deleted, so its row must not be there."""

    def written_but_not_answered() -> None:
        added(title="not answered", tags=["cat"])
        raise LookupError

    unanswered, good = committed_together(commits, written_but_not_answered, adding("good"))

    assert isinstance(unanswered, LookupError)
    assert isinstance(good, Gif)
    assert titles() == {"good"}
    assert [job.arguments[1] for job in Job.select()] == [good.id]
    assert GifTag.select().count() == 0


def test_a_transaction_that_the_database_ends_fails_the_uploads_that_were_in_it_and_no_other(
    commits: GroupCommit,
):
    def full() -> None:
        db.execute_sql("ROLLBACK")  # what SQLite does by itself when the disk is full
        raise peewee.OperationalError("database or disk is full")

    before, it, after = committed_together(commits, adding("before"), full, adding("after"))

    assert isinstance(before, peewee.OperationalError)
    assert isinstance(it, peewee.OperationalError)
    assert isinstance(after, Gif)
    assert titles() == {"after"}
    assert [job.arguments[1] for job in Job.select()] == [after.id]


def defer_foreign_keys() -> None:
    """Check them at the commit of this transaction, and not before."""
    if isinstance(db.obj, peewee.SqliteDatabase):
        db.execute_sql("PRAGMA defer_foreign_keys = ON")
        return
    named = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'"
    table = GifTag._meta.table_name
    for (name,) in db.execute_sql(named, (table,)).fetchall():
        deferred = "DEFERRABLE INITIALLY DEFERRED"
        db.execute_sql(f'ALTER TABLE "{table}" ALTER CONSTRAINT "{name}" {deferred}')


def test_a_commit_that_fails_fails_all_its_uploads(commits: GroupCommit):
    def refused_by_the_commit() -> None:
        defer_foreign_keys()
        GifTag.insert(gif="nobody", tag=0).execute()

    one, other = committed_together(commits, adding("one"), refused_by_the_commit)

    assert isinstance(one, peewee.IntegrityError)
    assert isinstance(other, peewee.IntegrityError)
    assert titles() == set()
    assert Job.select().count() == 0
    (again,) = committed_together(commits, adding("again"))
    assert isinstance(again, Gif)


def test_an_upload_is_accepted_if_its_commit_raised_an_error_afterwards(
    commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    commit = db.obj.commit

    def fails_afterwards() -> None:
        commit()
        raise RuntimeError("a callback")

    monkeypatch.setattr(db.obj, "commit", fails_afterwards)
    result = asyncio.run(commits.run(adding("a"), nothing))

    assert titles() == {"a"}
    assert [job.arguments[1] for job in Job.select()] == [result.id]


@on_sqlite
def test_a_file_stays_if_the_disk_did_not_say_whether_it_has_kept_the_commit(
    commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    def unclear() -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise peewee.OperationalError(error)

    handed_over: list[str] = []
    monkeypatch.setattr(db.obj, "commit", unclear)

    with pytest.raises(CommitUnknown):
        asyncio.run(commits.run(adding("a"), lambda: handed_over.append("it")))

    assert handed_over == ["it"]
    assert titles() == set()


def test_an_upload_that_the_database_refused_may_ask_it_why(commits: GroupCommit):
    """PostgreSQL answers nothing in a transaction after an error, so it runs again in its own."""
    user = User.create(email="a@example.org", name="A", password_hash="")
    user.delete_instance()

    first, gone, last = committed_together(
        commits, adding("first"), adding("gone", user=user), adding("last")
    )

    assert isinstance(first, Gif)
    assert isinstance(gone, library.Conflict)
    assert isinstance(last, Gif)
    assert titles() == {"first", "last"}
    assert Job.select().count() == 2


def test_an_upload_that_survives_a_part_of_it_gets_a_transaction_of_its_own(commits: GroupCommit):
    runs: list[str] = []

    def goes_on() -> Gif:
        runs.append("it")
        with suppress(LookupError), transaction(db):
            added(title="undone")
            raise LookupError
        return added(title="kept")

    first, it, last = committed_together(commits, adding("first"), goes_on, adding("last"))

    assert isinstance(first, Gif)
    assert isinstance(it, Gif)
    assert isinstance(last, Gif)
    assert titles() == {"first", "kept", "last"}
    assert Job.select().count() == 3
    assert runs == ["it", "it"]


def test_nobody_hears_of_an_upload_before_its_commit(commits: GroupCommit):
    seen: list[set[str]] = []

    async def upload() -> None:
        await commits.run(adding("a"), lambda: seen.append(titles()))
        seen.append(titles())

    asyncio.run(upload())

    assert seen == [{"a"}, {"a"}]


def test_a_request_that_is_cancelled_learns_that_its_row_is_there(commits: GroupCommit):
    started, go = threading.Event(), threading.Event()
    handed_over: list[str] = []

    def slow() -> Gif:
        started.set()
        go.wait()
        return added(title="a")

    async def cancelled() -> None:
        request = asyncio.ensure_future(commits.run(slow, lambda: handed_over.append("a")))
        await asyncio.to_thread(started.wait)
        for _ in range(3):  # by a client that goes, and by a server that stops
            request.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not request.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert handed_over == ["a"]

    asyncio.run(cancelled())
    assert titles() == {"a"}


def test_jobs_are_sent_after_the_commit(commits: GroupCommit, broker_url: str):
    committed_together(commits, *[adding(f"GIF {n}") for n in range(3)])

    client = redis.Redis.from_url(broker_url)
    wanted = {job.id for job in Job.select()}
    assert len(wanted) == 3

    def sent() -> set[str]:
        messages = map(dramatiq.Message.decode, client.hvals("dramatiq:carrierwave.msgs"))
        return {message.options["outbox_id"] for message in messages}

    eventually(lambda: wanted <= sent())


def test_an_upload_that_was_committed_is_not_lost_when_the_broker_takes_no_job(
    commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    def away(messages: Any) -> Any:
        raise ConnectionError("away")

    monkeypatch.setattr("gifster.jobs.outbox.send_each", away)

    (gif,) = committed_together(commits, adding("a"))

    assert isinstance(gif, Gif)
    assert Job.select().count() == 1  # the relay sends it


def test_jobs_that_come_while_the_broker_hangs_wait_in_one_batch_of_limited_size(
    commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
):
    hangs, go = threading.Event(), threading.Event()
    sent: list[list[str]] = []

    def send(jobs: list[str]) -> None:
        sent.append(jobs)
        hangs.set()
        go.wait()

    monkeypatch.setattr("gifster.api.group_commit._send", send)
    monkeypatch.setattr("gifster.api.group_commit.MOST_UNSENT", 2)

    commits._send(["sent"])
    hangs.wait()
    for job in ["waits", "waits, too", "left to the relay"]:
        commits._send([job])
    go.set()
    commits.close()

    assert sent == [["sent"], ["waits", "waits, too"]]
