"""The supervisor's processes, whoever reads its lines."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from gifster.jobs import process_group
from gifster.jobs.process_group import Child
from tests.machine import eventually

#: Prints without end, and says when it stops in order.
CHILD = """
import signal, sys
from pathlib import Path

def stop(*_):
    Path("stopped").touch()
    sys.exit()

signal.signal(signal.SIGTERM, stop)
while True:
    print("a line")
"""
SUPERVISOR = """
import os, signal
from pathlib import Path
from gifster.jobs import printer
from gifster.jobs.printer import say
from gifster.jobs.process_group import ProcessGroup

printer.STOPPED_S = 0.1
group = ProcessGroup(os.environ, say)
signal.signal(signal.SIGTERM, group.ask_to_stop)
group.start("child", ["child"], lambda child: "a line" in child.output)
group.wait_until_ready()
Path("ready").touch()
group.keep_running()
group.stop()
"""


@pytest.mark.parametrize("output", ["a full pipe", "a full disk"])
def test_a_supervisor_stops_its_processes_in_order_if_its_lines_go_nowhere(
    tmp_path: Path, output: str
):
    # Given a child that prints more than anybody takes
    (tmp_path / "child.py").write_text(CHILD)
    unread, pipe = os.pipe()
    with (
        os.fdopen(unread),
        os.fdopen(pipe, "wb") as full_pipe,
        Path("/dev/full").open("wb") as disk,
    ):
        supervisor = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": f"{Path(__file__).parents[3]}:{tmp_path}"},
            stdout=full_pipe if output == "a full pipe" else disk,
            stderr=(tmp_path / "errors").open("wb"),
        )
        try:
            eventually((tmp_path / "ready").exists)

            # When it is told to stop
            supervisor.send_signal(signal.SIGTERM)

            # I expect both to do so, without a crash
            assert supervisor.wait(60) == 0
        finally:
            supervisor.kill()
    assert (tmp_path / "stopped").exists()
    assert (tmp_path / "errors").read_text() == ""


@pytest.fixture
def child() -> Iterator[Child]:
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    child = Child("child", command, os.environ, lambda child: True, lambda line, name: None)
    child.start()
    yield child
    child.wait(0)


def runs_again(child: Child, first: int) -> bool:
    child.keep_running()
    return child._process is not None and child._process.pid != first


def test_a_child_that_does_not_stop_is_killed_and_started_again(
    child: Child, monkeypatch: pytest.MonkeyPatch
):
    # Given a child that takes no signal
    monkeypatch.setattr(process_group, "STOP_S", 0.0)
    first = psutil.Process(child._process.pid)
    first.suspend()

    # When it is to be restarted, I expect another one
    child.restart()
    eventually(lambda: runs_again(child, first.pid))
    assert not first.is_running()

    # And I expect that one to run on, also if it was told so while there was none
    os.kill(second := child._process.pid, signal.SIGKILL)
    eventually(lambda: child.keep_running() or child._process is None)
    child.restart()
    eventually(lambda: runs_again(child, second))
    third = child._process
    child.keep_running()
    assert third.poll() is None
    assert child._process is third


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="there are no real-time signals")
def test_a_child_that_any_signal_ends_is_started_again(child: Child):
    # Given a child that was ended by a signal of which Python knows no name
    os.kill(first := child._process.pid, signal.SIGRTMIN + 3)

    eventually(lambda: runs_again(child, first))


def test_a_group_whose_number_may_be_a_strangers_is_not_killed(
    child: Child, monkeypatch: pytest.MonkeyPatch
):
    # Given a child that has ended, which was noted
    child._process.kill()
    child._process.wait()

    # When all are to be stopped
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, number: killed.append(group))
    child.wait(0)

    assert killed == []


def test_a_child_that_cannot_be_started_now_is_started_later(
    child: Child, monkeypatch: pytest.MonkeyPatch
):
    # Given a child that has ended on a machine that has no process left
    monkeypatch.setattr(process_group, "FIRST_PAUSE_S", 0.0)
    child._pause = 0.0
    os.kill(first := child._process.pid, signal.SIGKILL)
    with monkeypatch.context() as full:
        full.setattr(subprocess, "Popen", Mock(side_effect=BlockingIOError(11, "no process")))
        eventually(lambda: child.keep_running() or subprocess.Popen.called)

    # … or no thread
    child._start_at = 0.0
    with monkeypatch.context() as full:
        start = Mock(side_effect=RuntimeError("can't start new thread"))
        full.setattr(process_group.threading.Thread, "start", start)
        eventually(lambda: child.keep_running() or start.called)
    assert child._process is None

    # I expect it to be started when there is one
    eventually(lambda: runs_again(child, first))
