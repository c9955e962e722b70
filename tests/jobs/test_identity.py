"""The name of an outbox: one for all processes that open it, made by itself, in nobody's way."""

import sqlite3
from pathlib import Path

import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job, OutboxIdentity, identity
from gifster.jobs.identity import identity_of
from tests.jobs.conftest import Outbox


def test_an_outbox_has_one_name_for_all_who_open_it(tmp_path: Path):
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


def test_it_is_made_in_nobodys_transaction_and_breaks_none(outbox: Outbox):
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


def test_a_database_that_takes_no_name_is_served_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Given an outbox alone, in a database that can be read and no more
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    database = peewee.SqliteDatabase(f"file:{path}?mode=ro", uri=True)
    assert identity_of(database) is None

    # I expect it to get one when it does
    monkeypatch.setattr("gifster.jobs.identity.ASK_AGAIN_S", 0)
    database.init(f"file:{path}", uri=True)
    assert identity_of(database)
