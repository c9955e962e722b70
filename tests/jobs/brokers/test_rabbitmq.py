"""RabbitMQ as the broker, by URL: a real server, where Debian's `rabbitmq-server` is installed."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dramatiq
import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job, QueueWeight, State
from gifster.jobs.brokers.rabbitmq import Consumer
from tests.combinations import only_in_ci
from tests.jobs.conftest import Outbox, opened
from tests.jobs.workers import workers
from tests.machine import eventually, reaches


@pytest.fixture
def outbox(rabbitmq: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    """This process with an outbox, empty queues, and workers that read their orders often."""
    monkeypatch.setattr("gifster.jobs.heartbeat.LOOK_S", 0.2)
    with opened(rabbitmq, f"sqlite:///{tmp_path}/jobs.db") as made:
        broker = dramatiq.get_broker()
        for queue in ("default", "carrierwave"):
            broker.declare_queue(queue, ensure=True)
        broker.flush_all()
        yield made


@pytest.fixture
def worker() -> Iterator[Callable[[], dramatiq.Worker]]:
    with workers(worker_timeout=100) as start:
        yield start


def declare(work: Callable[[str], None]) -> None:
    for queue in ("default", "carrierwave"):

        @dramatiq.actor(queue_name=queue, actor_name=f"work_{queue}", max_retries=0)
        def actor(name: str) -> None:
            work(name)


def test_it_answers_a_ping(rabbitmq: str):
    assert jobs.ping(jobs.connect(rabbitmq)) == "PONG"
    with pytest.raises(jobs.BrokerUnavailable):
        jobs.ping(jobs.connect("amqp://127.0.0.1:1"))


def test_without_it_a_job_waits_for_the_relay(outbox: Outbox):
    good = dramatiq.get_broker()
    jobs.connect("amqp://127.0.0.1:1")

    assert jobs.enqueue("work_default", "a").send_at <= time.time() + 61
    assert jobs.relay() == 0
    dramatiq.set_broker(good)
    assert jobs.relay() == 1
    assert good.get_queue_message_counts("default")[0] == 1


def test_a_job_that_nobody_has_sent_is_sent_unless_its_queue_has_messages(outbox: Outbox):
    def unsent(actor: str, queue: str) -> None:
        Job.create(actor=actor, queue=queue, arguments=["a"], send_at=time.time() + 50)

    unsent("work_default", "default")
    assert jobs.relay() == 1
    eventually(lambda: dramatiq.get_broker().get_queue_message_counts("default")[0] == 1)
    unsent("work_default", "default")
    assert jobs.relay() == 0


def test_a_queue_that_it_refuses_stops_no_other(outbox: Outbox):
    # Given a queue that exists with other options, for which the oldest job is
    broker = dramatiq.get_broker()
    broker.channel.queue_declare("other-options", durable=True)
    bad = Job.create(actor="a", queue="other-options", arguments=[], send_at=1)
    for _ in range(3):
        Job.create(actor="a", queue="default", arguments=[], send_at=2)

    assert jobs.relay() == 3

    assert broker.get_queue_message_counts("default")[0] == 3
    assert "PRECONDITION_FAILED" in Job.get_by_id(bad.id).error
    assert Job.get_by_id(bad.id).send_at > time.time() + 50
    broker.channel.queue_delete("other-options")


def test_a_job_of_another_application_is_put_back_for_it(
    rabbitmq: str, outbox: Outbox, worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("gifster.jobs.brokers.foreign.FIRST_PAUSE_MS", 50)
    monkeypatch.setattr("gifster.jobs.brokers.foreign.MAX_PAUSE_MS", 100)
    ours, done = outbox.database, []
    # Given a job of an application that has the same queues, and other actors
    theirs = peewee.SqliteDatabase(tmp_path / "theirs.db")
    theirs.bind(jobs.TABLES)
    theirs.create_tables(jobs.TABLES)
    jobs.enqueue("work_there", "bob")
    message = Job.get().message()
    ours.bind(jobs.TABLES)

    # When a worker of ours runs a job of ours
    declare(done.append)
    first = worker()
    jobs.enqueue("work_default", "ann")
    eventually(lambda: done == ["ann"])
    broker = dramatiq.get_broker()
    others = broker.foreign
    eventually(lambda: others._warned == {message.options["outbox"]})
    first.stop()

    # I expect the other job to be still there, and the worker of its owner to run it
    counts = broker.get_queue_message_counts("default")
    assert (counts[0] + counts[1], counts[2]) == (1, 0)
    theirs.bind(jobs.TABLES)
    jobs.connect(rabbitmq)

    @dramatiq.actor(queue_name="default")
    def work_there(name: str) -> None:
        done.append(name)

    worker()
    eventually(lambda: done == ["ann", "bob"])
    eventually(lambda: not Job.select().exists())
    ours.bind(jobs.TABLES)


def test_messages_of_a_higher_priority_come_first(rabbitmq: str, outbox: Outbox, worker):
    # Given a queue with priorities, and messages of each before a worker comes
    broker = jobs.connect(rabbitmq, max_priority=5)
    done: list[str] = []

    @dramatiq.actor(queue_name="urgent")
    def note(name: str) -> None:
        done.append(name)

    for priority in (0, 5, 2, 5):
        note.send_with_options(args=(str(priority),), broker_priority=priority)
    eventually(lambda: broker.get_queue_message_counts("urgent")[0] == 4)

    one = dramatiq.Worker(broker, queues={"urgent"}, worker_threads=1, worker_timeout=100)
    one.start()
    eventually(lambda: len(done) == 4)
    one.stop()

    assert done == ["5", "5", "2", "0"]


@only_in_ci("2 s; the same scheduler shares the queues of Redis daily")
def test_two_full_queues_share_a_worker_by_their_weights(rabbitmq: str, outbox: Outbox, worker):
    jobs.connect(
        rabbitmq, weights={"default": QueueWeight(5), "carrierwave": QueueWeight(3, max=1)}
    )
    started: list[str] = []
    lock, running, most = threading.Lock(), Counter[str](), Counter[str]()

    def work(name: str) -> None:
        with lock:
            started.append(name)
            running[name] += 1
            most[name] = max(most[name], running[name])
        time.sleep(0.002)
        with lock:
            running[name] -= 1

    declare(work)
    messages = [
        dramatiq.get_broker().get_actor(f"work_{queue}").message(queue)
        for _ in range(400)
        for queue in ("default", "carrierwave")
    ]
    assert jobs.send_many(messages) == 800

    worker()

    eventually(lambda: len(started) >= 500)
    assert Counter(started[:400])["default"] == pytest.approx(250, abs=20)
    assert most["carrierwave"] == 1
    reaches(800, lambda: len(started))


def test_a_paused_queue_waits_and_a_quiet_worker_gives_back(outbox: Outbox, worker):
    done: list[str] = []
    gate = threading.Event()

    def work(name: str) -> None:
        if name == "hold":
            gate.wait(60)
        done.append(name)

    declare(work)
    jobs.pause("carrierwave")
    worker()
    jobs.enqueue("work_carrierwave", "paused", queue="carrierwave")
    jobs.enqueue("work_default", "free")
    eventually(lambda: done == ["free"])
    jobs.resume("carrierwave")
    eventually(lambda: done == ["free", "paused"])

    # Given a worker whose threads are taken, and that has fetched more, when it is told to be quiet
    for name in ("hold", "hold", "a", "b"):
        jobs.enqueue("work_default", name)
    eventually(lambda: len(jobs.find(State.RUNNING)) == 2)
    [row] = jobs.workers()
    jobs.quiet(row.id)

    # I expect the rest to be back in the queue
    broker = dramatiq.get_broker()
    eventually(lambda: broker.get_queue_message_counts("default")[0] == 2)
    gate.set()
    eventually(lambda: Job.select().count() == 2)
    jobs.quiet(row.id, quiet=False)
    eventually(lambda: not Job.select().exists())
    assert sorted(done[2:]) == ["a", "b", "hold", "hold"]


def test_one_group_leaves_a_thread_to_the_others(outbox: Outbox, worker):
    # Given more slow jobs of a group than there are threads
    began, gate = [], threading.Semaphore(0)

    def work(name: str) -> None:
        began.append(name)
        if name == "ann":
            gate.acquire(timeout=60)

    declare(work)
    dramatiq.get_broker().max_per_group = 3
    for _ in range(8):
        jobs.enqueue("work_default", "ann", group="ann")
    worker()
    eventually(lambda: began == ["ann"])

    # When somebody else comes
    for _ in range(3):
        jobs.enqueue("work_default", "bob", group="bob")

    eventually(lambda: began.count("bob") == 3)
    assert began.count("ann") == 1
    for _ in range(8):
        gate.release()
    eventually(lambda: began.count("ann") == 8 and not Job.select().exists())


def test_a_worker_that_is_paused_while_a_job_ends_acknowledges_it(
    outbox: Outbox, worker, monkeypatch: pytest.MonkeyPatch
):
    begun, closing, gate = threading.Event(), threading.Event(), threading.Event()
    done: list[str] = []
    running_at_the_end: list[int] = []

    def work(name: str) -> None:
        begun.set()
        gate.wait(60)
        done.append(name)

    class Watched(Consumer):
        def _wait_for_acknowledgements(self, scheduler: Any) -> None:
            if self.queue_name == "default":
                closing.set()
            super()._wait_for_acknowledgements(scheduler)
            running_at_the_end.append(scheduler.running_in(self.queue_name))

    monkeypatch.setattr("gifster.jobs.brokers.rabbitmq.Consumer", Watched)
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.01)
    declare(work)
    running = worker()
    send = dramatiq.get_broker().get_actor("work_default").send
    send("a")
    assert begun.wait(60)

    # When Dramatiq closes the consumers of a paused worker before the job ends
    pausing = threading.Thread(target=running.pause)
    pausing.start()
    assert closing.wait(60)
    gate.set()
    pausing.join(60)
    running.stop()

    # I expect its message to be gone: it would come before a new one
    send("b")
    worker()
    eventually(lambda: "b" in done)
    assert done == ["a", "b"]
    assert not any(running_at_the_end)


def test_a_job_of_a_broken_connection_acknowledges_no_other_message(outbox: Outbox):
    def next_of(consumer: Consumer) -> Any:
        return eventually(lambda: next(consumer))

    # Given a message whose connection breaks, so that another consumer gets it
    broker = dramatiq.get_broker()
    declare(print)
    for name in ("a", "b"):
        broker.get_actor("work_default").send(name)
    broken = broker.consume("default", 1, 100)
    first = next_of(broken)
    broken.connection.close()
    other = broker.consume("default", 1, 100)
    assert next_of(other).args == first.args

    # When its worker has done it, and has another message by the same number meanwhile
    again = broker.consume("default", 1, 100)
    second = next_of(again)
    assert (second.args, second._tag) == (("b",), first._tag)
    again.ack(first)
    next(again)
    again.close()

    # I expect that one to be in the queue still
    eventually(lambda: broker.get_queue_message_counts("default")[0] == 1)
    other.close()
