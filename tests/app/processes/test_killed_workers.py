"""Killed workers: another worker soon runs their jobs. A job that kills its workers, or fails too
often, is given up. All processes are real."""

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests import images
from tests.machine import alive, children, eventually, files_below, signal_group
from tests.stack import Stack

#: More actors, beside the application's own.
ACTORS = """
import os, signal, threading
import dramatiq
from gifster.actors import broker

@dramatiq.actor(queue_name="default")
def kill_the_worker():
    os.kill(os.getpid(), signal.SIGKILL)

@dramatiq.actor(queue_name="default")
def wait_for_ever(name):
    open(f"begun-{name}-{os.getpid()}", "w").close()
    threading.Event().wait()

@dramatiq.actor(queue_name="default", max_retries=1, min_backoff=1)
def always_fail(name):
    raise RuntimeError(f"no luck, {name}")
"""


@pytest.fixture
def stack(new_stack: Callable[..., Stack]) -> Stack:
    return with_leases(new_stack, 1)


def with_leases(new_stack: Callable[..., Stack], lease_s: int) -> Stack:
    """A stack with those actors, short leases, and a scheduler that runs."""
    stack = new_stack(GIFSTER_WORKER__LEASE_S=str(lease_s))
    (stack.folder / "more_actors.py").write_text(ACTORS)
    stack.start("gifster", "scheduler")
    return stack


def start_worker(stack: Stack):
    options = "--processes 1 --threads 4 --worker-shutdown-timeout 500 --worker-fork-timeout 2000"
    queues = ("--queues", "default", "carrierwave")
    return stack.start("dramatiq", "more_actors", *queues, *options.split())


def enqueue(stack: Stack, actor: str, *arguments: str) -> None:
    script = f"""
from gifster import jobs
from gifster.app import boot, settings
from gifster.app.database import db
boot.boot(settings.load())
with db.connection_context():
    jobs.enqueue({actor!r}, *{arguments!r})
"""
    result = stack.run("python", "-c", script)
    assert result.returncode == 0, result.stderr


def given_up(stack: Stack) -> int:
    """How many dead jobs there are. A command that says so takes a second each time."""
    with sqlite3.connect(stack.var / "gifster.db") as database:
        return database.execute("SELECT count(*) FROM outbox WHERE failed_at > 0").fetchone()[0]


def begun(stack: Stack) -> list[str]:
    return [name for name in files_below(stack.folder) if name.startswith("begun-")]


def test_another_worker_soon_runs_the_job_of_a_killed_one(stack: Stack):
    main = start_worker(stack)
    enqueue(stack, "wait_for_ever", "a")
    eventually(lambda: len(begun(stack)) == 1)

    [worker] = children(main.pid)
    os.kill(worker, signal.SIGKILL)
    start_worker(stack)

    eventually(lambda: len(begun(stack)) == 2)


def test_a_job_that_takes_longer_than_its_lease_is_not_done_twice(new_stack: Callable[..., Stack]):
    # Given a job that goes on for ever, and two workers, which a busy machine may hold up
    stack = with_leases(new_stack, 5)
    start_worker(stack)
    start_worker(stack)
    enqueue(stack, "wait_for_ever", "a")
    eventually(lambda: len(begun(stack)) == 1)

    # When its lease has been renewed for its whole length
    first = lease_ends(stack)
    eventually(lambda: lease_ends(stack) > first + 5)

    assert len(begun(stack)) == 1


def lease_ends(stack: Stack) -> float:
    with sqlite3.connect(stack.var / "gifster.db") as database:
        return database.execute("SELECT send_at FROM outbox").fetchone()[0]


def test_a_stopped_worker_gives_back_the_jobs_that_it_cannot_finish(stack: Stack):
    main = start_worker(stack)
    enqueue(stack, "wait_for_ever", "a")
    eventually(lambda: len(begun(stack)) == 1)

    main.terminate()
    main.wait(60)

    assert "handed back" in stack.log("dramatiq-more_actors")
    assert "waiting" in stack.run("gifster", "jobs", "list").stdout
    start_worker(stack)
    eventually(lambda: len(begun(stack)) == 2)


def waits_for_the_dead(main: int) -> bool:
    """Whether Dramatiq's main process waits for a child that died while it reported that it is
    ready. It waits for ever: the child held the lock of the event."""
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(main).children()
        return bool(found) and all(child.status() == psutil.STATUS_ZOMBIE for child in found)
    return False


