"""What a worker has fetched from Redis is put back if the worker loses it, and only then."""

from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.common import current_millis

from gifster import jobs
from gifster.jobs.brokers import redis_consumer
from tests.machine import eventually


@pytest.fixture
def connect(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], dramatiq.Broker]]:
    """Makes a broker as each worker process has one, with an id of its own, and the queue `q`."""
    monkeypatch.setattr(redis_consumer, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(redis_consumer, "STAND_BY_S", 0.05)
    made: list[Any] = []

    def connect() -> dramatiq.Broker:
        made.append(jobs.connect(broker_url))
        made[-1].declare_queue("q")
        return made[-1]

    yield connect
    for broker in made:
        broker.close()


def send(broker: dramatiq.Broker, *names: str, delay: int | None = None) -> None:
    for name in names:
        broker.enqueue(dramatiq.Message("q", name, (), {}, {"group": "ann"}), delay=delay)


def fetched(consumer: Any) -> str | None:
    message = next(consumer)
    return None if message is None else message.actor_name


def test_a_fetch_that_arrives_after_the_outage_loses_nothing(
    connect: Callable[[], Any], client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gifster.jobs.brokers.in_hand.FIRST_PAUSE_S", 0.05)
    broker = connect()
    send(broker, "first", "second")
    # Given a connection that breaks while a fetch is under way
    fetch, late = broker.do_fetch, []

    def broken(*arguments: Any) -> Any:
        if not late:
            late.append(arguments)
            raise redis.ConnectionError("cut off")
        return fetch(*arguments)

    monkeypatch.setattr(broker, "do_fetch", broken, raising=False)
    consumer = broker.consume("q", prefetch=1, timeout=100)
    assert next(consumer) is None
    first = eventually(lambda: next(consumer))
    assert first.actor_name == "first"

    # When the server gets that fetch only now, after the lost messages were looked for
    [data] = fetch(*late[0])
    assert dramatiq.Message.decode(data).actor_name == "second"
    assert client.llen("dramatiq:q") == 0
    consumer.ack(first)

    # I expect the message, whose answer nobody reads, to be put back and fetched again
    eventually(lambda: fetched(consumer) == "second")
    consumer.close()


def test_it_is_not_looked_for_for_ever(connect: Callable[[], Any], monkeypatch: pytest.MonkeyPatch):
    broker, looked = connect(), []
    now = [1000.0]
    monkeypatch.setattr("gifster.jobs.brokers.in_hand.time.monotonic", lambda: now[0])
    monkeypatch.setattr(broker, "fetched_ids", lambda queue: looked.append(now[0]) or set())

    broker.in_hand.lose("q")
    for _ in range(600):
        broker.in_hand.settle("q")
        now[0] += 1

    assert looked == [1000, 1001, 1003, 1007, 1015, 1031, 1063, 1127, 1255]


@pytest.mark.parametrize("delay", [None, 1])
def test_what_another_worker_has_put_back_is_put_back_once(
    connect: Callable[[], Any], client: redis.Redis, delay: int | None
):
    """Two workers: one seems dead, for its process was stopped, and the other gives its messages
    back; then the first one gives them back, too, loses its connection, and goes on."""
    stopped, other = connect(), connect()
    queue = "q" if delay is None else "q.DQ"
    send(other, "first", "second", delay=delay)
    mine = stopped.consume(queue, prefetch=2, timeout=100)
    names = {eventually(lambda: fetched(mine)), eventually(lambda: fetched(mine))}
    assert names == {"first", "second"}

    # Given that the other one took it for dead
    client.zadd("dramatiq:__heartbeats__", {stopped.broker_id: current_millis() - 3_600_000})
    theirs = other.consume(queue, prefetch=2, timeout=100)
    its = [eventually(lambda: next(theirs)) for _ in range(2)]
    assert {message.actor_name for message in its} == {"first", "second"}

    # When the first one goes on, with a connection that broke
    stopped.in_hand.lose_all(queue)
    mine.close()
    again = stopped.consume(queue, prefetch=2, timeout=100)
    for _ in range(3):
        assert next(again) is None

    # I expect the messages to be with the other one, once, and to be gone when it is done
    assert client.llen(f"dramatiq:{queue}") == 0
    for message in its:
        theirs.ack(message)
    theirs.close()
    again.close()
    eventually(lambda: client.keys("dramatiq:q*") == client.keys("dramatiq:__acks__*") == [])
