"""Gifster's processes: what a worker writes into its log, that none outlives its main process, and
when a worker becomes quiet or starts anew."""

import os
import signal
from collections.abc import Callable

import pytest

from gifster import jobs
from gifster.app.boot import boot
from gifster.app.database import db
from gifster.app.settings import load
from gifster.jobs import Job
from tests import images
from tests.machine import alive, children, eventually
from tests.stack import Stack

ACTORS = """
import time
from pathlib import Path
import dramatiq
from gifster.actors import broker

@dramatiq.actor(max_retries=0)
def hold(name):
    Path(f"{name}.begun").touch()
    while not Path(f"{name}.go").exists():
        time.sleep(0.01)

@dramatiq.actor(max_retries=0)
def grow(megabytes):
    global kept
    kept = bytearray(megabytes * 2**20)
"""


def test_the_plain_dramatiq_command_logs_start_and_done(
    new_stack: Callable[..., Stack],
):
    # Given a worker, started by that command
    stack = new_stack()
    stack.start("dramatiq", "gifster.actors", "--queues", "default", "carrierwave")
    stack.start_web()

    done = stack.finished(stack.upload(images.gif()).json()["id"])

    assert done["state"] == "ready"
    lines = eventually(
        lambda: (found := [line for line in stack.log("dramatiq-gifster.actors").splitlines()
                           if "actor=store_asset" in line]) and len(found) == 2 and found
    )  # fmt: skip
    assert " start " in lines[0]
    assert done["id"] in lines[0]
    assert " done " in lines[1]
    assert " ms=" in lines[1]


def test_workers_do_not_outlive_their_killed_main_process(new_stack: Callable[..., Stack]):
    stack = new_stack()
    main = stack.start_worker()
    [worker] = eventually(lambda: children(main.pid))
    eventually(lambda: "ready for action" in stack.log("dramatiq-gifster.actors"))

    main.kill()

    eventually(lambda: not alive(worker))


def test_web_processes_do_not_outlive_their_killed_main_process(new_stack: Callable[..., Stack]):
    stack = new_stack()
    main = stack.start_web()
    started = children(main.pid)
    assert started

    main.kill()

    eventually(lambda: not any(alive(pid) for pid in started))


@pytest.fixture
def stack(new_stack: Callable[..., Stack], monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack with those actors."""
    made = new_stack()
    (made.folder / "work.py").write_text(ACTORS)
    monkeypatch.chdir(made.folder)
    for name, value in made.environment.items():
        if name.startswith("GIFSTER_"):
            monkeypatch.setenv(name, value)
    boot(load())
    return made


def begun(name: str) -> Callable[[], bool]:
    return lambda: os.path.exists(f"{name}.begun")


def test_signals_make_a_worker_quiet_and_wake_it(stack: Stack):
    # Given a worker that runs a job
    main = stack.start("dramatiq", "work", "--processes", "1", "--threads", "2")
    with db.connection_context():
        jobs.enqueue("hold", "first")
        eventually(begun("first"))
        [worker] = jobs.workers()

        # When a signal tells it to be quiet, as with Sidekiq
        os.kill(worker.pid, signal.SIGTSTP)
        eventually(lambda: jobs.workers()[0].quiet)

        # I expect it to finish its job, and to begin none
        jobs.enqueue("hold", "second")
        open("first.go", "w").close()
        eventually(lambda: Job.select().count() == 1)
        assert not begun("second")()

        os.kill(worker.pid, signal.SIGCONT)
        eventually(begun("second"))
        open("second.go", "w").close()
        eventually(lambda: not Job.select().exists())
    main.terminate()
    assert main.wait(60) == 0
    with db.connection_context():
        assert jobs.workers() == []


@pytest.mark.long
def test_a_worker_that_is_too_large_is_restarted_between_its_jobs(stack: Stack):
    # Given a worker with a limit, as `gifster worker` runs it, and a running job
    stack.environment["GIFSTER_WORKER__MAX_MEMORY_MB"] = "300"
    script = "from gifster.cli import main; import work, sys; sys.argv[1:] = ['worker']; main()"
    main = stack.start("python", "-c", script)
    with db.connection_context():
        [first] = eventually(jobs.workers)

        # When it grows beyond it
        jobs.enqueue("hold", "long")
        eventually(begun("long"))
        jobs.enqueue("grow", 400)

        # I expect it to finish its jobs, and another process of the same parent to follow
        eventually(lambda: "too large" in stack.log("python--c"))
        assert children(main.pid) == [first.pid]
        open("long.go", "w").close()
        second = eventually(lambda: [w for w in jobs.workers() if w.id != first.id])
        assert children(main.pid) == [second[0].pid]
        assert main.poll() is None
        eventually(lambda: not Job.select().exists())
    main.terminate()
    assert main.wait(60) == 0
