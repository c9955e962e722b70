"""The name of an outbox: one for all processes that open it, made by itself, in nobody's way."""

import sqlite3
from pathlib import Path

import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job, OutboxIdentity, identity
from gifster.jobs.identity import identity_of
from tests.jobs.conftest import Outbox


def test_an_outbox_has_one_name_however_it_is_opened(tmp_path: Path):
    path = tmp_path / "app.db"
    one = peewee.SqliteDatabase(path)
    name = identity_of(one)
    one.close()
    moved = path.rename(tmp_path / "elsewhere.db")

    other = peewee.SqliteDatabase(moved)
    assert name
    assert identity_of(other) == name
    assert identity_of(peewee.SqliteDatabase(tmp_path / "new.db")) not in (None, name)
    assert identity_of(None) is None
    assert other.is_closed()


def test_the_name_is_not_made_in_a_transaction_of_the_caller(outbox: Outbox):
    database = outbox.database
    database.drop_tables([OutboxIdentity])
    identity._known.clear()
    with jobs.transaction(database):
        Job.create(actor="greet", queue="default", arguments=[], send_at=0)
        assert identity_of(database) is None
        assert Job.select().count() == 1
    assert not OutboxIdentity.table_exists()

    assert identity_of(database)
    assert OutboxIdentity.table_exists()


def test_a_read_only_database_has_no_name_until_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Given a database without an outbox that can only be read
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    database = peewee.SqliteDatabase(f"file:{path}?mode=ro", uri=True)
    assert identity_of(database) is None

    # I expect it to get a name when it can be written
    monkeypatch.setattr("gifster.jobs.identity.ASK_AGAIN_S", 0)
    database.init(f"file:{path}", uri=True)
    assert identity_of(database)
