"""A database that is damaged, locked, read-only or not there: requests and commands say so, and
never with a traceback."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import peewee
import psycopg
import pytest

from gifster import jobs
from gifster.app import database
from gifster.app.database import db
from gifster.app.models import Tag, WriteProbe
from gifster.app.readiness import NotReady, Readiness, check
from gifster.app.settings import Settings
from gifster.jobs.database_errors import Fault, fault_of
from tests import images
from tests.combinations import on_postgresql
from tests.machine import eventually
from tests.stack import Stack


def damage(path: Path) -> None:
    """Overwrite every second page but the first few, which list the tables."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        for offset in range(4096 * 4, size - 4095, 4096 * 2):
            file.seek(offset)
            file.write(os.urandom(4096))


def scramble(path: Path) -> None:
    path.write_bytes(b"This is not a database. " * 1000)


@pytest.mark.parametrize(
    ("ruin", "reason"),
    [(damage, "database disk image is malformed"), (scramble, "file is not a database")],
)
def test_a_damaged_file_is_reported(
    new_stack: Callable[..., Stack], ruin: Callable[[Path], None], reason: str
):
    # Given a library whose file is overwritten while no process has it open
    stack = new_stack()
    ruin(stack.var / "gifster.db")
    stack.start("gifster", "web")
    eventually(lambda: "Started worker-1" in stack.log("gifster-web"))

    # I expect requests, readiness and the log to say so
    answers = [stack.client.get("/api/gifs"), stack.upload(images.gif((40, 30)))]
    for said in answers:
        assert (said.status_code, said.json()["code"]) == (503, "database_unavailable")
        assert said.headers["Retry-After"] == "30"
    ready = stack.client.get("/readyz")
    assert ready.status_code == 503
    assert "is damaged; run `gifster doctor`" in ready.json()["checks"]["database"]
    log = stack.log("gifster-web")
    assert f"reason='{reason}'" in log
    assert "Traceback" not in log

    # And commands to say it in one line
    doctor = stack.run("gifster", "doctor")
    assert doctor.returncode == 1
    assert "is damaged" in " ".join(doctor.stdout.split())
    for command in (["fsck"], ["jobs", "list"], ["migrate"]):
        done = stack.run("gifster", *command)
        assert done.returncode == 1, command
        assert "the database cannot be used: " in done.stderr
        assert reason in done.stderr
        assert "Traceback" not in done.stderr


def test_doctor_finds_a_damaged_page_that_nobody_reads(new_stack: Callable[..., Stack]):
    # Given a sound file, and one with a damaged page of rows
    stack = new_stack()
    path = stack.var / "gifster.db"
    with closing(sqlite3.connect(path)) as connection:
        rows = [(None, f"tag {number:06}" * 4) for number in range(2000)]
        connection.executemany("INSERT INTO tag VALUES (?, ?)", rows)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sound = " ".join(stack.run("gifster", "doctor").stdout.split())
    assert "SQLite takes a write, 0." in sound
    assert "MB read without a fault" in sound

    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 4096 * 20)
        file.write(os.urandom(4096))

    # I expect doctor to see it, though everything else works
    damaged = stack.run("gifster", "doctor")
    assert damaged.returncode == 1
    assert "damaged" in damaged.stdout


def test_callbacks_of_a_failed_transaction_are_not_run_by_the_next(booted: Settings):
    # Given a transaction that SQLite ends by itself, within a savepoint
    if not isinstance(db.obj, peewee.SqliteDatabase):
        pytest.skip("PostgreSQL leaves the end of a transaction to its client")
    pages = db.execute_sql("PRAGMA page_count").fetchone()[0]
    db.execute_sql(f"PRAGMA max_page_count = {pages}")
    called = []
    with pytest.raises(peewee.OperationalError, match="database or disk is full") as raised:
        with jobs.transaction(db):
            db.obj.after_commit(lambda: called.append("lost"))
            jobs.enqueue("anything", "x" * 500_000)
    assert fault_of(raised.value) is Fault.FULL

    # When the next one of this thread commits
    db.execute_sql("PRAGMA max_page_count = 100000")
    with jobs.transaction(db):
        Tag.create(name="cats")

    # I expect no callback of the first to run
    assert called == []
    assert not db.obj.in_transaction()
    assert jobs.Job.select().count() == 0


def test_a_locked_database_is_busy(booted: Settings):
    if isinstance(db.obj, peewee.SqliteDatabase):
        db.execute_sql("PRAGMA busy_timeout = 10")
        other = sqlite3.connect(db.obj.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    else:
        db.execute_sql("SET lock_timeout = '10ms'")
        other = psycopg.connect(booted.database.url)
        other.execute('LOCK TABLE "tag" IN ACCESS EXCLUSIVE MODE')
    with closing(other), pytest.raises(peewee.OperationalError) as raised:
        with jobs.transaction(db):
            Tag.create(name="cats")

    assert fault_of(raised.value) is Fault.BUSY


def test_a_read_only_database_is_not_ready(booted: Settings):
    check()
    if isinstance(db.obj, peewee.SqliteDatabase):
        db.execute_sql("PRAGMA query_only = 1")
    else:
        db.execute_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")

    with pytest.raises(NotReady, match="the database is read-only"):
        check()


def test_an_answer_holds_for_a_while(booted: Settings, monkeypatch: pytest.MonkeyPatch):
    # Given a database that was ready a moment ago
    monkeypatch.setattr("gifster.app.readiness.GOOD_FOR_S", 60.0)
    readiness = Readiness()
    assert readiness.answer() == ""
    written = WriteProbe.get().content

    # When other requests ask, I expect no further write
    assert {readiness.answer() for _ in range(100)} == {""}
    assert WriteProbe.get().content == written

    # And a request that finds the database away to be checked within a second
    monkeypatch.setattr("gifster.app.readiness.BAD_FOR_S", 0.0)
    readiness.refused(Fault.READ_ONLY)
    assert readiness.answer() == ""
    assert WriteProbe.get().content != written

    # And a request that finds a full disk to be remembered
    readiness.refused(Fault.BUSY)
    assert readiness.answer() == ""
    readiness.refused(Fault.FULL)
    assert readiness.answer() == "the database has no room left on its disk"

    # But to make no doubt last that a probe does away with
    readiness.refused(Fault.AWAY)
    assert readiness.in_doubt
    eventually(lambda: not readiness.takes_no_writes() and not readiness.in_doubt)


@on_postgresql
def test_a_lost_connection_or_a_full_server_is_no_bug_of_ours(
    booted: Settings,
):
    pid = db.execute_sql("SELECT pg_backend_pid()").fetchone()[0]
    with psycopg.connect(booted.database.url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(peewee.PeeweeException) as lost:
            Tag.create(name="cats")
        assert fault_of(lost.value) is Fault.AWAY

        own = database.opened(booted.database.url)
        with pytest.raises(peewee.PeeweeException) as idle, own.connection_context(), own.atomic():
            own.execute_sql("SET idle_in_transaction_session_timeout = 1")
            eventually(lambda: own._is_closed(own.connection()))
            own.execute_sql("SELECT 1")
        assert fault_of(idle.value) is Fault.AWAY

        other.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 0")
        try:
            with pytest.raises(psycopg.OperationalError) as refused:
                psycopg.connect(booted.database.url.replace("postgres:", "few:", 1))
        finally:
            other.execute("DROP ROLE few")
        assert fault_of(refused.value) in (Fault.BUSY, Fault.AWAY)
