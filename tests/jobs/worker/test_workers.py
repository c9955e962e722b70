"""Workers: their heartbeat, and the orders that they obey. They run in this process."""

import errno
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import dramatiq
import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job, State, Worker, heartbeat
from gifster.jobs.worker_command import run_workers
from tests.jobs.conftest import Outbox
from tests.jobs.workers import workers
from tests.machine import eventually


@pytest.fixture
def worker(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., dramatiq.Worker]]:
    """Starts a worker of two threads in this process that reads its orders often."""
    monkeypatch.setattr("gifster.jobs.heartbeat.LOOK_S", 0.2)

    with workers() as start:

        def heard_of() -> dramatiq.Worker:
            made = start()
            eventually(jobs.workers)
            return made

        yield heard_of


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def declare(gate: threading.Event) -> list[str]:
    """Declare an actor on each of two queues that waits for the gate; returns their arguments."""
    begun: list[str] = []
    for queue in ("default", "carrierwave"):

        @dramatiq.actor(queue_name=queue, actor_name=f"hold_{queue}", max_retries=0)
        def hold(name: str) -> None:
            begun.append(name)
            gate.wait(60)

    return begun


def test_a_worker_has_a_heartbeat_and_shows_what_it_runs(outbox: Outbox, worker, gate):
    declare(gate)
    worker()

    [row] = jobs.workers()
    assert (row.pid, row.threads, row.alive, row.quiet) == (os.getpid(), 2, True, False)
    assert row.queues.split() == ["carrierwave", "default"]
    assert row.memory_bytes > 2**20

    jobs.enqueue("hold_default", "a")
    [job] = eventually(lambda: jobs.find(State.RUNNING))
    assert (job.leased_by, job.thread[:7]) == (row.id, "worker-")
    assert job.started_at >= job.created_at
    gate.set()
    eventually(lambda: not Job.select().exists())


def test_a_stopped_worker_is_gone_and_all_its_jobs_are_counted(outbox: Outbox, worker, gate):
    gate.set()
    declare(gate)

    @dramatiq.actor(max_retries=0)
    def fail() -> None:
        raise OSError("no")

    running = worker()
    for name in "abc":
        jobs.enqueue("hold_carrierwave", name, queue="carrierwave")
    jobs.enqueue("fail")
    eventually(lambda: [job.actor for job in Job.select()] == ["fail"] and jobs.find(State.DEAD))

    running.stop()

    assert jobs.workers() == []
    counted = {total.actor: (total.queue, total.done, total.failed) for total in jobs.totals()}
    assert counted == {
        "hold_carrierwave": ("carrierwave", 3, 0),
        "fail": ("default", 0, 1),
    }
    for span in (jobs.MINUTE_S, jobs.HOUR_S, jobs.DAY_S):
        spans = jobs.history(span, 3)
        assert [sum(part.done for part in spans), sum(part.failed for part in spans)] == [3, 1]
        assert {later.begin - part.begin for part, later in pairwise(spans)} == {span}


def test_a_job_whose_row_was_deleted_does_not_run(outbox: Outbox, worker, gate):
    begun = declare(gate)
    gate.set()
    cancelled = jobs.enqueue("hold_default", "a")
    jobs.enqueue("hold_default", "b")
    assert outbox.queued() == 2

    Job.delete_by_id(cancelled.id)
    worker()

    eventually(lambda: not Job.select().exists() and outbox.queued() == 0)
    assert begun == ["b"]


def test_the_jobs_of_a_paused_queue_wait_and_the_others_do_not(outbox: Outbox, worker, gate):
    begun = declare(gate)
    gate.set()
    jobs.pause("carrierwave")
    jobs.pause("carrierwave")
    assert jobs.paused_queues() == {"carrierwave"}
    worker()

    for number in range(4):
        jobs.enqueue("hold_carrierwave", f"paused {number}", queue="carrierwave")
        jobs.enqueue("hold_default", f"free {number}")

    eventually(lambda: sorted(begun) == [f"free {number}" for number in range(4)])
    assert jobs.stats()[0].waiting == 4
    jobs.resume("carrierwave")
    eventually(lambda: len(begun) == 8)


def test_a_quiet_worker_gives_back_what_it_had_fetched(outbox: Outbox, worker, gate):
    # Given a worker whose threads are taken, and that has fetched more
    begun = declare(gate)
    worker()
    for number in range(6):
        jobs.enqueue("hold_default", str(number))
    eventually(lambda: len(begun) == 2)

    # When it is told to be quiet
    [row] = jobs.workers()
    jobs.quiet(row.id)

    # I expect the rest to be back in the queue, and to be done when the worker works again
    client = dramatiq.get_broker().client
    # (Long jobs alone have the same effect, so it must be quiet before they end.)
    eventually(lambda: dramatiq.get_broker().scheduler.is_paused("default"))
    eventually(lambda: client.llen("dramatiq:default") == 4)
    gate.set()
    eventually(lambda: Job.select().count() == 4)
    assert len(begun) == 2
    jobs.quiet(row.id, quiet=False)
    eventually(lambda: not Job.select().exists())
    with pytest.raises(jobs.NoSuchWorker):
        jobs.quiet("nobody")


def test_counts_survive_a_database_that_is_away_for_a_while(outbox: Outbox, worker, gate):
    gate.set()
    declare(gate)
    worker()
    good = Worker._meta.database
    away = peewee.SqliteDatabase("/nowhere/at/all.db")
    for table in (Worker, jobs.PausedQueue, jobs.ActorStats):
        table.bind(away)
    jobs.enqueue("hold_default", "a")
    eventually(lambda: not Job.select().exists())
    for table in (Worker, jobs.PausedQueue, jobs.ActorStats):
        table.bind(good)

    eventually(lambda: [total.done for total in jobs.totals()] == [1])


def test_a_worker_for_a_queue_that_no_actor_has_says_so(caplog: pytest.LogCaptureFixture):
    heartbeat._warn_of_unknown({"default", "defualt"}, ["default", "mails"])

    (line,) = caplog.messages
    assert line == "no actor has the queue defualt: the queues of the actors are default, mails"


def test_a_machine_without_semaphores_is_told_which_folder_they_need(
    monkeypatch: pytest.MonkeyPatch,
):
    def refused() -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(multiprocessing, "Event", refused)

    with pytest.raises(OSError, match="Read-only file system: '/dev/shm'"):
        run_workers("none", again=[], processes=1, threads=1, grace_s=1)
