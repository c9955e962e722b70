"""Jobs that close their database connection, as the end of a `connection_context()` does, where
Peewee opens none by itself; and jobs whose connection the server ends."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import dramatiq
import peewee
import pytest
from dramatiq.middleware import SkipMessage

from gifster import jobs
from gifster.jobs import Job, State
from tests.combinations import on_postgresql
from tests.jobs.conftest import Outbox
from tests.machine import eventually


@pytest.fixture
def worker(outbox: Outbox) -> Iterator[dramatiq.Worker]:
    outbox.database.autoconnect = False
    made = dramatiq.Worker(dramatiq.get_broker(), worker_threads=1)
    yield made
    made.stop()


def test_a_job_that_has_closed_its_connection_ends_at_once(
    outbox: Outbox, worker: dramatiq.Worker, caplog: pytest.LogCaptureFixture
):
    def count() -> None:
        with outbox.database.connection_context():
            Job.select().count()

    dramatiq.actor(count)
    jobs.enqueue("count")
    worker.start()

    eventually(lambda: not Job.select().exists())
    assert "not yet written" not in caplog.text


def test_a_job_that_has_closed_its_connection_and_fails_is_given_up(
    outbox: Outbox, worker: dramatiq.Worker, caplog: pytest.LogCaptureFixture
):
    # Given a job whose `on_dead` closes it, too
    told: list[Any] = []

    def told_of(error: Exception, number: int) -> None:
        with outbox.database.connection_context():
            told.append((Job.select().count(), number))

    @dramatiq.actor(max_retries=0, on_dead=told_of)
    def fail(number: int) -> None:
        outbox.database.close()
        raise ValueError(number)

    jobs.enqueue(fail, 7)
    worker.start()

    eventually(lambda: jobs.find(State.DEAD))
    assert told == [(1, 7)]
    assert "not yet written" not in caplog.text


@on_postgresql
@pytest.mark.parametrize("autoconnect", [True, False])
@pytest.mark.parametrize("in_transaction", [True, False])
def test_a_job_whose_connection_the_server_has_ended_is_given_up(
    outbox: Outbox,
    worker: dramatiq.Worker,
    caplog: pytest.LogCaptureFixture,
    autoconnect: bool,
    in_transaction: bool,
):
    # Given a job that waits within a transaction for longer than the server allows, or whose
    # session somebody ends
    database, told = outbox.database, list[int]()
    database.autoconnect = autoconnect

    @dramatiq.actor(max_retries=0, on_dead=lambda error: told.append(Job.select().count()))
    def wait() -> None:
        with database.atomic() if in_transaction else nullcontext():
            database.execute_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    jobs.enqueue(wait)
    worker.start()

    # I expect it to be dead, and not to run again and again
    eventually(lambda: jobs.find(State.DEAD))
    assert told == [1]
    assert "not yet written" not in caplog.text


@on_postgresql
@pytest.mark.parametrize("setting", ["search_path = tenant", "default_transaction_read_only = on"])
def test_a_job_that_leaves_its_session_changed_is_given_up(
    outbox: Outbox, worker: dramatiq.Worker, setting: str
):
    # Given a job and an `on_dead` after which the session finds no table, or writes none
    told: list[Exception] = []

    def change() -> None:
        outbox.database.execute_sql(f"SET {setting}")

    def on_dead(error: Exception) -> None:
        told.append(error)
        change()

    @dramatiq.actor(max_retries=0, on_dead=on_dead)
    def fail() -> None:
        change()
        raise ValueError

    dramatiq.actor(lambda: None, actor_name="work")
    jobs.enqueue(fail)
    worker.start()

    # I expect it to be dead, and others to find a session as it should be
    eventually(lambda: jobs.find(State.DEAD))
    assert len(told) == 1
    jobs.enqueue("work")
    eventually(lambda: not Job.select().where(Job.actor == "work").exists())


def test_a_job_that_another_middleware_skips_after_it_closed_the_connection_ends_at_once(
    outbox: Outbox, worker: dramatiq.Worker, caplog: pytest.LogCaptureFixture
):
    class SkipAll(dramatiq.Middleware):
        def before_process_message(self, broker: Any, message: Any) -> None:
            with outbox.database.connection_context():
                Job.select().count()
            raise SkipMessage("not today")

    @dramatiq.actor
    def greet() -> None:
        """Nobody calls it."""

    dramatiq.get_broker().add_middleware(SkipAll())
    jobs.enqueue(greet)
    worker.start()

    eventually(lambda: not Job.select().exists())
    assert "not yet written" not in caplog.text


def test_a_job_whose_database_has_gone_away_stops_no_thread(
    outbox: Outbox,
    worker: dramatiq.Worker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    # Given a job after which no connection can be opened
    away, connect = threading.Event(), outbox.database._connect

    def connect_or_refuse() -> Any:
        if away.is_set():
            raise peewee.OperationalError("the database is away")
        return connect()

    monkeypatch.setattr(outbox.database, "_connect", connect_or_refuse)

    @dramatiq.actor
    def close(number: int) -> None:
        outbox.database.close()
        if number:
            away.set()

    jobs.enqueue(close, 1)
    worker.start()
    eventually(lambda: "not yet written: the end of job=" in caplog.text)

    # When it is back, I expect this job to end, and the next one
    away.clear()
    jobs.enqueue(close, 0)
    eventually(lambda: not Job.select().exists())
