"""Leases: a job in hand is nobody else's, and one whose worker died is soon in other hands."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dramatiq
import pytest
from dramatiq.middleware import Middleware

from gifster import jobs
from gifster.app.settings import Settings
from gifster.jobs import Job, State
from gifster.jobs.lease import MAX_DEATHS, Leases, WorkersDied
from tests import images
from tests.jobs.test_jobs import children
from tests.machine import eventually, files_below
from tests.stack import Stack


@pytest.fixture
def worker() -> Iterator[Callable[..., Leases]]:
    """Makes workers, as far as leases are concerned."""
    made: list[Leases] = []

    def make(**options: float) -> Leases:
        made.append(Leases(**options))
        return made[-1]

    yield make
    for leases in made:
        for job_id in list(leases._held):
            leases.forget(job_id)


@pytest.fixture
def job(booted: Settings) -> Job:
    return jobs.enqueue("send_welcome_email", "ann")


def expire(job: Job) -> None:
    Job.update(send_at=time.time() - 1).where(Job.id == job.id).execute()


def now(job: Job) -> Job:
    return Job.get_by_id(job.id)


def test_a_job_is_in_the_hands_of_one_worker(job: Job, worker: Callable[..., Leases]):
    assert worker().take(job.id)

    assert not worker().take(job.id)
    assert jobs.relay() == 0


def test_a_job_that_is_done_or_dead_is_not_taken(job: Job, worker: Callable[..., Leases]):
    Job.update(failed_at=1.0).where(Job.id == job.id).execute()
    assert not worker().take(job.id)

    assert not worker().take("gone")


def test_a_lease_that_ran_out_is_sent_again_and_taken_by_another(
    job: Job, worker: Callable[..., Leases]
):
    worker().take(job.id)
    expire(job)

    assert jobs.relay() == 1
    assert now(job).deaths == 1
    two = worker()
    assert two.take(job.id)
    assert now(job).leased_by == two.worker


def test_a_lease_that_ran_out_can_be_taken_before_the_relay_comes(
    job: Job, worker: Callable[..., Leases]
):
    worker().take(job.id)
    expire(job)

    two = worker()
    assert two.take(job.id)
    assert now(job).deaths == 1
    assert now(job).leased_by == two.worker


def test_a_lease_is_renewed_while_its_job_runs(job: Job, worker: Callable[..., Leases]):
    leases = worker(lease_s=1)
    leases.take(job.id)
    first = now(job).send_at

    eventually(lambda: now(job).send_at > first + 1)

    leases.forget(job.id)
    assert now(job).deaths == 0


def test_a_job_over_which_workers_die_is_given_up(job: Job, worker: Callable[..., Leases]):
    for _ in range(MAX_DEATHS):
        worker().take(job.id)
        expire(job)

    with pytest.raises(WorkersDied, match="3 workers died over it"):
        worker().take(job.id)


def test_a_process_holds_one_suspect_at_a_time(booted: Settings, worker: Callable[..., Leases]):
    # Given two jobs whose worker died, and one that is new
    first, second = (jobs.enqueue("send_welcome_email", name) for name in ("ann", "bob"))
    new = jobs.enqueue("send_welcome_email", "cid")
    Job.update(deaths=1).where(Job.id.in_([first.id, second.id])).execute()
    leases = worker()

    # I expect the second suspect to wait until the first is cleared
    assert leases.take(first.id)
    assert not leases.take(second.id)
    assert leases.take(new.id)
    assert now(second).leased_by is None
    leases.forget(first.id)
    assert leases.take(second.id)


def test_a_worker_that_ends_hands_its_jobs_back(job: Job, worker: Callable[..., Leases]):
    leases = worker()
    leases.take(job.id)

    assert [given.id for given in leases.give_back()] == [job.id]

    assert now(job).leased_by is None
    assert now(job).deaths == 0
    assert leases.give_back() == []


def test_of_a_unique_job_there_is_one_at_a_time(booted: Settings):
    assert jobs.enqueue("sweep", unique="sweep") is not None
    assert jobs.enqueue("sweep", unique="sweep") is None
    Job.delete().execute()
    assert jobs.enqueue("sweep", unique="sweep") is not None


def test_a_dead_unique_job_stands_in_no_new_ones_way(booted: Settings):
    jobs.enqueue("sweep", unique="sweep")
    Job.update(failed_at=time.time()).execute()

    assert jobs.enqueue("sweep", unique="sweep") is not None
    assert Job.get().failed_at is None


def test_the_dead_can_be_retried_and_dropped(job: Job, worker: Callable[..., Leases]):
    Job.update(failed_at=time.time(), deaths=3, error="OSError()").where(Job.id == job.id).execute()
    assert [dead.id for dead in jobs.find(State.DEAD)] == [job.id]
    assert jobs.find(State.WAITING) == []

    jobs.retry(job.id)
    assert jobs.find(State.DEAD) == []
    assert worker().take(job.id)
    with pytest.raises(jobs.NoSuchJob):
        jobs.retry(job.id)

    Job.update(failed_at=time.time()).execute()
    jobs.drop(job.id)
    with pytest.raises(jobs.NoSuchJob):
        jobs.drop(job.id)
    assert Job.select().count() == 0


# The ends of jobs, with a worker in this process.


class AtTheRetry(Middleware):
    """Calls a function at the moment at which a retry has been sent."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def after_enqueue(self, broker: object, message: object, delay: int | None) -> None:
        if delay is not None:
            self._call()


