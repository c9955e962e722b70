"""PostgreSQL behind a network that may be cut: the pool of connections."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import peewee
import psycopg
import pytest

from gifster.app import database, postgresql
from gifster.app.database import db
from gifster.jobs import table_changes
from gifster.jobs.database_errors import Fault, fault_of
from tests.conftest import new_postgresql


@pytest.fixture
def pool(postgresql_server: Any, tmp_path: Path) -> Iterator[peewee.Database]:
    connected = database.connect(new_postgresql(postgresql_server, tmp_path.name))
    yield connected
    connected.close_all()


def test_both_sides_notice_a_silent_machine_before_a_lease_ends(pool: peewee.Database):
    with pool.connection_context():
        # Of a Unix socket the server shows 0, so look at what it was asked for
        options = pool.connection().info.get_parameters()

    assert options["tcp_user_timeout"] == "8000"
    assert options["connect_timeout"] == "3"
    assert {"keepalives_idle", "keepalives_interval", "keepalives_count"} <= options.keys()
    for name in ("idle", "interval", "count"):
        assert f"-c tcp_keepalives_{name}=" in options["options"]
    assert "-c tcp_user_timeout=8s" in options["options"]


def test_a_connection_that_was_closed_while_it_was_idle_fails_no_request(pool: peewee.Database):
    # Given connections in the pool, which the server closes
    barrier = threading.Barrier(3)

    def use() -> None:
        with pool.connection_context():
            pool.execute_sql("SELECT 1")
            barrier.wait(60)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pool._connections) == 3
    with psycopg.connect(pool.connect_params["host"] and _url(pool), autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )

    # I expect the next use to have a new one
    with pool.connection_context():
        assert pool.execute_sql("SELECT 2").fetchone() == (2,)
    assert len(pool._connections) == 1


def test_a_migration_waits_for_others_and_says_who_they_are(
    pool: peewee.Database, monkeypatch: pytest.MonkeyPatch
):
    # Given a session that reads a table which the migration changes
    with pool.connection_context():
        pool.execute_sql("CREATE TABLE read_by_somebody (id INT)")
    tries: list[int] = []

    def migrates(database: peewee.Database) -> list[str]:
        tries.append(1)
        database.execute_sql("ALTER TABLE read_by_somebody ADD COLUMN more INT")
        return []

    monkeypatch.setattr(database, "_migrate_ours", migrates)
    monkeypatch.setattr(table_changes, "TABLE_WAIT_S", 0.05)
    monkeypatch.setattr(table_changes, "TABLE_PATIENCE_S", 0.2)
    with psycopg.connect(_url(pool), application_name="somebody") as other:
        other.execute("SELECT * FROM read_by_somebody")
        pid = other.info.backend_pid

        # I expect it to name the session, and its number alone to a role that may see no more
        with pytest.raises(database.DatabaseUnavailable, match=rf"process {pid} .*\(somebody, at"):
            database.migrate()
        assert len(tries) > 1
        with pool.atomic():
            pool.execute_sql("SET LOCAL ROLE pg_signal_backend")
            said = table_changes._who_uses_it(pool)
        assert f"probably process {pid} of the server. Wait" in said

    # And nobody if nobody uses a table by then
    assert "a migration changes. Wait" in table_changes._who_uses_it(pool)

    # And an error that no waiting ends, to end it at once
    def is_cancelled(_: peewee.Database) -> list[str]:
        tries.append(1)
        pool.execute_sql("SET LOCAL statement_timeout = '1ms'")
        pool.execute_sql("SELECT pg_sleep(5)")
        return []

    tries.clear()
    monkeypatch.setattr(database, "_migrate_ours", is_cancelled)
    with pytest.raises(database.DatabaseUnavailable, match="statement timeout"):
        database.migrate()
    assert len(tries) == 1


def _url(pool: peewee.Database) -> str:
    its = pool.connect_params
    return f"postgresql://{its['user']}@/{pool.database}?host={its['host']}"


def test_a_connection_costs_no_round_trip_when_it_is_taken_from_the_pool(pool: peewee.Database):
    with pool.connection_context():
        pool.execute_sql("SELECT 1")
        connection = pool.connection()
    asked: list[object] = []
    execute = psycopg.Cursor.execute
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            psycopg.Cursor, "execute", lambda *a, **k: (asked.append(a[1]), execute(*a, **k))[1]
        )
        with pool.connection_context():
            assert pool.connection() is connection

    assert asked == []


def test_one_thread_waits_for_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    # Given a server to which nobody can connect in time
    monkeypatch.setattr(postgresql, "SLOW_S", 0.0)
    monkeypatch.setattr(postgresql, "LEFT_ALONE_S", 600.0)
    database.connect("postgresql://nobody@127.0.0.1:1/nothing")
    tried: list[int] = []
    connect = psycopg.connect

    def counted(*positional: Any, **named: Any) -> Any:
        tried.append(1)
        return connect(*positional, **named)

    monkeypatch.setattr(psycopg, "connect", counted)

    # When many threads want a connection
    errors: list[BaseException] = []

    def use() -> None:
        try:
            db.connect()
        except peewee.OperationalError as error:
            errors.append(error)

    threads = [threading.Thread(target=use) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # I expect one attempt, and that error for all: the database is away
    assert len(tried) == 1
    assert len(errors) == 16
    assert {fault_of(error) for error in errors} == {Fault.AWAY}


def test_a_server_that_refuses_is_tried_each_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgresql, "SLOW_S", 60.0)
    database.connect("postgresql://nobody@127.0.0.1:1/nothing")

    for _ in range(3):
        with pytest.raises(peewee.OperationalError) as refused:
            db.connect()
        assert "a moment ago" not in str(refused.value)


def test_of_several_hosts_the_one_that_takes_writes_is_used(postgresql_server: Any, tmp_path: Path):
    # Given a server that is gone, and one that does not take writes yet, like a standby
    url = new_postgresql(postgresql_server, tmp_path.name)
    _, _, options = url.partition("?host=")
    name = url.partition("?")[0].rpartition("/")[2]
    pool = database.connect(
        f"postgresql://postgres@127.0.0.1:1,{quote(options, safe='')}/{name}"
        "?target_session_attrs=read-write"
    )
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        with pytest.raises(peewee.OperationalError) as refused:
            pool.connect()
        assert fault_of(refused.value) is Fault.AWAY

        # When it is promoted
        other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')

    # I expect the next connection to have it, and later ones to try it first
    with pool.connection_context():
        pool.execute_sql("CREATE TABLE written (id int)")
    assert pool.connect_params["host"] == f"{options},127.0.0.1"
    assert pool.connect_params["port"] == ",1"
    pool.close_all()
    with pool.connection_context():
        assert pool.execute_sql("SELECT count(*) FROM written").fetchone() == (0,)
    pool.close_all()


def test_a_disk_without_room_for_a_new_session_is_full():
    said = "connection failed: FATAL:  could not write init file: No space left on device"

    assert fault_of(psycopg.OperationalError(said)) is Fault.FULL
