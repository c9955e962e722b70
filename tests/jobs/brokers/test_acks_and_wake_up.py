"""The threads that acknowledge messages and listen for new ones, if one cannot start or fails."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from gifster.jobs.brokers import wake_up
from gifster.jobs.brokers.acks import Acks
from gifster.jobs.brokers.wake_up import WakeUp
from tests.machine import eventually
from tests.threads import no_more_threads


@pytest.fixture
def acks(client: redis.Redis) -> Iterator[Acks]:
    made = Acks(client, "dramatiq", "one")
    yield made
    made.stop()


@pytest.fixture
def listener(client: redis.Redis) -> Iterator[WakeUp]:
    made = WakeUp(client, "dramatiq:wake-up")
    yield made
    made.stop()


def test_messages_are_acknowledged_after_the_process_had_no_more_threads(
    acks: Acks, client: redis.Redis
):
    # Given two messages that a worker has fetched, and no thread when the first of them is done
    for name in ("a", "b"):
        client.sadd("dramatiq:__acks__.one.default", name)
    with no_more_threads("acks"):
        acks.add("default", "a")
    assert acks.waiting("default") == {"a"}

    # When there are threads again, I expect the next one to bring both to the broker
    acks.add("default", "b")
    assert acks.flush(20)
    assert not client.exists("dramatiq:__acks__.one.default")


def test_a_worker_that_ends_acknowledges_what_no_thread_could(acks: Acks, client: redis.Redis):
    # Given the last message of a worker, which is done when the process may have no more threads
    client.sadd("dramatiq:__acks__.one.default", "a")
    with no_more_threads("acks"):
        acks.add("default", "a")

    # When the worker ends, I expect the broker to learn of it
    assert acks.flush(20)
    assert not client.exists("dramatiq:__acks__.one.default")


def test_a_worker_is_woken_up_after_the_process_had_no_more_threads(listener: WakeUp):
    with no_more_threads("wake-up"), pytest.raises(RuntimeError, match="new thread"):
        listener.event("default")

    listener.event("default")

    eventually(lambda: listener.listening)


def test_no_error_ends_the_listening(
    listener: WakeUp, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    # Given a client that fails once, as nobody expects it to
    monkeypatch.setattr(wake_up, "RECONNECT_S", 0.01)
    connect = client.pubsub
    failing = [RuntimeError("pubsub connection not set")]

    def pubsub(**options: Any) -> Any:
        if failing:
            raise failing.pop()
        return connect(**options)

    monkeypatch.setattr(client, "pubsub", pubsub)

    told = listener.event("default")
    eventually(lambda: listener.listening)

    client.publish("dramatiq:wake-up", "default")
    assert told.wait(20)