def work(function: Callable[[str], None], **options: object) -> Job:
    """Make an actor of a function, a job of it, and have a worker do that."""
    broker = dramatiq.get_broker()
    dramatiq.actor(function, **options)
    job = jobs.enqueue(function.__name__, "ann")
    one = dramatiq.Worker(broker, worker_threads=1)
    one.start()
    broker.join("default", timeout=20_000)
    one.stop()
    return job


def test_a_retry_that_begins_at_once_is_in_its_own_workers_hands(
    booted: Settings, worker: Callable[..., Leases]
):
    # Given another worker that takes the retry as soon as it is sent
    other = worker()
    taken = []
    retry = AtTheRetry(lambda: taken.append(bool(other.take(Job.get().id))))
    dramatiq.get_broker().add_middleware(retry)

    # When the first try ends after that
    def fail(name: str) -> None:
        raise RuntimeError("no luck")

    job = work(fail, min_backoff=0)

    # I expect the retry not to have been refused, and its lease to have been left alone
    assert taken == [True]
    assert now(job).leased_by == other.worker
    assert now(job).deaths == 0


def test_a_job_that_is_in_hand_here_is_not_begun_again_here(
    job: Job, worker: Callable[..., Leases]
):
    leases = worker()
    assert leases.take(job.id)
    expire(job)

    assert not leases.take(job.id)


def test_a_job_that_another_middleware_skips_is_not_held_for_ever(booted: Settings):
    # Given a job that is too old for Dramatiq's AgeLimit
    began = []

    def greet(name: str) -> None:
        began.append(name)

    job = work(greet, max_age=-1)

    assert began == []
    assert now(job).failed_at is not None
    assert now(job).leased_by is None


# With real processes.

#: Actors of a stranger's, beside the application's own.
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
    """A stack with those actors, short leases, and a scheduler that runs."""
    stack = new_stack(GIFSTER_WORKER__LEASE_S="1")
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


def begun(stack: Stack) -> list[str]:
    return [name for name in files_below(stack.folder) if name.startswith("begun-")]


def test_a_job_whose_worker_is_killed_is_soon_in_other_hands(stack: Stack):
    main = start_worker(stack)
    enqueue(stack, "wait_for_ever", "a")
    eventually(lambda: len(begun(stack)) == 1)

    [worker] = children(main.pid)
    os.kill(worker, signal.SIGKILL)
    start_worker(stack)

    eventually(lambda: len(begun(stack)) == 2)


def test_a_job_that_takes_longer_than_its_lease_is_not_done_twice(stack: Stack):
    # Given a job that goes on for ever, and two workers
    start_worker(stack)
    start_worker(stack)
    enqueue(stack, "wait_for_ever", "a")
    eventually(lambda: len(begun(stack)) == 1)

    # When its lease has been renewed for three times its length
    first = lease_ends(stack)
    eventually(lambda: lease_ends(stack) > first + 3)

    assert len(begun(stack)) == 1


def lease_ends(stack: Stack) -> float:
    with sqlite3.connect(stack.var / "gifster.db") as database:
        return database.execute("SELECT send_at FROM outbox").fetchone()[0]


def test_a_worker_that_is_stopped_hands_back_what_it_cannot_finish(stack: Stack):
    main = start_worker(stack)
    enqueue(stack, "wait_for_ever", "a")
    eventually(lambda: len(begun(stack)) == 1)

    main.terminate()
    main.wait(20)

    assert "handed back" in stack.log("dramatiq-more_actors")
    assert "waiting" in stack.run("gifster", "jobs", "list").stdout
    start_worker(stack)
    eventually(lambda: len(begun(stack)) == 2)


def test_a_job_that_kills_its_workers_is_given_up_and_the_others_are_not(stack: Stack):
    # Given a job that kills whoever touches it, and uploads beside it. Not while Dramatiq starts:
    # its main process waits for ever for a child that dies while it says that it is ready.
    stack.start_web()
    workers = [start_worker(stack)]
    eventually(lambda: "ready for action" in stack.log("dramatiq-more_actors"))
    enqueue(stack, "kill_the_worker")
    ids = [stack.upload(images.gif()).json()["id"] for _ in range(4)]

    def dead_at_last() -> bool:
        if workers[-1].poll() is not None:
            workers.append(start_worker(stack))
        with sqlite3.connect(stack.var / "gifster.db") as database:
            (dead,) = database.execute("SELECT count(*) FROM outbox WHERE failed_at > 0").fetchone()
        return bool(dead)

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

    eventually(lambda: "RuntimeError('no luck, ann')" in dead(), within=30)

    retried = stack.run("gifster", "jobs", "retry", "--all")
    assert retried.stdout.startswith("sent again ")
    job_id = retried.stdout.split()[-1]
    eventually(lambda: job_id in dead(), within=30)
    assert stack.run("gifster", "jobs", "drop", job_id).stdout == f"dropped {job_id}\n"
    assert "no dead jobs" in dead()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retry", "nope"], "there is no job nope that is dead or waits for later"),
        (["drop", "nope"], "there is no dead job nope"),
        (["retry"], "name the jobs by their ids"),
        (["drop", "a", "--all"], "name the jobs by their ids"),
    ],
)
def test_what_cannot_be_done_with_jobs_is_said(
    new_stack: Callable[..., Stack], tmp_path: Path, arguments: list[str], message: str
):
    result = new_stack().run("gifster", "jobs", *arguments)

    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr
