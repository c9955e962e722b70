"""Databases for the tests of the libraries: pooled, and set up as `docs/uploads.md` recommends, but
without waiting for the disk. And other processes that write into one."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee
from playhouse.db_url import connect as connect_url

from tests.machine import eventually

_SQLITE: dict[str, Any] = {
    "check_same_thread": False,
    "timeout": 15,
    "pragmas": {"journal_mode": "wal", "busy_timeout": 15_000, "foreign_keys": 1, "synchronous": 0},
}
#: Peewee itself prefers psycopg2.
prefer_psycopg3 = True


def connect(url: str) -> Any:
    """The database of a URL. No connection is opened yet."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        Path(rest.removeprefix("/")).parent.mkdir(parents=True, exist_ok=True)
    postgresql = {"prefer_psycopg3": prefer_psycopg3, "timeout": 15}
    options = _SQLITE if scheme == "sqlite" else postgresql
    return connect_url(f"{scheme}+pool://{rest}", max_connections=64, **options)


#: The statements that make a model's table and indexes, by the kind of database.
_statements: dict[tuple[type, type[peewee.Model]], list[tuple[str, Any]]] = {}


def create_tables(database: Any, models: list[type[peewee.Model]]) -> None:
    """Create the tables of models that many tests use, which are bound to this database. Peewee
    puts the statements together anew each time, for longer than the database takes to run them."""
    for model in models:
        key = type(database), model
        if key not in _statements:
            schema = model._schema
            contexts = [schema._create_table(safe=True), *schema._create_indexes(safe=True)]
            _statements[key] = [context.query() for context in contexts]
        for statement, parameters in _statements[key]:
            database.execute_sql(statement, parameters)


WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=15, isolation_level=None)
while True:
    connection.execute("INSERT INTO noise (text) VALUES ('…')")
    time.sleep(0.001)
"""


@contextmanager
def writers(path: Path) -> Iterator[None]:
    """Two processes that insert a row every millisecond."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE noise (text TEXT)")

    def rows() -> int:
        return connection.execute("SELECT count(*) FROM noise").fetchone()[0]

    started = [subprocess.Popen([sys.executable, "-c", WRITER, path]) for _ in range(2)]
    try:
        eventually(lambda: rows() > 20)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()
        connection.close()