@pytest.mark.long
def test_a_job_that_kills_its_workers_is_given_up_and_the_others_are_not(stack: Stack):
    # Given a job that kills its worker, and uploads beside it
    stack.start_web()
    workers = [start_worker(stack)]
    eventually(lambda: "ready for action" in stack.log("dramatiq-more_actors"))
    enqueue(stack, "kill_the_worker")
    ids = [stack.upload(images.gif()).json()["id"] for _ in range(4)]

    def dead_at_last() -> bool:
        if waits_for_the_dead(workers[-1].pid):
            workers[-1].kill()
            workers[-1].wait(60)
        if workers[-1].poll() is not None:
            workers.append(start_worker(stack))
        return given_up(stack) > 0

    eventually(dead_at_last, within=180)
    assert "WorkersDied" in stack.run("gifster", "jobs", "list", "--dead").stdout

    # I expect the last worker to live on, and everything else to be done; what a killed worker had
    # fetched and not begun comes back a little later
    assert all(stack.finished(gif_id, within=90)["state"] == "ready" for gif_id in ids)
    assert workers[-1].poll() is None
    listed = stack.run("gifster", "jobs", "list").stdout
    assert listed.count("dead") == 1
    assert "kill_the_worker" in listed


def test_a_job_whose_retries_run_out_is_kept_until_it_is_retried_or_dropped(stack: Stack):
    start_worker(stack)
    enqueue(stack, "always_fail", "ann")

    def dead() -> str:
        return stack.run("gifster", "jobs", "list", "--dead").stdout

    eventually(lambda: given_up(stack))
    assert "RuntimeError('no luck, ann')" in dead()

    retried = stack.run("gifster", "jobs", "retry", "--all")
    assert retried.stdout.startswith("sent again ")
    job_id = retried.stdout.split()[-1]
    eventually(lambda: given_up(stack))
    assert job_id in dead()
    assert stack.run("gifster", "jobs", "drop", job_id).stdout == f"dropped {job_id}\n"
    assert "no dead jobs" in dead()


@pytest.mark.long
def test_a_worker_killed_in_the_middle_of_a_job_loses_nothing(new_stack: Callable[..., Stack]):
    # Given a worker process that is busy with an upload
    stack = new_stack()
    stack.start_web()
    stack.start("gifster", "scheduler")
    main = stack.start_worker()
    gif_id = stack.upload(images.noisy_gif((900, 700), 40)).json()["id"]
    eventually(lambda: stack.gif(gif_id)["state"] == "processing")

    # When it is killed
    [worker] = children(main.pid)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: main.poll() is not None)

    # I expect another worker to run the job, when the lease of the first has run out
    stack.start_worker()
    done = eventually(lambda: (gif := stack.gif(gif_id))["state"] == "ready" and gif)
    stems = sorted(Path(name).stem.partition("-")[0] for name in files_below(stack.var / "store"))
    assert stems == sorted(["original", *done["versions"]])
    assert {"mp4", "poster", "preview", "thumb", "webp"} <= set(done["versions"])
    assert done["image"]["frames"] == 40
    eventually(lambda: not files_below(stack.var / "cache"))


def test_a_worker_that_is_still_starting_does_not_outlive_its_killed_main_process(
    new_stack: Callable[..., Stack],
):
    # Given a worker process that is loading the actors, and would tell its main process when it is
    # done
    stack = new_stack()
    (stack.folder / "slow_actors.py").write_text(
        "import gifster.actors, time\nopen('begun', 'w').close()\ntime.sleep(300)\n"
    )
    main = stack.start("dramatiq", "slow_actors", "--processes", "1")
    eventually((stack.folder / "begun").exists)
    started = children(main.pid)

    os.kill(main.pid, signal.SIGKILL)
    main.wait()

    eventually(lambda: not any(map(alive, started)))


def test_the_last_edit_of_a_gif_wins_when_its_worker_is_killed(stack: Stack):
    # Given a GIF, and a worker that is killed while it makes the versions of an edit
    stack.start_web()
    main = start_worker(stack)
    gif_id = stack.upload(images.noisy_gif((320, 240), 12)).json()["id"]
    former = stack.finished(gif_id)["versions"]
    assert stack.client.patch(f"/api/gifs/{gif_id}", json={"edit": {"end": 0.3}}).is_success
    eventually(lambda: jobs_of(stack, "update_versions", "started_at > 0"))
    signal_group(main, signal.SIGKILL)

    # When the GIF is edited again
    edit = {"crop": {"x": 0, "y": 0, "width": 100, "height": 200}}
    assert stack.client.patch(f"/api/gifs/{gif_id}", json={"edit": edit}).is_success
    assert stack.gif(gif_id)["versions"].keys() == former.keys()
    start_worker(stack)

    # Then its versions show the last edit, and no others are left
    done = stack.finished(gif_id)
    assert done["state"] == "ready"
    thumb = stack.client.get(done["versions"]["thumb"]["url"]).content
    assert images.size(thumb) == (100, 200)
    assert len(images.timing(thumb)[0]) == 12
    eventually(lambda: not (jobs_of(stack, "update_versions") or jobs_of(stack, "remove_files")))
    files = [name for name in files_below(stack.var / "store") if gif_id in name]
    assert len(files) == len(done["versions"]) + 1


def jobs_of(stack: Stack, actor: str, condition: str = "1") -> int:
    """How many jobs of an actor are not done."""
    query = f"SELECT count(*) FROM outbox WHERE actor = ? AND {condition}"
    with sqlite3.connect(stack.var / "gifster.db") as database:
        return int(database.execute(query, (actor,)).fetchone()[0])
