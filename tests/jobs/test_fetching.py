"""How the consumers of the Redis broker fetch. While jobs are short, they fetch more of them at a
time, and keep none of them from other processes for long."""

import threading
from collections.abc import Iterator

import dramatiq
import pytest
import redis

from gifster import jobs
from gifster.jobs.brokers import redis_consumer
from tests.machine import eventually

SHORT, LONG = 300, 60


@pytest.fixture
def broker(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dramatiq.Broker]:
    """A broker whose worker takes all jobs that end for short ones, however slow the machine is."""
    monkeypatch.setattr(redis_consumer, "SHORT_S", 60.0)
    made = jobs.connect(broker_url)
    yield made
    made.close()


def test_what_was_fetched_ahead_goes_back_in_its_order_when_jobs_turn_out_to_be_long(
    broker: dramatiq.Broker, broker_url: str, monkeypatch: pytest.MonkeyPatch
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
            gate.wait(20)
        done.append(number)

    # Given a worker of one thread, which may prefetch two messages, and short jobs before long ones
    jobs.send_bulk(work, ([number] for number in range(SHORT + LONG)))
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=1_000)
    worker.start()
    eventually(lambda: len(done) == SHORT)

    # I expect that it has fetched more than two at a time
    assert 2 < max(rooms) <= 2 * redis_consumer.MOST_TIMES

    # And all but two of the long ones to be with the broker again
    client = redis.Redis.from_url(broker_url)
    eventually(lambda: client.llen("dramatiq:default") == LONG - 2)
    gate.set()
    eventually(lambda: len(done) == SHORT + LONG)
    worker.stop()
    assert done == list(range(SHORT + LONG))
