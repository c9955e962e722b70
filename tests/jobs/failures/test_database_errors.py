"""What an error of a real database means: it may be over at a later try, or is no better then."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest
from playhouse.pool import MaxConnectionsExceeded

from gifster.jobs.database_errors import Fault, fault_of, may_pass, refuses_value
from tests import databases
from tests.combinations import on_postgresql

#: Raises an error, with a database that has a table `item`.
Provokes = Callable[[Any], object]


def error_of(provoke: Provokes, database: Any) -> Exception:
    """The error that a database raises."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 whatever it raises
        provoke(database)
    return raised.value


def at_once(sql: str) -> Provokes:
    return lambda database: database.execute_sql(sql)


@pytest.fixture
def db(database_url: str) -> Iterator[Any]:
    made = databases.connect(database_url)
    with made.connection_context():
        made.execute_sql("CREATE TABLE item (id VARCHAR(5) PRIMARY KEY, size INTEGER NOT NULL)")
        made.execute_sql("ALTER TABLE item ADD COLUMN few INTEGER CHECK (few < 9)")
        made.execute_sql("INSERT INTO item (id, size) VALUES ('one', 1)")
        yield made
    made.close_all()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Any]:
    made = peewee.SqliteDatabase(tmp_path / "one.db", timeout=0, pragmas={"journal_mode": "wal"})
    made.execute_sql("CREATE TABLE item (id TEXT PRIMARY KEY, size INTEGER)")
    yield made
    with suppress(peewee.PeeweeException):
        made.close()


@pytest.mark.parametrize(
    ("sql", "of_its_value"),
    [
        ("SELECT * FROM nothing", False),
        ("SELECT nothing FROM item", False),
        ("SELEC", False),
        ("INSERT INTO item (id, size) VALUES ('two', NULL)", True),
        ("INSERT INTO item (id, size, few) VALUES ('two', 1, 10)", True),
    ],
)
def test_what_the_database_refuses_is_no_better_later(db: Any, sql: str, of_its_value: bool):
    error = error_of(at_once(sql), db)

    assert (fault_of(error), may_pass(error)) == (None, False)
    assert refuses_value(error) is of_its_value


@on_postgresql
@pytest.mark.parametrize("text", ["too long", "a\0b"], ids=["too long", "NUL"])
def test_a_text_that_postgresql_refuses_is_no_better_later(db: Any, text: str):
    error = error_of(
        lambda database: database.execute_sql("INSERT INTO item VALUES (%s, 1)", (text,)), db
    )

    assert (fault_of(error), refuses_value(error)) == (None, True)


def test_a_number_that_is_too_large_is_no_fault_of_the_database(db: Any):
    mark = db.param
    error = error_of(
        lambda database: database.execute_sql(f"UPDATE item SET size = {mark}", (2**80,)), db
    )

    assert fault_of(error) is None


def test_a_key_that_another_transaction_took_is_a_conflict(db: Any):
    error = error_of(at_once("INSERT INTO item (id, size) VALUES ('one', 1)"), db)

    assert (fault_of(error), may_pass(error), refuses_value(error)) == (Fault.CONFLICT, False, True)


@on_postgresql
def test_a_wrong_statement_after_a_conflict_is_none(db: Any):
    # Given an error that is raised while another one is handled
    def insert_or_count(database: Any) -> None:
        try:
            with database.atomic():
                database.execute_sql("INSERT INTO item (id, size) VALUES ('one', 1)")
        except peewee.IntegrityError:
            database.execute_sql("SELECT count(*) FROM nothing")

    error = error_of(insert_or_count, db)

    assert isinstance(error.__context__, peewee.IntegrityError | psycopg.Error)
    assert fault_of(error) is None


def test_a_pool_without_a_free_connection_is_busy(database_url: str):
    database = databases.connect(database_url)
    database._max_connections, database._wait_timeout = 1, 0.01
    with database.connection_context():
        errors: list[Exception] = []
        thread = threading.Thread(
            target=lambda: errors.append(error_of(lambda each: each.connect(), database))
        )
        thread.start()
        thread.join()
    database.close_all()

    assert isinstance(errors[0], MaxConnectionsExceeded)
    assert fault_of(errors[0]) is Fault.BUSY


