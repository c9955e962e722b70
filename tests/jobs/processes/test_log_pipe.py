"""The log of a worker process: no line is lost, though lines are written together."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import dramatiq
import pytest
from dramatiq.broker import MessageProxy

from gifster.jobs.log_pipe import PIECE, GatheredLines, gather_lines
from gifster.jobs.middleware import JobLog
from tests.machine import BIN, eventually

TASKS = """
import os, sys, time
import dramatiq
from gifster import jobs

broker = jobs.connect(os.environ["URL"])

@dramatiq.actor(max_retries=0)
def work(number):
    if number < 0:
        print("printed")
        os.fork() or os._exit(0)
"""


def test_lines_are_written_together_in_their_order_and_in_pieces_that_a_pipe_takes_whole():
    written: list[str] = []
    first, go = threading.Event(), threading.Event()

    def write(text: str) -> None:
        first.set()
        go.wait(60)
        written.append(text)

    # Given a pipe that is slow to take the first line
    lines = GatheredLines(write)
    lines.write("0\n")
    assert first.wait(60)
    thread = threading.Thread(
        target=lambda: [lines.write(f"{n} äöü {'x' * 100}\n") for n in range(1, 200)]
    )
    thread.start()
    go.set()
    thread.join()
    lines.write("…" * PIECE + "\n")  # too long for one piece
    lines.finish()
    lines.write("at once\n")

    texts = "".join(written).splitlines()
    numbers = [int(text.split()[0]) for text in texts if text[0].isdigit()]
    assert numbers == [*range(200)]
    assert (texts[-1], len(texts)) == ("at once", 202)
    assert len(written) < 50
    assert all(len(text.encode()) <= PIECE or text.count("\n") == 1 for text in written)


def test_a_line_does_not_wait_for_another():
    written = threading.Event()
    lines = GatheredLines(lambda text: written.set())

    lines.write("a\n")

    assert written.wait(60)
    lines.finish()


def test_no_thread_waits_for_one_that_is_writing_a_piece():
    writing, go = threading.Event(), threading.Event()

    def slow(text: str) -> None:
        writing.set()
        go.wait(60)

    # Given a pipe that takes nothing, and a thread that writes a piece to it
    lines = GatheredLines(slow)
    lines.write("x" * PIECE + "\n")
    threading.Thread(target=lines.write_pieces).start()
    assert writing.wait(60)

    # I expect the others to go on
    for _ in range(3):
        lines.write("x" * PIECE + "\n")
        lines.write_pieces()
    go.set()
    lines.finish()


def test_the_lines_of_jobs_are_written_outside_of_the_locks_of_logging(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO, "gifster.jobs")
    free: list[bool] = []

    def write_pieces() -> None:
        other = threading.Thread(target=ask)
        other.start()
        other.join()

    def ask() -> None:
        free.append(caplog.handler.lock.acquire(timeout=0))
        if free[-1]:
            caplog.handler.lock.release()

    log = JobLog()
    log._lines = SimpleNamespace(write_pieces=write_pieces)
    message = MessageProxy(dramatiq.Message("default", "work", (), {}, {}, "id"))
    log.before_process_message(dramatiq.get_broker(), message)

    assert caplog.messages
    assert free == [True]


def test_a_forked_process_writes_its_own_lines_only():
    # Given a line that waits, because the pipe is slow
    read, write = os.pipe()
    gate = threading.Semaphore(0)

    def slow(text: str) -> None:
        if os.getpid() == parent:
            gate.acquire(timeout=60)
        os.write(write, text.encode())

    parent = os.getpid()
    lines = GatheredLines(slow)
    for _ in range(3):
        lines.write("parent\n")

    child = multiprocessing.get_context("fork").Process(target=lambda: lines.write("child\n"))
    child.start()
    child.join(60)

    assert os.read(read, 100) == b"child\n"
    for _ in range(3):
        gate.release()
    lines.finish()
    assert os.read(read, 100).count(b"parent") == 3


def test_standard_error_that_is_no_pipe_of_dramatiqs_is_left_alone():
    assert gather_lines() is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def environment(folder: Path, broker_url: str) -> dict[str, str]:
    return {"URL": broker_url, "PATH": str(BIN), "PYTHONPATH": str(folder)}


def test_a_worker_that_ends_in_any_way_but_a_kill_has_written_all_lines(
    folder: Path, broker_url: str
):
    env = environment(folder, broker_url)
    send = "from tasks import work; [work.send(n) for n in [*range(300), -1]]"
    subprocess.run([sys.executable, "-c", send], env=env, check=True)
    log = folder / "log"
    with log.open("w") as file:
        command = [BIN / "dramatiq", "tasks", "--processes", "1", "--threads", "4"]
        worker = subprocess.Popen(command, env=env, stderr=file, cwd=folder)

    # When it stops while it works
    eventually(lambda: log.read_text().count("done actor=work") >= 150)
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)

    # I expect both lines of each job that it has begun, and those of its end
    text = log.read_text()
    assert text.count("start actor=work") == text.count("done actor=work") >= 150
    assert "Worker has been shut down" in text
    assert all(line.startswith("[") for line in text.splitlines() if line != "printed")


def test_the_arguments_of_a_job_begin_no_line_of_their_own(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "gifster.jobs")
    forged = "ann\ndone actor=work queue=default job=7 \x1b[2J"

    message = MessageProxy(dramatiq.Message("default", "work", (forged,), {}, {}, "id"))
    JobLog().before_process_message(dramatiq.get_broker(), message)

    assert caplog.messages == [
        "start actor=work queue=default job=- message=id "
        "args=ann\\u000adone actor=work queue=default job=7 \\u001b[2J"
    ]


def test_the_lines_of_a_job_are_those_of_python_logging(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "gifster.jobs")
    log = JobLog()
    message = MessageProxy(dramatiq.Message("default", "work", (1, "a"), {}, {}, "id"))
    for _ in range(2):
        log.before_process_message(dramatiq.get_broker(), message)
        log.after_process_message(dramatiq.get_broker(), message)

    start = "start actor=work queue=default job=- message=id args=1,a"
    assert [line.split(" ms=")[0] for line in caplog.messages] == [
        start, start.replace("start", "done"),
    ] * 2  # fmt: skip
    first, last = caplog.records[0], caplog.records[2]
    differ = {name for name in vars(first) if vars(first)[name] != vars(last)[name]}
    assert differ <= {"created", "msecs", "relativeCreated"}
    assert last.created >= first.created
    assert last.relativeCreated >= first.relativeCreated
