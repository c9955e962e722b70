"""Work on files of strangers, in processes of their own: what goes wrong there stays there."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from gifster.imaging import sandbox
from gifster.imaging.errors import Unreadable
from gifster.imaging.sandbox import Limits
from tests.machine import eventually


def run_apart(*arguments: Any, **options: Any) -> Any:
    """What comes of it, when it is done."""
    generator = sandbox.run_apart(*arguments, **options)
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def answer(number: int) -> tuple[int, int, int]:
    return number, os.getpid(), os.nice(0)


def fail(reason: str) -> None:
    raise Unreadable(reason)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def explode() -> None:
    bytearray(300 * 2**20)


def fill_the_disk() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(2**21))


def spin() -> None:
    while True:
        pass


def hang() -> None:
    threading.Event().wait()


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def meet(mine: Path, other: Path) -> None:
    mine.touch()
    while not other.exists():
        time.sleep(0.01)


def test_it_is_done_elsewhere_and_with_less_priority():
    number, pid, nice = run_apart(answer, 7)

    assert number == 7
    assert pid != os.getpid()
    assert nice > os.nice(0)


@pytest.mark.parametrize(
    ("work", "limits", "reason"),
    [
        (crash, sandbox.LIMITS, "crashes the decoder"),
        (explode, sandbox.LIMITS, "too much memory"),
        (fill_the_disk, Limits(disk_bytes=2**20), "too much space"),
        (spin, Limits(cpu_s=1), "more than 1 seconds"),
        (hang, Limits(wall_s=1), "more than 1 seconds"),
    ],
)
def test_a_file_that_goes_over_the_limits_is_unreadable(work, limits: Limits, reason: str):
    with pytest.raises(Unreadable, match=reason):
        run_apart(work, limits=limits)

    assert run_apart(answer, 1)[0] == 1


def test_what_is_raised_there_is_raised_here():
    with pytest.raises(Unreadable, match="because"):
        run_apart(fail, "because")


def test_what_others_end_is_not_the_fault_of_the_file():
    with pytest.raises(RuntimeError, match="signal 9"):
        run_apart(be_killed)


def test_several_are_worked_on_at_once(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(run_apart, meet, one, other)
        second = threads.submit(run_apart, meet, other, one)

        first.result(20)
        second.result(20)


def test_a_server_that_was_killed_is_started_anew():
    run_apart(answer, 1)
    server = sandbox._servers.one()._process
    server.kill()
    server.wait(10)

    assert run_apart(answer, 2)[0] == 2


def test_nothing_is_imported_from_where_it_happens_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "PIL.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sandbox, "_servers", sandbox._Servers())

    assert run_apart(answer, 1)[0] == 1


def test_nothing_stays_when_who_asked_is_killed():
    # Given a process in the middle of asking
    source = (
        "from gifster.imaging import sandbox; from tests.imaging.test_sandbox import *\n"
        "run_apart(answer, 1); print(sandbox._servers.one()._process.pid, flush=True)\n"
        "run_apart(hang, limits=Limits(wall_s=3))"
    )
    asking = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    server = psutil.Process(int(asking.stdout.readline()))
    eventually(lambda: len(server.children(recursive=True)) == 2)
    family = [server, *server.children(recursive=True)]
    asking.kill()
    asking.wait(10)

    eventually(lambda: not any(process.is_running() for process in family))
    asking.stdout.close()


def test_the_server_ends_when_who_asked_dies_while_asking():
    # Given the head of a request, and half of what it says would follow
    server = sandbox._Server()
    mine, theirs = socket.socketpair()
    with mine, theirs:
        socket.send_fds(server._socket, [sandbox.LENGTH.pack(100)], [theirs.fileno()])
        server._socket.sendall(bytes(50))

    server._socket.close()

    assert server._process.wait(10) == 0
