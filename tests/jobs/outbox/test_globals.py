"""State of the process, of a broker and of an outbox: the order of imports does not matter, and two
applications in one process do not mix up their state."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dramatiq
import dramatiq.broker
import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job, sending
from tests.clocks import SetClock
from tests.machine import eventually


@pytest.fixture
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.broker, "global_broker", None)
    sending._no_broker.resolved()


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[list[peewee.Database]]:
    """The databases of two applications, each with an outbox."""
    pair = [peewee.SqliteDatabase(tmp_path / f"{name}.db") for name in "ab"]
    for database in pair:
        database.bind(jobs.TABLES)
        jobs.migrate(database)
    yield pair
    for database in pair:
        database.close()


def test_importing_the_library_sets_no_broker_and_starts_nothing():
    code = (
        "import threading, dramatiq.broker, gifster.jobs, gifster.jobs.brokers.rabbitmq\n"
        "assert dramatiq.broker.global_broker is None\n"
        "assert threading.active_count() == 1\n"
        "assert gifster.jobs.Job._meta.database is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("no_broker")
def test_an_actor_may_be_declared_before_the_broker_is_set(broker_url: str):
    done: list[int] = []

    @dramatiq.actor(queue_name="early", max_retries=1)
    def work(number: int) -> None:
        done.append(number)

    broker = jobs.connect(broker_url)
    assert broker.get_actor("work") is work
    work.send(1)

    worker = dramatiq.Worker(broker, queues={"early"}, worker_threads=1, worker_timeout=100)
    worker.start()
    eventually(lambda: done == [1])
    worker.stop()
    broker.close()


@pytest.mark.usefixtures("no_broker")
def test_an_option_of_ours_before_the_broker_is_set_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="outbox_only"):
        dramatiq.actor(print, actor_name="work", outbox_only=True)


def test_an_actor_stays_with_the_broker_that_somebody_set(broker_url: str):
    first = jobs.connect(broker_url, namespace="first")
    work = dramatiq.actor(print, actor_name="work")

    second = jobs.connect(broker_url, namespace="second")

    assert (work.broker, list(second.actors)) == (first, [])
    first.close()
    second.close()


def test_without_a_database_the_outbox_says_what_to_do(broker_url: str):
    jobs.connect(broker_url).close()
    for call in (lambda: jobs.enqueue("work"), jobs.relay):
        with pytest.raises(jobs.NotBound, match=r"database\.bind\(gifster\.jobs\.TABLES\)"):
            call()


def test_each_outbox_learns_that_the_clock_was_set_back(
    broker_url: str, databases: list[peewee.Database], set_clock: SetClock
):
    # Given a job in each outbox, and a clock that is two hours fast
    broker = jobs.connect(broker_url)
    set_clock.ahead(7200)
    for database in databases:
        database.bind(jobs.TABLES)
        jobs.relay()
        jobs.enqueue("work")

    set_clock.ahead(0)

    for database in databases:
        database.bind(jobs.TABLES)
        assert jobs.relay() == 1
    broker.close()


def test_each_outbox_says_that_its_broker_is_away(
    databases: list[peewee.Database], caplog: pytest.LogCaptureFixture
):
    jobs.connect("redis://127.0.0.1:1/0")
    for database in databases * 2:
        database.bind(jobs.TABLES)
        jobs.relay()

    assert caplog.text.count("the relay waits for the broker") == 2


def test_each_outbox_says_which_recurring_job_cannot_be_enqueued(
    databases: list[peewee.Database], caplog: pytest.LogCaptureFixture
):
    def fails(after: float) -> float:
        raise OverflowError("no such moment")

    for database in databases * 2:
        database.bind(jobs.TABLES)
        jobs.enqueue_recurring({"digest": jobs.Recurring("never", fails, "work")})

    assert caplog.text.count("not enqueued name=digest") == 2


def test_jobs_of_two_outboxes_keep_to_the_broker_that_is_set(
    broker_url: str, databases: list[peewee.Database], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    brokers = [jobs.connect(broker_url, namespace=name) for name in ("first", "second")]
    for database, broker in zip(databases, brokers, strict=True):
        database.bind(jobs.TABLES)
        dramatiq.set_broker(broker)
        jobs.enqueue("work", broker.namespace)

    for database, broker in zip(databases, brokers, strict=True):
        [job] = Job.select().execute(database)
        [data] = broker.do_fetch("default", 8)
        message = dramatiq.Message.decode(data)
        assert (job.arguments, message.args) == ([broker.namespace], (broker.namespace,))
        assert message.options["outbox_id"] == job.id
        broker.close()
