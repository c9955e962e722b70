"""Two applications on one broker, with queues and actors of the same names: neither acknowledges
the other's jobs."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import dramatiq
import dramatiq.broker
import peewee
import pytest
import redis

from gifster import jobs
from gifster.jobs import Job
from gifster.jobs.brokers.foreign import ForeignMessages
from tests.machine import eventually


class Application:
    """An application with its own outbox. `use()` makes this process belong to it."""

    def __init__(self, path: Path, broker_url: str, **options: str) -> None:
        self.database = peewee.SqliteDatabase(path, pragmas={"journal_mode": "wal"}, timeout=15)
        self.broker_url, self.options = broker_url, options
        self.done: list[str] = []
        self.broker = self.use()
        self.database.create_tables(jobs.TABLES)

    def use(self) -> dramatiq.Broker:
        self.database.bind(jobs.TABLES)
        self.broker = jobs.connect(self.broker_url, **self.options)
        dramatiq.actor(self.done.append, actor_name="greet", queue_name="default")
        return self.broker

    def enqueue(self, name: str) -> str:
        self.use()
        return jobs.enqueue("greet", name).id

    def worker(self) -> dramatiq.Worker:
        self.use()
        worker = dramatiq.Worker(self.broker, worker_threads=2, worker_timeout=100)
        worker.start()
        return worker

    def left(self) -> list[str]:
        return [job.id for job in Job.select().execute(self.database)]


@pytest.fixture
def two(tmp_path: Path, broker_url: str) -> Iterator[tuple[Application, Application]]:
    pair = tuple(Application(tmp_path / f"{name}.db", broker_url) for name in ("a", "b"))
    yield pair
    for application in pair:
        application.database.close()


def in_the_broker(client: redis.Redis) -> int:
    return client.hlen("dramatiq:default.msgs") + client.hlen("dramatiq:default.DQ.msgs")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gifster.jobs.brokers.foreign.FIRST_PAUSE_MS", 50)
    monkeypatch.setattr("gifster.jobs.brokers.foreign.MAX_PAUSE_MS", 100)


def test_a_job_of_another_application_is_put_back_for_it(
    two: tuple[Application, Application], client: redis.Redis, caplog: pytest.LogCaptureFixture
):
    # Given jobs of both in one queue, and a worker of the first
    first, second = two
    others = [second.enqueue(name) for name in ("bob", "ben")]
    first.enqueue("ann")
    worker = first.worker()
    eventually(lambda: first.done == ["ann"] and not first.left())
    put_back = lambda: [  # noqa: E731
        dramatiq.Message.decode(data).options.get("put_back", 0)
        for data in client.hvals("dramatiq:default.DQ.msgs")
    ]
    eventually(lambda: len(found := put_back()) == 2 and min(found) >= 3)

    # I expect it to have run its own job, and to have left the others in the broker, unharmed
    assert sorted(second.left()) == sorted(others)
    assert not client.exists("dramatiq:default.XQ")
    warnings = [r.getMessage() for r in caplog.records if "another application" in r.getMessage()]
    assert len(warnings) == 1
    assert "namespace" in warnings[0]
    worker.stop()
    assert in_the_broker(client) == 2

    # When the owner's worker comes
    worker = second.worker()

    # I expect it to run them, without help of the relay
    eventually(lambda: sorted(second.done) == ["ben", "bob"] and not second.left())
    worker.stop()
    assert first.done == ["ann"]
    assert in_the_broker(client) == 0


def test_a_foreign_job_of_an_unknown_actor_is_not_dead_lettered(
    two: tuple[Application, Application], client: redis.Redis
):
    first, second = two
    second.use()
    jobs.enqueue("only_there", "bob")
    worker = first.worker()

    eventually(lambda: client.hlen("dramatiq:default.DQ.msgs") == 1)

    assert not client.exists("dramatiq:default.XQ")
    worker.stop()
    second.use()
    dramatiq.actor(second.done.append, actor_name="only_there", queue_name="default")
    worker = dramatiq.Worker(second.broker, worker_threads=1, worker_timeout=100)
    worker.start()
    eventually(lambda: second.done == ["bob"])
    worker.stop()


def test_a_job_that_no_application_owns_becomes_a_dead_letter(
    two: tuple[Application, Application],
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr("gifster.jobs.brokers.foreign.MOST_TIMES", 2)
    first, second = two
    job_id = second.enqueue("bob")
    worker = first.worker()

    eventually(lambda: client.zcard("dramatiq:default.XQ") == 1)

    worker.stop()
    assert f"nobody's job={job_id}" in caplog.text
    assert second.left() == [job_id]
    assert in_the_broker(client) == 0


def test_messages_of_done_jobs_are_acknowledged_even_without_the_name_of_the_outbox(
    two: tuple[Application, Application], client: redis.Redis
):
    # Given two copies of a job that is done, and one that was sent without the outbox's name
    first, _ = two
    first.use()
    job = Job.create(actor="greet", queue="default", arguments=["ann"], send_at=0)
    copies = [job.message(), job.message(), job.message()]
    del copies[2].options["outbox"]
    job.delete_instance()
    kept = Job.create(actor="greet", queue="default", arguments=["cid"], send_at=time.time() + 60)
    old = kept.message()
    del old.options["outbox"]
    jobs.send_many([*copies, old])

    worker = first.worker()

    eventually(lambda: in_the_broker(client) == 0)
    assert first.done == ["cid"]
    worker.stop()


def test_each_relay_notices_that_the_broker_has_lost_its_jobs(
    two: tuple[Application, Application], client: redis.Redis
):
    for application in two:
        application.use()
        jobs.relay()
        application.enqueue("somebody")
        assert jobs.relay() == 0

    client.flushdb()

    for application in two:
        application.use()
        assert jobs.relay() == 1
        assert jobs.relay() == 0


def test_applications_with_a_namespace_each_never_meet(
    tmp_path: Path, broker_url: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
):
    first = Application(tmp_path / "a.db", broker_url, namespace="one")
    second = Application(tmp_path / "b.db", broker_url, namespace="two")
    second.enqueue("bob")
    first.enqueue("ann")
    jobs.relay()
    worker = first.worker()
    eventually(lambda: first.done == ["ann"] and not first.left())
    worker.stop()

    assert client.hlen("two:default.msgs") == 1
    assert "another application" not in caplog.text
    assert not client.keys("dramatiq:*")
    # The channel that wakes workers up has the namespace, too
    assert first.broker.wake_up._channel == "one:wake-up"
    worker = second.worker()
    eventually(lambda: second.done == ["bob"])
    worker.stop()


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("redis://h", {"namespace": ""}, "namespace ''"),
        ("redis://h", {"namespace": "a*"}, r"namespace 'a\*': letters, digits"),
        ("amqp://h", {"namespace": "mine"}, "virtual hosts .* amqp://host/name"),
        ("redis://h", {"max_priority": 5}, "max_priority=5: only RabbitMQ has it"),
    ],
)
def test_an_option_that_a_broker_does_not_have_is_refused(
    url: str, options: dict[str, object], message: str
):
    with pytest.raises(ValueError, match=message):
        jobs.connect(url, **options)


def test_while_the_database_is_away_jobs_are_put_back_and_nobody_is_blamed(
    two: tuple[Application, Application],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    # Given a worker that was started while the database did not answer
    first, _ = two
    first.enqueue("ann")
    worker = first.worker()
    worker.stop()
    first.enqueue("ben")
    known = {first.database: (str(first.database.database), None, math.inf)}
    monkeypatch.setattr("gifster.jobs.identity._known", known)
    worker = first.worker()
    eventually(lambda: "does not tell whether they are ours" in caplog.text)

    # When it is asked again
    known.clear()

    eventually(lambda: sorted(first.done) == ["ann", "ben"] and not first.left())

    worker.stop()
    assert "another application" not in caplog.text


def test_a_database_that_answers_again_between_two_looks_makes_no_stranger_of_us(
    two: tuple[Application, Application], caplog: pytest.LogCaptureFixture
):
    # Given a database that does not tell the name of its outbox, and tells it a moment later
    answers = iter([None, "ours"])
    foreign = ForeignMessages(lambda: next(answers, "ours"))
    message = dramatiq.Message("default", "greet", (), {}, {"outbox": "ours"})

    assert foreign.includes(message)
    assert foreign.put_back(two[0].use(), message)

    assert "another application" not in caplog.text
