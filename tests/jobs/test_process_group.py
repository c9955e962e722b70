"""The supervisor's processes, whoever reads its lines."""

import os
import signal
import subprocess
import sys
from pathlib import Path

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
            env=os.environ | {"PYTHONPATH": f"{Path(__file__).parents[2]}:{tmp_path}"},
            stdout=full_pipe if output == "a full pipe" else disk,
            stderr=(tmp_path / "errors").open("wb"),
        )
        try:
            eventually((tmp_path / "ready").exists)

            # When it is told to stop
            supervisor.send_signal(signal.SIGTERM)

            # I expect both to do so, without a crash
            assert supervisor.wait(30) == 0
        finally:
            supervisor.kill()
    assert (tmp_path / "stopped").exists()
    assert (tmp_path / "errors").read_text() == ""


def test_a_child_that_does_not_stop_is_killed_and_started_again(monkeypatch: pytest.MonkeyPatch):
    # Given a child that takes no signal, which is to be restarted
    monkeypatch.setattr(process_group, "STOP_S", 0.0)
    command = [sys.executable, "-c", "print('begun', flush=True); input()"]
    child = Child("child", command, os.environ, lambda child: True, lambda line, name: None)
    child.start()
    first = psutil.Process(child._process.pid)
    first.suspend()
    child.restart()

    def another() -> bool:
        child.keep_running()
        return child._process is not None and child._process.pid != first.pid

    # I expect another one
    try:
        eventually(another)
        assert not first.is_running()
    finally:
        child.wait(0)
