"""Errors of a driver that Peewee does not wrap, as when rows are read: the threads that renew
leases and write heartbeats go on, and no count is lost."""

import sqlite3
from collections.abc import Callable, Iterator

import dramatiq
import peewee
import psycopg
import pytest
from playhouse.pool import MaxConnectionsExceeded

from gifster import jobs
from gifster.jobs import ActorStats, Job, Worker
from gifster.jobs.database_errors import is_database_error
from gifster.jobs.heartbeat import Heartbeat
from gifster.jobs.lease import Leases
from gifster.jobs.stats import Counts
from tests.jobs.conftest import Outbox
from tests.machine import eventually

ERRORS = [sqlite3.OperationalError("disk I/O error"), psycopg.OperationalError("consuming input")]


class FailsFor:
    """A function that fails a number of times before it works."""

    def __init__(self, error: Exception, times: int, function: Callable[..., object]) -> None:
        self.error, self.left, self.function = error, times, function

    def __call__(self, *arguments: object, **options: object) -> object:
        if self.left:
            self.left -= 1
            raise self.error
        return self.function(*arguments, **options)


@pytest.fixture(params=ERRORS, ids=["sqlite3", "psycopg"])
def error(request: pytest.FixtureRequest) -> Exception:
    return request.param


@pytest.fixture
def worker(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[dramatiq.Worker]:
    monkeypatch.setattr("gifster.jobs.heartbeat.LOOK_S", 0.05)
    dramatiq.actor(lambda: None, actor_name="work")
    made = dramatiq.Worker(dramatiq.get_broker(), worker_threads=1)
    made.start()
    eventually(jobs.workers)
    yield made
    made.stop()


def test_a_lease_is_renewed_after_an_error_of_the_driver(
    outbox: Outbox,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    leases = Leases(lease_s=0.3)
    failing = FailsFor(error, 2, leases._extend)
    monkeypatch.setattr(leases, "_extend", failing)
    job = jobs.enqueue("work")
    leases.take(job.id)
    first = Job.get_by_id(job.id).send_at

    eventually(lambda: Job.get_by_id(job.id).send_at > first)

    leases.forget(job.id)
    assert failing.left == 0
    assert caplog.text.count("leases cannot be renewed") == 1
    eventually(lambda: "leases are renewed again" in caplog.text)


def test_a_heartbeat_goes_on_after_an_error_of_the_driver(
    outbox: Outbox,
    worker: dramatiq.Worker,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    failing = FailsFor(error, 2, jobs.paused_queues)
    monkeypatch.setattr("gifster.jobs.heartbeat.paused_queues", failing)
    eventually(lambda: not failing.left)

    # I expect the worker to obey all the same
    [row] = jobs.workers()
    jobs.quiet(row.id)
    eventually(lambda: dramatiq.get_broker().scheduler.is_paused("default"))
    assert caplog.text.count("cannot write its heartbeat") == 1
    assert Worker.get_by_id(row.id).alive


def test_a_signal_is_obeyed_after_an_error_of_the_driver(
    outbox: Outbox,
    worker: dramatiq.Worker,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
):
    # Given a database that fails just when a signal tells the worker to be quiet
    failing = FailsFor(error, 2, jobs.paused_queues)
    [heartbeat] = [m for m in dramatiq.get_broker().middleware if isinstance(m, Heartbeat)]
    monkeypatch.setattr("gifster.jobs.heartbeat.paused_queues", failing)
    heartbeat._signals.order(quiet=True)

    eventually(lambda: jobs.workers()[0].quiet)

    # I expect it to stay so
    assert failing.left == 0
    eventually(lambda: heartbeat._signals.quiet is None)
    assert dramatiq.get_broker().scheduler.is_paused("default")


def test_counts_are_kept_over_an_error_of_the_driver(
    outbox: Outbox, error: Exception, monkeypatch: pytest.MonkeyPatch
):
    counts = Counts()
    counts.add("default", "work", 5, failed=False)
    with monkeypatch.context() as patch:
        patch.setattr(ActorStats, "insert_many", FailsFor(error, 1, ActorStats.insert_many))
        with pytest.raises(type(error)):
            counts.flush()

    counts.flush()

    assert [(row.actor, row.done) for row in jobs.totals()] == [("work", 1)]


def test_an_error_of_the_driver_is_not_taken_for_one_of_a_rule(
    outbox: Outbox, error: Exception, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gifster.jobs.recurring._look_at", FailsFor(error, 1, print))

    with pytest.raises(type(error)):
        jobs.enqueue_recurring({"digest": jobs.Recurring("x", lambda now: now + 9, "work")})


@pytest.mark.parametrize(
    "error", [*ERRORS, peewee.InterfaceError("closed"), MaxConnectionsExceeded("no more")]
)
def test_errors_of_a_database_are_known_by_their_kind(error: Exception):
    assert is_database_error(error)
    assert not is_database_error(OSError("disk I/O error"))
