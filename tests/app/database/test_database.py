"""The schema, which migrations and models must agree on; and transactions, on each database."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from gifster.app import (
    collections,
    database,
    favourites,
    models,
    postgresql,
)
from gifster.app.accounts import tables as accounts
from gifster.app.database import db
from gifster.app.moderation import log, reports
from gifster.app.search import tables
from gifster.app.settings import Settings
from gifster.app.sign_in import tables as sign_in
from gifster.jobs import TABLES
from tests.app.schema import ALL, OF_JOBS, shape
from tests.conftest import new_postgresql
from tests.machine import eventually

MODELS = [
    models.User, models.Token, models.Gif, models.FingerprintPart, models.Tag, models.GifTag,
    models.Finding, models.DamagedFile, models.FileCheck, models.WriteProbe, models.KeptUpload,
    tables.SearchEntry, tables.SearchTerm, tables.SearchTag, tables.SearchQuery, tables.SearchFill,
    favourites.Favourite, collections.Collection, collections.CollectionGif,
    accounts.MailSecret, accounts.Invitation, accounts.Export,
    reports.Report, log.ModerationEntry,
    sign_in.Identity, sign_in.AuthenticatorApp, sign_in.RecoveryCode, sign_in.Passkey,
    sign_in.SignInStep,
    *TABLES,
]  # fmt: skip

#: No model declares all indexes of these tables.
ONLY_IN_SQL = ("search_entry", "search_term")


def test_the_migrations_make_the_schema_of_the_models(booted: Settings):
    def of_models() -> dict[str, list]:
        shapes = {m._meta.table_name: shape(db.obj, m._meta.table_name) for m in MODELS}
        for table in ONLY_IN_SQL:
            del shapes[table][1]
        return shapes

    migrated = of_models()

    db.obj.drop_tables(MODELS)
    db.obj.create_tables(MODELS)

    assert migrated == of_models()


def test_migrating_again_changes_nothing(booted: Settings):
    assert database.migrate() == []
    assert database.pending_migrations() == []


def test_the_migrations_of_the_jobs_follow_gifsters_own(booted: Settings):
    # Given a database that lacks a table which a release of the library has brought
    db.execute_sql('DROP TABLE "paused_queue"')
    lacking = ["jobs 0004_workers_and_recurring_jobs"]
    assert database.pending_migrations() == lacking

    assert database.migrate() == lacking

    assert database.pending_migrations() == []
    assert db.table_exists("paused_queue")


def test_a_library_of_the_first_release_loses_nothing(database_url: str):
    # Given a library with a stored GIF, a waiting GIF, and a tag
    database.connect(database_url)
    with db.connection_context():
        database._runner().up(ALL[0])
        for gif_id, image, image_tmp in [
            ("stored", '{"bytes": 7, "sha256": "5a", "dhash": "0001000200030004"}', None),
            ("waiting", '{"bytes": 7}', '{"bytes": 9, "sha256": "9a"}'),
            ("failed", None, None),
        ]:
            db.execute_sql(
                "INSERT INTO gif (id, title, created_at, image, image_tmp, image_processing)"
                f" VALUES ('{gif_id}', 'a', 1, {_sql(image)}, {_sql(image_tmp)}, false)"
            )
        db.execute_sql("INSERT INTO tag (id, name) VALUES (1, 'cats')")
        db.execute_sql("INSERT INTO gif_tag (gif_id, tag_id) VALUES ('stored', 1)")

    # When it is brought up to date
    assert database.migrate() == ALL[1:] + OF_JOBS

    # I expect nothing to be lost, and each upload to have its size and its fingerprint
    with db.connection_context():
        known = db.execute_sql("SELECT id, bytes, sha256 FROM gif ORDER BY id").fetchall()
        parts = db.execute_sql("SELECT gif_id, quarter FROM likeness ORDER BY quarter").fetchall()
        tagged = db.execute_sql("SELECT gif_id, tag_id FROM gif_tag").fetchall()
    assert known == [("failed", 0, None), ("stored", 7, "5a"), ("waiting", 9, "9a")]
    assert parts == [("stored", part) for part in models.fingerprint_parts("0001000200030004")]
    assert tagged == [("stored", 1)]
    db.obj.close_all()


def _sql(text: str | None) -> str:
    return "NULL" if text is None else f"'{text}'"


def test_two_processes_may_migrate_at_once(database_url: str):
    database.connect(database_url)

    with ThreadPoolExecutor(4) as processes:
        applied = list(processes.map(lambda _: database.migrate(), range(4)))

    # Gifster's and those of the jobs may be applied by two of them
    each = [name for names in applied for name in names]
    assert sorted(each) == sorted(ALL + OF_JOBS)
    assert not any(database.migrate() for _ in range(2))
    db.obj.close_all()


def test_the_journal_of_a_process_that_makes_the_database_is_not_taken_for_one_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Given another process that is just making the file: it is empty, and has a journal
    path = tmp_path / "gifster.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE made_by_another (id INTEGER)")
        assert path.with_name("gifster.db-journal").exists()
        assert not path.stat().st_size

        # When I connect, and the other one commits while I wait
        monkeypatch.setattr(database.time, "sleep", lambda _: other.execute("COMMIT"))
        mine = database.opened(f"sqlite:///{path}")
        with mine.connection_context():
            # I expect its table
            assert "made_by_another" in mine.get_tables()
        mine.close_all()


def test_a_database_of_another_encoding_is_reported(postgresql_server: Any, tmp_path: Path):
    # Given a database as a server makes it whose machine has no locale
    url = new_postgresql(postgresql_server, tmp_path.name)
    name = url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(postgresql_server.get_uri(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}"')
        connection.execute(
            f"CREATE DATABASE \"{name}\" ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        )

    # I expect the migration to say so
    database.connect(url)
    with pytest.raises(database.DatabaseUnavailable, match="encoding SQL_ASCII, and Gifster needs"):
        database.migrate()


def test_an_unreachable_database_is_reported():
    database.connect("postgresql://nobody@127.0.0.1:1/none")

    with pytest.raises(database.DatabaseUnavailable, match="the database cannot be used"):
        database.migrate()


@pytest.mark.parametrize("durable", [True, False])
def test_a_commit_is_on_the_disk_unless_the_settings_say_otherwise(
    database_url: str, durable: bool
):
    database.connect(database_url, durable=durable)

    with db.connection_context():
        if isinstance(db.obj, peewee.SqliteDatabase):
            assert db.execute_sql("PRAGMA journal_mode").fetchone() == ("wal",)
            assert db.execute_sql("PRAGMA synchronous").fetchone() == (2 if durable else 1,)
            assert db.execute_sql("PRAGMA foreign_keys").fetchone() == (1,)
        else:
            setting = db.execute_sql("SHOW synchronous_commit").fetchone()
            assert setting == ("on" if durable else "off",)
    db.obj.close_all()


def test_a_writing_transaction_waits_for_another_one_and_does_not_fail(booted: Settings):
    # Given many writers that read first
    models.Tag.create(name="count", id=1)

    def rename(number: int) -> None:
        from gifster.jobs import transaction

        with db.connection_context(), transaction(db):
            tag = models.Tag.select().where(models.Tag.id == 1)
            tag = (tag.for_update() if db.obj.for_update else tag).get()
            tag.name = f"{tag.name}."
            tag.save()

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(rename, range(40)))

    # I expect all writes to succeed
    assert models.Tag.get_by_id(1).name == "count" + "." * 40


def test_a_process_that_stops_within_a_transaction_blocks_others_only_for_a_while(
    postgresql_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Given a stopped process whose transaction has locked a row
    monkeypatch.setattr(postgresql, "IDLE_IN_TRANSACTION_S", 1)
    url = new_postgresql(postgresql_server, tmp_path.name)
    database.connect(url)
    with db.connection_context():
        db.execute_sql("CREATE TABLE held (n INTEGER)")
        db.execute_sql("INSERT INTO held VALUES (1)")
    still = database.connect(url)
    still.connect()
    still.begin()
    still.execute_sql("UPDATE held SET n = 2")

    # I expect another process to get the row
    other = database.connect(url)
    with other.connection_context():
        other.execute_sql("SET statement_timeout = '20s'")
        other.execute_sql("UPDATE held SET n = 3")
    still.close_all()
    other.close_all()


def test_a_statement_has_a_limit_and_a_url_may_say_another(postgresql_server: Any, tmp_path: Path):
    url = new_postgresql(postgresql_server, tmp_path.name)

    def limit(url: str) -> str:
        connected = database.connect(url)
        with connected.connection_context():
            (found,) = connected.execute_sql("SHOW statement_timeout").fetchone()
        connected.close_all()
        return found

    assert limit(url) == "5min"
    mark = "&" if "?" in url else "?"
    assert limit(f"{url}{mark}options=-c%20statement_timeout%3D7s") == "7s"


def test_a_migration_that_waits_for_a_table_lets_others_use_it(
    postgresql_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Given a database that lacks a migration, and a backup that has been reading for long
    url = new_postgresql(postgresql_server, tmp_path.name)
    database.connect(url)
    with db.connection_context():
        database._runner().up(ALL[-2])
    backup, reader = database.opened(url), database.opened(url)
    backup.connect()
    backup.begin()
    backup.execute_sql('SELECT count(*) FROM "gif"')

    with ThreadPoolExecutor(1) as migrates:
        # When it is migrated, I expect others to go on reading meanwhile
        migration = migrates.submit(database.migrate)
        with reader.connection_context():
            reader.execute_sql("SET statement_timeout = '10s'")
            waits = (
                "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
            )
            eventually(lambda: reader.execute_sql(waits).fetchone() == (1,))
            reader.execute_sql('SELECT count(*) FROM "gif"')
        assert not migration.done()

        # And it to be done when the backup has ended
        backup.rollback()
        assert migration.result(60)[0] == ALL[-1]
    for each in (backup, reader, db.obj):
        each.close_all()
