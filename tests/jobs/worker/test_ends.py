"""How the attempts of jobs end in a worker, whatever the jobs do and whatever comes in between."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job
from gifster.jobs.lease import MAX_DEATHS, Leases
from gifster.jobs.outbox_rows import OutboxRows
from gifster.jobs.worker_rows import Worker
from tests.jobs.conftest import Outbox
from tests.jobs.workers import workers
from tests.machine import eventually


@pytest.fixture
def worker() -> Iterator[Callable[..., dramatiq.Worker]]:
    with workers(worker_timeout=50) as start:
        yield start


class Unshowable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError


ODD = {
    "NUL": ValueError("a GIF\0"),
    "half of a surrogate pair": ValueError("caf\udce9.gif"),
    "no text": Unshowable(),
}


@pytest.mark.parametrize("name", ODD)
def test_a_job_is_given_up_whatever_its_exception_says(
    outbox: Outbox, worker, name: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.CRITICAL + 1)  # pytest-xdist cannot send what is no UTF-8
    dead: list[BaseException] = []

    @dramatiq.actor(max_retries=0, on_dead=dead.append)
    def fail() -> None:
        raise ODD[name]

    jobs.enqueue("fail")
    worker()

    [job] = eventually(lambda: jobs.find(jobs.State.DEAD))
    assert dead == [ODD[name]]
    assert type(ODD[name]).__name__ in job.error
    assert "raise ODD[name]" in job.traceback


@pytest.mark.parametrize("known", [True, False])
def test_a_transaction_that_a_job_leaves_open_keeps_nothing_of_other_jobs(
    outbox: Outbox, worker, known: bool, caplog: pytest.LogCaptureFixture
):
    # Given a job that is interrupted as it begins a transaction, which Peewee may not know of yet
    @dramatiq.actor(max_retries=0)
    def leave_open() -> None:
        outbox.database.begin()
        if known:
            outbox.database.push_transaction(jobs.transaction(outbox.database))
        Job.update(queue="uncommitted").execute()
        raise RuntimeError

    @dramatiq.actor(max_retries=0)
    def write() -> None:
        with jobs.transaction(outbox.database):
            jobs.enqueue("written", queue="elsewhere")

    jobs.enqueue("leave_open")
    worker(threads=1)
    eventually(lambda: jobs.find(jobs.State.DEAD))

    # When the same thread does the next job, I expect all of that to be committed
    jobs.enqueue("write")
    eventually(lambda: {job.actor for job in Job.select()} == {"leave_open", "written"})
    assert {job.queue for job in Job.select()} == {"default", "elsewhere"}
    assert "rolled back what a job left uncommitted: actor=leave_open" in caplog.text


def test_only_the_worker_that_has_a_job_gives_it_up(outbox: Outbox, worker):
    # Given a job in its last attempt, which the relay gave to another worker meanwhile
    started, goes_on = threading.Event(), threading.Event()
    dead: list[BaseException] = []

    @dramatiq.actor(max_retries=0, on_dead=dead.append)
    def fail() -> None:
        started.set()
        goes_on.wait(60)
        raise RuntimeError

    job = jobs.enqueue("fail")
    worker()
    started.wait(60)
    Job.update(leased_by="another").execute()

    # When it fails here, I expect the other worker to go on with it
    goes_on.set()
    eventually(lambda: not outbox.client.hlen("dramatiq:default.msgs"))
    left = Job.get_by_id(job.id)
    assert (left.leased_by, left.failed_at, dead) == ("another", None, [])


def test_the_application_learns_of_a_dead_job_while_its_lease_holds(outbox: Outbox, worker):
    # A worker that is killed then leaves the job to another one
    rows: list[Job] = []

    @dramatiq.actor(max_retries=0, on_dead=lambda _, number: rows.append(Job.get()))
    def fail(number: int) -> None:
        raise RuntimeError

    jobs.enqueue("fail", 1)
    worker()

    eventually(lambda: jobs.find(jobs.State.DEAD))
    [row] = rows
    assert row.failed_at is None
    assert row.leased_by is not None


@pytest.mark.parametrize("deaths", [MAX_DEATHS, MAX_DEATHS + 1])
def test_a_job_over_which_workers_died_is_given_up_once(outbox: Outbox, worker, deaths: int):
    # Given a job over which so many workers died, the last of them perhaps in `on_dead`
    held: list[bool] = []

    def on_dead(error: BaseException) -> None:
        [rows] = [each for each in dramatiq.get_broker().middleware if isinstance(each, OutboxRows)]
        held.append(job.id in rows._leases._held)

    @dramatiq.actor(on_dead=on_dead)
    def kill() -> None:
        raise NotImplementedError

    job = jobs.enqueue("kill")
    Job.update(deaths=deaths).execute()
    worker()

    # I expect the lease to be held meanwhile, or the job to be dead already
    eventually(lambda: jobs.find(jobs.State.DEAD) and held)
    assert held == [deaths == MAX_DEATHS]
    eventually(lambda: not outbox.client.hlen("dramatiq:default.msgs"))


def test_a_job_that_returns_within_its_transaction_has_failed(outbox: Outbox, worker):
    @dramatiq.actor(max_retries=0)
    def begin() -> None:
        outbox.database.begin()
        Job.update(queue="uncommitted").execute()

    jobs.enqueue("begin")
    worker()

    [job] = eventually(lambda: jobs.find(jobs.State.DEAD))
    assert job.queue == "default"
    assert "did not end it" in job.error


@pytest.mark.parametrize(
    "options", [{"outbox_id": "\ud800"}, {"outbox_id": "a", "retries": 10**30}]
)
def test_a_message_that_nobody_can_read_has_an_end(
    outbox: Outbox, worker, options: dict[str, Any], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.CRITICAL + 1)  # pytest-xdist cannot send what is no UTF-8

    @dramatiq.actor(max_retries=0)
    def greet() -> None:
        raise NotImplementedError

    greet.send_with_options(**options)
    worker()

    eventually(lambda: not outbox.client.hlen("dramatiq:default.msgs"))
    assert not outbox.client.hlen("dramatiq:default.DQ.msgs")


@pytest.mark.parametrize("error", [RuntimeError, peewee.OperationalError])
def test_a_job_is_dead_though_the_application_cannot_note_that(
    outbox: Outbox, worker, error: type[Exception], caplog: pytest.LogCaptureFixture
):
    def on_dead(_: BaseException) -> None:
        raise error("not now")

    @dramatiq.actor(max_retries=0, on_dead=on_dead)
    def fail() -> None:
        raise RuntimeError

    jobs.enqueue("fail")
    worker()

    eventually(lambda: jobs.find(jobs.State.DEAD))
    assert "on_dead failed job=" in caplog.text


def test_the_application_is_told_again_if_the_database_failed(outbox: Outbox, worker):
    # Given a function that fails as in a deadlock, and then leaves a transaction open
    told: list[str] = []

    def on_dead(_: BaseException, name: str) -> None:
        told.append(name)
        if len(told) == 1:
            raise peewee.OperationalError("deadlock detected")
        outbox.database.begin()
        Job.update(queue="uncommitted").execute()

    @dramatiq.actor(max_retries=0, on_dead=on_dead)
    def fail(name: str) -> None:
        raise RuntimeError

    jobs.enqueue("fail", "ann")
    worker()

    # I expect the job to be dead, without the rest of that
    [job] = eventually(lambda: jobs.find(jobs.State.DEAD))
    assert (told, job.queue) == (["ann", "ann"], "default")


def test_an_outage_of_the_database_uses_up_no_retry(
    outbox: Outbox, worker, monkeypatch: pytest.MonkeyPatch
):
    take, answers = Leases.take, iter([False, True])

    def taken(*given: object) -> Job | None:
        if next(answers, True):
            return take(*given)
        raise peewee.OperationalError("the database is away")

    monkeypatch.setattr(Leases, "take", taken)
    monkeypatch.setattr("gifster.jobs.outbox_rows.FIRST_RETRY_S", 0.05)
    ran: list[int] = []

    @dramatiq.actor(max_retries=0, retry_when=lambda *_: False)
    def greet() -> None:
        ran.append(1)

    jobs.enqueue("greet")
    worker()

    eventually(lambda: Job.select().count() == 0)
    assert ran == [1]


def test_several_messages_of_a_job_do_not_use_up_its_retries(outbox: Outbox, worker):
    # Given a job that waited for so long that the relay has sent it again
    ran: list[int] = []

    @dramatiq.actor(max_retries=2, min_backoff=600_000)
    def fail() -> None:
        ran.append(1)
        raise RuntimeError

    job = jobs.enqueue("fail")
    assert job.send()
    assert job.send()

    # When it fails, I expect the other messages not to run it before its retry is due
    worker(threads=1)
    eventually(lambda: not outbox.client.hlen("dramatiq:default.msgs"))
    assert ran == [1]
    assert Job.get_by_id(job.id).attempts == 1
    Job.update(due_at=jobs.now()).execute()
    assert job.send()
    eventually(lambda: ran == [1, 1])


def test_jobs_of_an_unknown_actor_are_sent_when_a_worker_starts_that_has_it(outbox: Outbox, worker):
    # Given a job that no worker could do for an hour
    jobs.relay()
    job = jobs.enqueue("greet")
    former = worker()
    dramatiq.get_broker().declare_queue("default")
    eventually(lambda: Job.get_by_id(job.id).error)
    former.stop()
    in_an_hour = jobs.now() + 3600
    Job.update(send_at=in_an_hour, sendings=7).execute()

    # When a worker of a new release starts
    done: list[int] = []

    @dramatiq.actor
    def greet() -> None:
        done.append(1)

    retried = jobs.enqueue("greet", in_s=3600)
    Job.update(error="ActorNotFound('x')").where(Job.id == retried.id).execute()
    worker()
    assert jobs.relay() == 1
    eventually(lambda: done)

    # And that its own retries keep their pauses
    assert Job.get_by_id(retried.id).send_at > jobs.now() + 3000


def test_a_worker_of_very_many_queues_shows_all_of_them(outbox: Outbox, worker):
    names = {f"customer-number-{number}" for number in range(30)}
    for name in names:
        dramatiq.get_broker().declare_queue(name)

    worker(threads=1)

    row = eventually(Worker.get_or_none)
    assert set(row.queues.split()) == names
    # and to processes of the former release as many as their column takes
    first = row.first_queues.split()
    assert len(first) > 5
    assert set(first) < names

    # A worker of that release writes these only
    row.all_queues = None
    assert row.queues.split() == first
