"""Forged messages, from anybody who can write to the broker: they change nothing in the outbox, and
stop no worker."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dramatiq
import peewee
import pytest
import redis

from gifster import jobs
from gifster.jobs import Job
from tests.machine import eventually


class Application:
    """An application with an outbox, a worker, and actors that note their arguments."""

    def __init__(self, path: Path, broker_url: str) -> None:
        self.client = redis.Redis.from_url(broker_url)
        self.database = peewee.SqliteDatabase(path, pragmas={"journal_mode": "wal"}, timeout=15)
        self.database.bind(jobs.TABLES)
        self.broker = jobs.connect(broker_url)
        self.database.create_tables(jobs.TABLES)
        self.done: list[Any] = []
        self.dead: list[Any] = []
        dramatiq.actor(self.done.append, actor_name="remove", outbox_only=True, min_backoff=50)
        dramatiq.actor(self.done.append, actor_name="greet")
        dramatiq.actor(
            self._fail, actor_name="fail", max_retries=3, min_backoff=600_000, on_dead=self._note
        )
        self.worker = dramatiq.Worker(self.broker, worker_threads=2, worker_timeout=100)

    def _fail(self, what: str) -> None:
        raise OSError(what)

    def _note(self, error: BaseException, what: str) -> None:
        self.dead.append(what)

    def waiting(self, actor: str, argument: str) -> Job:
        """A job without a message in the broker."""
        job = Job(actor=actor, queue="default", arguments=[argument], send_at=2e12)
        job.save(force_insert=True)
        return job

    def put(self, data: bytes, message_id: str = "forged", queue: str = "default") -> None:
        """Put a message into a queue, as anybody with the broker's password can."""
        self.client.hset(f"dramatiq:{queue}.msgs", message_id, data)
        self.client.rpush(f"dramatiq:{queue}", message_id)

    def forge(self, actor: str, *arguments: Any, **options: Any) -> None:
        self.put(json.dumps(message(actor, *arguments, **options)).encode())

    def left(self) -> list[str]:
        return [job.id for job in Job.select()]