def test_a_locked_file_is_busy(sqlite: Any):
    with closing(sqlite3.connect(sqlite.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        error = error_of(at_once("INSERT INTO item VALUES ('one', 1)"), sqlite)

    assert fault_of(error) is Fault.BUSY


def test_an_interrupted_statement_is_busy(sqlite: Any):
    sqlite.connection().set_progress_handler(lambda: 1, 1)

    assert fault_of(error_of(at_once("SELECT count(*) FROM item"), sqlite)) is Fault.BUSY


def test_a_file_without_room_is_full_also_behind_the_second_rollback(sqlite: Any):
    sqlite.execute_sql("PRAGMA max_page_count = 4")

    def fill(database: Any) -> None:
        with database.atomic():
            database.execute_sql("INSERT INTO item VALUES (hex(zeroblob(1000000)), 1)")

    assert fault_of(error_of(fill, sqlite)) is Fault.FULL


def test_a_read_only_file_is_read_only(sqlite: Any):
    sqlite.execute_sql("PRAGMA query_only = 1")

    assert fault_of(error_of(at_once("DELETE FROM item"), sqlite)) is Fault.READ_ONLY


def test_a_folder_that_is_gone_is_away(tmp_path: Path):
    error = error_of(at_once("SELECT 1"), peewee.SqliteDatabase(tmp_path / "gone" / "one.db"))

    assert fault_of(error) is Fault.AWAY


def test_a_file_of_something_else_is_damaged(tmp_path: Path):
    (tmp_path / "one.db").write_bytes(b"This is no database. " * 400)

    error = error_of(at_once("SELECT * FROM item"), peewee.SqliteDatabase(tmp_path / "one.db"))

    assert (fault_of(error), may_pass(error)) == (Fault.DAMAGED, True)


def test_bytes_that_are_no_text_are_no_fault_of_the_database(sqlite: Any):
    def read(database: Any) -> None:
        list(database.execute_sql("SELECT CAST(x'ff' AS TEXT)"))

    assert fault_of(error_of(read, sqlite)) is None


@on_postgresql
@pytest.mark.parametrize(
    ("before", "sql", "fault"),
    [
        ("SET statement_timeout = 1", "SELECT pg_sleep(60)", Fault.BUSY),
        ("SET default_transaction_read_only = on", "DELETE FROM item", Fault.READ_ONLY),
        ("SELECT 1", "SELECT pg_terminate_backend(pg_backend_pid())", Fault.AWAY),
        ("SELECT 1", "SELECT repeat('a', 1073741823)", None),  # more than PostgreSQL can do
    ],
)
def test_what_a_server_says_of_itself(db: Any, before: str, sql: str, fault: Fault | None):
    db.execute_sql(before)

    assert fault_of(error_of(at_once(sql), db)) is fault


@on_postgresql
def test_a_lock_that_is_held_is_busy(db: Any, database_url: str):
    db.execute_sql("SET lock_timeout = 1")
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE item")
        error = error_of(at_once("SELECT * FROM item"), db)

    assert fault_of(error) is Fault.BUSY


@on_postgresql
def test_two_that_wait_for_each_other_are_busy(db: Any, database_url: str):
    db.execute_sql("INSERT INTO item (id, size) VALUES ('two', 2)")
    change = "UPDATE item SET size = size + 1 WHERE id = '{}'"
    ends: list[BaseException] = []

    def both(first: str, second: str, barrier: threading.Barrier) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute("SET deadlock_timeout = '10ms'")
            connection.execute(change.format(first))
            barrier.wait(60)
            try:
                connection.execute(change.format(second))
            except psycopg.Error as error:
                ends.append(error)

    barrier = threading.Barrier(2)
    orders = [("one", "two"), ("two", "one")]
    threads = [threading.Thread(target=both, args=(*order, barrier)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [fault_of(error) for error in ends] == [Fault.BUSY]


@on_postgresql
def test_a_serialization_failure_is_busy(db: Any, database_url: str):
    with db.atomic("REPEATABLE READ"), psycopg.connect(database_url) as other:
        list(db.execute_sql("SELECT * FROM item"))
        other.execute("UPDATE item SET size = 5")
        other.commit()
        with db.atomic():
            pass  # a savepoint, which the error leaves behind
        error = error_of(at_once("UPDATE item SET size = 6"), db)
        db.rollback()

    assert fault_of(error) is Fault.BUSY


@on_postgresql
def test_a_server_that_takes_nobody_is_away(database_url: str, postgresql_server: Any):
    socket_of_nobody = f"postgresql://nobody_{'x' * 9}@127.0.0.1:1/none"
    nowhere = databases.connect(database_url)
    nowhere.database = "no_such_database"

    assert fault_of(error_of(lambda _: psycopg.connect(socket_of_nobody), None)) is Fault.AWAY
    assert fault_of(error_of(lambda database: database.connect(), nowhere)) is Fault.AWAY


@on_postgresql
def test_a_role_with_all_its_connections_in_use_may_connect_later(db: Any, database_url: str):
    role = f"few_{db.database[-20:]}"
    db.execute_sql(f"DROP ROLE IF EXISTS {role}")
    db.execute_sql(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
    try:
        with psycopg.connect(database_url, user=role):
            error = error_of(lambda _: psycopg.connect(database_url, user=role), None)
    finally:
        db.execute_sql(f"DROP ROLE {role}")

    assert "too many connections" in str(error)
    assert may_pass(error)


@pytest.mark.parametrize("error", [peewee.OperationalError("Lost connection"), ConnectionError()])
def test_an_error_without_a_code_is_known_by_its_kind(error: Exception):
    # Those of drivers that we do not know
    assert fault_of(error) is (Fault.AWAY if isinstance(error, peewee.PeeweeException) else None)


def test_an_error_of_no_kind_and_without_a_code_is_a_lost_connection():
    # As psycopg2 says "error with status PGRES_TUPLES_OK and no message from the libpq"
    assert fault_of(psycopg.DatabaseError("no message from the libpq")) is Fault.AWAY


def test_a_wrong_use_of_peewee_is_no_better_later():
    error = error_of(at_once("SELECT 1"), peewee.SqliteDatabase(":memory:", autoconnect=False))

    assert isinstance(error, peewee.InterfaceError)
    assert fault_of(error) is None
