"""Calls in the sandbox: what goes wrong there stays there."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gifster.imaging import sandbox
from gifster.imaging.errors import Unreadable
from gifster.imaging.sandbox import Limits, call_sandboxed
from tests.imaging.sandboxed import (
    answer,
    be_killed,
    crash,
    explode,
    fail,
    fill_the_disk,
    hang,
    meet,
    run_sandboxed,
    spin,
)
from tests.machine import alive, eventually


def test_a_call_runs_in_another_process_with_lower_priority():
    number, pid, nice = run_sandboxed(answer, 7)

    assert number == 7
    assert pid != os.getpid()
    assert nice > os.nice(0)


@pytest.mark.parametrize(
    ("work", "limits", "reason"),
    [
        (crash, sandbox.LIMITS, "crashes the decoder"),
        (explode, sandbox.LIMITS, "too much memory"),
        (fill_the_disk, Limits(disk_bytes=2**20), "too much disk space"),
        (spin, Limits(cpu_s=1), "more than 1 seconds"),
        (hang, Limits(wall_s=1), "more than 1 seconds"),
    ],
)
def test_a_file_that_goes_over_the_limits_is_unreadable(work, limits: Limits, reason: str):
    with pytest.raises(Unreadable, match=reason):
        run_sandboxed(work, limits=limits)

    assert run_sandboxed(answer, 1)[0] == 1


def test_errors_of_the_function_reach_the_caller():
    with pytest.raises(Unreadable, match="because"):
        run_sandboxed(fail, "because")


def test_a_process_killed_from_outside_is_not_the_fault_of_the_file():
    with pytest.raises(RuntimeError, match="signal 9"):
        run_sandboxed(be_killed)


@pytest.mark.parametrize("spare", range(3))
def test_a_caller_without_file_descriptors_is_not_the_fault_of_the_file(spare: int):
    # Given a caller that has all but a few of its descriptors in use, and can call again later
    source = (
        "import os, resource\n"
        "from tests.imaging.sandboxed import answer, run_sandboxed, sandbox\n"
        "run_sandboxed(answer, 1)\n"
        f"few = len(os.listdir('/proc/self/fd')) - 1 + {spare}\n"
        "before = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))\n"
        "try:\n    run_sandboxed(answer, 2)\n"
        "except sandbox.ProcessLost as error:\n    print(type(error).__name__, error)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, before)\n"
        "print(run_sandboxed(answer, 3)[0])"
    )

    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )

    # Then it is told so, and nothing else goes wrong
    assert done.stdout.startswith("ProcessLost no image process could be started: "), done.stderr
    assert done.stdout.endswith("\n3\n")


def test_several_calls_run_at_once(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(run_sandboxed, meet, one, other)
        second = threads.submit(run_sandboxed, meet, other, one)

        first.result(60)
        second.result(60)


def test_a_killed_server_is_replaced():
    run_sandboxed(answer, 1)
    server = sandbox._current.server()._process
    server.kill()
    server.wait(60)

    assert run_sandboxed(answer, 2)[0] == 2


def test_a_relative_path_means_the_same_as_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    call_sandboxed(os.getpid)  # the server is there already
    (tmp_path / "note.txt").write_text("here")
    monkeypatch.chdir(tmp_path)

    assert call_sandboxed(Path.read_text, Path("note.txt")) == "here"


def test_no_module_of_the_working_directory_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "PIL.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sandbox, "_current", sandbox._CurrentServer())

    assert run_sandboxed(answer, 1)[0] == 1


def test_no_process_stays_when_the_caller_is_killed():
    # Given a process in the middle of a call
    source = (
        "from tests.imaging.sandboxed import run_sandboxed, sandbox, tell_and_hang\n"
        "run_sandboxed(tell_and_hang, limits=sandbox.Limits(wall_s=3))"
    )
    caller = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    server, process = map(int, caller.stdout.readline().split())
    caller.kill()
    caller.wait(60)

    eventually(lambda: not alive(server) and not alive(process))
    caller.stdout.close()


def test_the_server_exits_when_the_caller_dies_in_the_middle_of_sending():
    # Given the length of a call, and half of its content
    server = sandbox._Server()
    mine, theirs = socket.socketpair()
    with mine, theirs:
        fds = [theirs.fileno(), theirs.fileno()]
        socket.send_fds(server._socket, [sandbox.LENGTH_PREFIX.pack(100)], fds)
        server._socket.sendall(bytes(50))

    server._socket.close()

    assert server._process.wait(60) == 0
