"""How the consumers of the Redis broker fetch. While jobs are short, they fetch more of them at a
time. While long jobs use all threads, they leave the others to other processes."""

import threading
from collections import Counter
from collections.abc import Iterator

import dramatiq
import pytest
import redis

from gifster import jobs
from gifster.jobs import QueueWeight
from gifster.jobs.brokers import redis as redis_broker
from gifster.jobs.brokers import redis_consumer
from gifster.jobs.brokers.fair import GROUP
from tests.machine import eventually, reaches

SHORT, LONG = 300, 60


@pytest.fixture
def broker(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dramatiq.Broker]:
    """A broker whose worker takes all jobs that end for short ones, however slow the machine is."""
    monkeypatch.setattr(redis_consumer, "SHORT_S", 60.0)
    made = jobs.connect(broker_url)
    yield made
    made.close()


def test_a_worker_that_can_fetch_nothing_shows_redis_that_it_lives(
    broker: dramatiq.Broker, broker_url: str, monkeypatch: pytest.MonkeyPatch
):
    for module in (redis_consumer, redis_broker):
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    client, started, gate = redis.Redis.from_url(broker_url), threading.Event(), threading.Event()

    @dramatiq.actor
    def work() -> None:
        started.set()
        gate.wait(60)

    # Given a worker whose threads are busy, and that has all delayed messages that it may have
    for _ in range(3):
        work.send_with_options(delay=3_600_000)
    work.send()
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.delay_prefetch = 2
    worker.start()
    started.wait(60)
    eventually(lambda: client.llen("dramatiq:default.DQ") == 1)

    # I expect that no other worker takes it for dead
    def seen() -> float:
        return client.zscore("dramatiq:__heartbeats__", broker.broker_id)

    for _ in range(5):
        before = seen()
        eventually(lambda before=before: seen() > before)
    gate.set()
    worker.stop()


@pytest.mark.parametrize("groups", [False, True])
def test_what_was_fetched_ahead_goes_back_in_its_order_when_jobs_turn_out_to_be_long(
    broker: dramatiq.Broker, broker_url: str, monkeypatch: pytest.MonkeyPatch, groups: bool
):
    done: list[int] = []
    gate, rooms = threading.Event(), []
    fetch = broker.do_fetch

    def watched(queue: str, count: int) -> list[bytes | None]:
        if queue == "default":
            rooms.append(count)
        return fetch(queue, count)

    monkeypatch.setattr(broker, "do_fetch", watched)

    @dramatiq.actor
    def work(number: int) -> None:
        if number >= SHORT:
            gate.wait(60)
        done.append(number)

    # Given a worker of one thread, which may prefetch two messages, and short jobs before long ones
    for number in range(SHORT + LONG):
        work.send_with_options(args=(number,), **({GROUP: f"user {number}"} if groups else {}))
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=1_000)
    worker.start()
    reaches(SHORT, lambda: len(done))

    # I expect that it has fetched more than two at a time
    assert 2 < max(rooms) <= 2 * redis_consumer.MOST_TIMES

    # And all but the one that runs to be with the broker again
    client = redis.Redis.from_url(broker_url)
    eventually(lambda: client.llen("dramatiq:default") == LONG - 1)
    gate.set()
    reaches(SHORT + LONG, lambda: len(done))
    worker.stop()
    assert done == list(range(SHORT + LONG))


def test_messages_behind_long_jobs_are_left_to_a_worker_that_has_a_thread(broker_url: str):
    begun_by: dict[str, list[int]] = {"busy": [], "free": []}
    gate = threading.Event()

    def start(name: str) -> dramatiq.Worker:
        broker = jobs.connect(broker_url)

        @dramatiq.actor
        def work(number: int) -> None:
            begun_by[name].append(number)
            if name == "busy":
                gate.wait(60)

        @dramatiq.actor(queue_name="other")
        def work_in_other(number: int) -> None:
            work.fn(number)

        if name == "busy":
            jobs.send_bulk(work, ([number] for number in range(6)))
        workers.append(dramatiq.Worker(broker, worker_threads=2, worker_timeout=100))
        workers[-1].start()
        if name == "busy":
            eventually(lambda: len(begun_by["busy"]) == 2)
            jobs.send_bulk(work_in_other, ([number] for number in range(6, 12)))
        return workers[-1]

    # Given a worker whose threads run long jobs, and jobs of both of its queues that wait
    workers: list[dramatiq.Worker] = []
    busy = start("busy")

    # When another worker starts, I expect it to do all of them
    start("free")
    eventually(lambda: sorted(begun_by["free"]) == list(range(2, 12)))

    # And the busy one to fetch again as soon as its jobs have ended
    workers.pop().stop()
    gate.set()
    busy.broker.get_actor("work").send(12)
    eventually(lambda: begun_by["busy"][2:] == [12])
    for worker in workers:
        worker.stop()
        worker.broker.close()


def test_the_weights_hold_though_each_job_is_so_long_that_the_others_are_given_back(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_consumer, "SURPLUS_S", 0.01)
    weights = {"five": QueueWeight(5), "three": QueueWeight(3)}
    broker = jobs.connect(broker_url, weights=weights)
    began: list[str] = []
    go = threading.Semaphore(0)

    def work(queue: str) -> None:
        began.append(queue)
        go.acquire(timeout=60)

    for queue in weights:
        actor = dramatiq.actor(work, queue_name=queue, actor_name=queue)
        jobs.send_bulk(actor, ([queue] for _ in range(20)))
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=1_000)
    worker.start()
    client = redis.Redis.from_url(broker_url)

    # When each job ends only when both queues have given back all messages
    for ended in range(24):
        left = (40 - ended - 1, ended + 1)
        eventually(
            lambda left=left: (
                (sum(client.llen(f"dramatiq:{q}") for q in weights), len(began)) == left
            )
        )
        go.release()
    eventually(lambda: len(began) == 25)

    assert 14 <= began[:24].count("five") <= 16
    go.release(20)
    worker.stop()
    broker.close()


def test_short_jobs_are_fetched_in_proportion_to_the_weights(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_consumer, "SHORT_S", 60.0)
    weights = {"five": QueueWeight(5), "three": QueueWeight(3)}
    broker = jobs.connect(broker_url, weights=weights)
    rooms: dict[str, list[int]] = {"five": [], "three": []}
    both, ended = threading.Event(), Counter()
    fetch = broker.do_fetch

    def watched(queue: str, count: int) -> list[bytes | None]:
        found = fetch(queue, count)
        if queue in rooms and found:
            rooms[queue].append(count)
            if all(rooms.values()):
                both.set()
        return found

    def work(queue: str) -> None:
        both.wait(60)
        ended[queue] += 1

    monkeypatch.setattr(broker, "do_fetch", watched)
    for queue, count in (("five", 3_000), ("three", 600)):
        actor = dramatiq.actor(work, queue_name=queue, actor_name=queue)
        jobs.send_bulk(actor, ([queue] for _ in range(count)))

    # When a worker of four threads runs short jobs of both queues, until one queue is empty
    worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=100)
    worker.start()
    eventually(lambda: ended == {"five": 3_000, "three": 600})
    worker.stop()
    broker.close()

    # I expect it to fetch up to 32 at a time of the one, and three fifths of that of the other
    assert max(rooms["three"]) <= 32 * 3 / 5 < max(rooms["five"]) <= 32