def message(actor: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    return {
        "queue_name": "default",
        "actor_name": actor,
        "args": arguments,
        "kwargs": {},
        "options": {"redis_message_id": "forged", **options},
        "message_id": "forged",
        "message_timestamp": 1,
    }


@pytest.fixture
def application(tmp_path: Path, broker_url: str) -> Iterator[Application]:
    made = Application(tmp_path / "app.db", broker_url)
    yield made
    made.worker.stop()
    made.broker.close()
    made.database.close()


@pytest.fixture
def after(application: Application) -> Callable[[], list[Any]]:
    """Starts the worker, waits for a good job that comes last, and returns what else was done."""

    def work() -> list[Any]:
        application.worker.start()
        jobs.enqueue("greet", "the last")
        eventually(lambda: "the last" in application.done)
        eventually(lambda: not application.client.hexists("dramatiq:default.msgs", "forged"))
        return [what for what in application.done if what != "the last"]

    return work


def test_an_outbox_only_actor_ignores_a_message_without_a_row(
    application: Application,
    after: Callable[[], list[Any]],
    caplog: pytest.LogCaptureFixture,
):
    application.forge("remove", "an original")

    assert after() == []
    [line] = [r.getMessage() for r in caplog.records if r.getMessage().startswith("refused")]
    assert "actor=remove" in line
    assert "an original" in line


def test_a_plain_actor_needs_no_row(application: Application, after: Callable[[], list[Any]]):
    application.forge("greet", "ann")

    assert after() == ["ann"]


@pytest.mark.parametrize("outbox_id", [None, "", "gone", 7, True, ["a"], {"a": 1}, "x" * 100_000])
def test_an_outbox_only_actor_ignores_a_message_that_names_no_valid_row(
    application: Application, after: Callable[[], list[Any]], outbox_id: Any
):
    application.forge("remove", "an original", outbox_id=outbox_id)

    assert after() == []


def test_the_row_decides_what_is_done_not_the_message(
    application: Application, after: Callable[[], list[Any]], caplog: pytest.LogCaptureFixture
):
    job = application.waiting("remove", "what was replaced")

    application.forge("remove", "an original", outbox_id=job.id)

    assert after() == ["what was replaced"]
    eventually(lambda: application.left() == [])  # the last row goes after its job
    assert any("other arguments" in r.getMessage() for r in caplog.records)


def test_a_row_is_for_its_own_actor_only(
    application: Application, after: Callable[[], list[Any]], caplog: pytest.LogCaptureFixture
):
    job = application.waiting("greet", "ann")

    application.forge("remove", "an original", outbox_id=job.id)

    assert after() == []
    eventually(lambda: application.left() == [job.id])  # the last row goes after its job
    assert any("its row is for actor='greet'" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize(
    "options",
    [
        {"retries": 1_000},
        {"retries": "many"},
        {"max_retries": 0},
        {"max_age": 1},
        {"throws": "everything"},
        {"time_limit": 0},
    ],
)
def test_options_of_a_forged_message_do_not_end_a_job(
    application: Application, after: Callable[[], list[Any]], options: dict[str, Any]
):
    application.broker.get_actor("fail").options["outbox_only"] = True
    job = application.waiting("fail", "a disk that is away")

    application.forge("fail", "a disk that is away", outbox_id=job.id, **options)

    after()
    eventually(lambda: Job.get_by_id(job.id).attempts == 1)
    assert Job.get_by_id(job.id).failed_at is None
    assert application.dead == []


def test_nothing_is_done_while_the_outbox_does_not_answer(
    application: Application, caplog: pytest.LogCaptureFixture
):
    job = application.waiting("remove", "what was replaced")
    application.database.execute_sql("ALTER TABLE outbox RENAME TO away")
    application.forge("remove", "an original", outbox_id=job.id, group="ann")

    application.worker.start()
    eventually(lambda: "sent again job=" in caplog.text)
    assert application.done == []
    assert "unexpected failure" not in caplog.text

    application.database.execute_sql("ALTER TABLE away RENAME TO outbox")
    eventually(lambda: application.done == ["what was replaced"])


GOOD = message("greet", "ann")
MALFORMED = {
    "no JSON": b"\xff\x00",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "nothing": b"{}",
    "of another queue": json.dumps(GOOD | {"queue_name": "nowhere"}).encode(),
    "no options": json.dumps(GOOD | {"options": None}).encode(),
    "no Redis id": json.dumps(GOOD | {"options": {}}).encode(),
    "an actor that is a list": json.dumps(GOOD | {"actor_name": ["greet"]}).encode(),
    "an id that is a list": json.dumps(GOOD | {"message_id": []}).encode(),
    "arguments that are a number": json.dumps(GOOD | {"args": 7}).encode(),
    "keywords that are a list": json.dumps(GOOD | {"kwargs": [1]}).encode(),
    "an outbox that is a list": json.dumps(message("greet", "a", outbox=["b"])).encode(),
    "put back often": json.dumps(message("greet", "a", outbox="b", put_back="often")).encode(),
    "a moment that is a text": json.dumps(message("greet", "a", eta="now")).encode(),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_message_does_not_stop_a_worker(application: Application, what: str):
    for number in range(4):  # one for each thread, and more
        application.put(MALFORMED[what], f"{number}")

    application.worker.start()
    for number in range(8):
        jobs.enqueue("greet", number)

    eventually(lambda: {n for n in application.done if isinstance(n, int)} == set(range(8)))
    eventually(lambda: not application.left())


def test_a_wake_up_that_is_not_text_does_not_end_the_listening(application: Application):
    application.worker.start()
    eventually(lambda: application.broker.wake_up.listening)

    application.client.publish("dramatiq:wake-up", b"\xff\xfe")
    for number in range(1_000):
        application.client.publish("dramatiq:wake-up", f"queue-{number}")
    jobs.enqueue("greet", "ann")

    eventually(lambda: application.done == ["ann"])
    assert application.broker.wake_up.listening
    assert len(application.broker.wake_up._events) < 10


def test_forged_delayed_messages_take_no_thread(application: Application):
    for number in range(2):  # as many as the worker has threads
        forged = message("greet", "ann", eta=4e12)
        forged["message_id"] = forged["options"]["redis_message_id"] = f"forged{number}"
        application.put(json.dumps(forged).encode(), f"forged{number}")
    application.worker.start()
    eventually(lambda: application.client.llen("dramatiq:default") == 0)

    jobs.enqueue("greet", "bob")

    eventually(lambda: "bob" in application.done)


def test_a_message_whose_id_is_not_text_blocks_no_acknowledgement(application: Application):
    forged = message("greet", "ann")
    forged["options"]["redis_message_id"] = "\ud800"
    application.put(json.dumps(forged).encode())
    application.worker.start()
    eventually(lambda: application.client.llen("dramatiq:default") == 0)

    for number in range(5):
        jobs.enqueue("greet", number)

    eventually(lambda: len([name for name in application.done if name != "ann"]) == 5)
    eventually(lambda: application.client.hlen("dramatiq:default.msgs") <= 1)
