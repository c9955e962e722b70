"""Dramatiq's internals that the library builds on are as `brokers/internals.py` lists them.

Each test names its point of that list. A failure here after an upgrade says what to mend.
"""

import inspect
import multiprocessing
import queue
import signal
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import dramatiq
import dramatiq.broker
import dramatiq.cli
import pytest
import redis
from dramatiq.brokers import rabbitmq as dramatiq_rabbitmq
from dramatiq.brokers import redis as dramatiq_redis
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware, MiddlewareError, Retries

from gifster.jobs.brokers.internals import RELEASE
from tests.machine import eventually

CHANGED = (
    f"dramatiq {dramatiq.__version__} is not {'.'.join(map(str, RELEASE))}.x: read "
    "gifster/jobs/brokers/internals.py before you allow it"
)


@pytest.fixture
def stock(broker_url: str) -> Iterator[dramatiq_redis.RedisBroker]:
    """Dramatiq's own Redis broker."""
    broker = dramatiq_redis.RedisBroker(url=broker_url)
    broker.emit_after("process_boot")
    dramatiq.set_broker(broker)
    yield broker
    broker.close()


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def message(**options: Any) -> dramatiq.Message:
    return dramatiq.Message("default", "work", (1,), {}, options)


def test_dramatiq_is_the_release_whose_internals_are_listed():
    assert tuple(map(int, dramatiq.__version__.split(".")[:2])) == RELEASE, CHANGED


def test_1_a_broker_makes_its_consumers_of_its_consumer_class(stock: dramatiq_redis.RedisBroker):
    made: list[tuple[object, ...]] = []

    class Broker(dramatiq_redis.RedisBroker):
        @property
        def consumer_class(self) -> Any:
            return lambda *arguments: made.append(arguments)

    broker = Broker(client=stock.client)
    broker.consume("default", prefetch=3, timeout=50)

    assert made == [(broker, "default", 3, 50)]
    for kind in (dramatiq_redis.RedisBroker, dramatiq_rabbitmq.RabbitmqBroker):
        assert isinstance(kind.consumer_class, property)
        assert parameters(kind.consume) == ["self", "queue_name", "prefetch", "timeout"]
    for consumer in (dramatiq_redis._RedisConsumer, dramatiq_rabbitmq._RabbitmqConsumer):
        expected = ["self", "broker", "queue_name", "prefetch", "timeout"]
        assert parameters(consumer.__init__) == expected


def test_2_commands_go_through_dispatch(
    stock: dramatiq_redis.RedisBroker, monkeypatch: pytest.MonkeyPatch
):
    sent = stock.enqueue(message())
    assert stock.do_fetch("default", 8) == [sent.encode()]
    assert stock.do_fetch("default", 8) == []

    monkeypatch.setattr(stock, "_dispatch", lambda command: lambda *arguments: (command, arguments))
    for command in ("enqueue", "fetch", "ack", "nack", "requeue"):
        assert getattr(stock, f"do_{command}")("q", 1) == (command, ("q", 1))


def test_3_a_command_does_maintenance_if_one_method_says_so(
    stock: dramatiq_redis.RedisBroker, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    monkeypatch.setattr(stock, "_should_do_maintenance", lambda c: int(not asked.append(c)))
    # Given a message that a worker fetched whose last command was long ago
    stock.enqueue(message())
    stock.do_fetch("default", 1)
    stock.client.zadd("dramatiq:__heartbeats__", {stock.broker_id: 1})
    stock.broker_id = "another"

    assert len(stock.do_fetch("default", 1)) == 1
    assert asked == ["enqueue", "fetch", "fetch"]


def test_4_the_keys_are_where_our_scripts_look_for_them(stock: dramatiq_redis.RedisBroker):
    client: redis.Redis = stock.client
    sent = stock.enqueue(message())
    name = sent.options["redis_message_id"].encode()
    assert client.lrange("dramatiq:default", 0, -1) == [name]
    assert client.hgetall("dramatiq:default.msgs") == {name: sent.encode()}
    delayed = stock.enqueue(message(), delay=60_000)
    assert client.lrange("dramatiq:default.DQ", 0, -1) == [
        delayed.options["redis_message_id"].encode()
    ]

    stock.do_fetch("default", 1)
    assert client.smembers(f"dramatiq:__acks__.{stock.broker_id}.default") == {name}
    assert client.zscore("dramatiq:__heartbeats__", stock.broker_id) > 1e12

    stock.do_nack("default", name)
    assert client.zrange("dramatiq:default.XQ", 0, -1) == [name]
    assert not client.exists("dramatiq:default.msgs")


def test_5_a_rabbitmq_connection_can_be_deleted_and_is_made_anew():
    connection = dramatiq_rabbitmq.RabbitmqBroker.connection
    assert connection.fget
    assert connection.fdel
    assert "state" in inspect.getsource(connection.fget)  # one for each thread


def test_6_hooks_are_called_in_order_and_only_a_middleware_error_gets_out(
    stock: dramatiq_redis.RedisBroker,
):
    called: list[str] = []

    class Hooks(Middleware):
        def __init__(self, name: str, error: Exception) -> None:
            self._name, self._error = name, error

        def before_ack(self, broker: dramatiq.Broker, message: object) -> None:
            called.append(self._name)
            raise self._error

        after_ack = before_ack

    stock.middleware[:] = [Hooks("a", ValueError()), Hooks("b", MiddlewareError())]
    with pytest.raises(MiddlewareError):
        stock.emit_before("ack", message())
    stock.emit_after("ack", message())

    assert called == ["a", "b", "b", "a"]


class Recorded(dramatiq_redis._RedisConsumer):
    """Notes which threads call what, and cannot acknowledge at the first attempt."""

    calls: list[tuple[str, str]] = []

    def _note(self, what: str) -> None:
        self.calls.append((what, threading.current_thread().name))

    def __next__(self) -> Any:
        self._note("next")
        return super().__next__()

    def ack(self, message: Any) -> None:
        self._note("ack")
        if [what for what, _ in self.calls].count("ack") == 1:
            raise ConnectionClosed(redis.ConnectionError("cut off"))
        super().ack(message)

    def close(self) -> None:
        self._note("close")
        super().close()


def test_7_8_who_calls_a_consumer_and_when(broker_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dramatiq.worker.POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", 0.01)
    monkeypatch.setattr(Recorded, "calls", [])

    class Broker(dramatiq_redis.RedisBroker):
        @property
        def consumer_class(self) -> Any:
            return Recorded

    broker = Broker(url=broker_url)
    broker.emit_after("process_boot")
    ran_by: list[str] = []
    dramatiq.actor(
        lambda: ran_by.append(threading.current_thread().name), broker=broker, actor_name="work"
    ).send()
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=50, queues={"default"})
    worker.start()
    eventually(lambda: [what for what, _ in Recorded.calls].count("ack") == 2)
    worker.stop()

    assert {thread for what, thread in Recorded.calls if what == "ack"} == set(ran_by)
    queues = {name for name, _ in worker.consumers.items()}
    assert queues == {"default", "default.DQ"}
    assert len({thread for what, thread in Recorded.calls if what == "next"}) == len(queues)
    assert [what for what, _ in Recorded.calls][-1] == "close"
    broker.close()


def test_9_what_our_redis_consumer_finds_in_dramatiqs(stock: dramatiq_redis.RedisBroker):
    consumer = stock.consume("default", prefetch=3, timeout=50)
    found = (consumer.broker, consumer.queue_name, consumer.prefetch)
    assert found == (stock, "default", 3)
    assert consumer.queued_message_ids == set()

    stock.enqueue(message())
    [data] = stock.do_fetch("default", 1)
    consumer.requeue([dramatiq.Message.decode(data)])
    assert stock.client.llen("dramatiq:default") == 1


def test_10_what_our_rabbitmq_consumer_finds_in_dramatiqs(rabbitmq: str):
    broker = dramatiq_rabbitmq.RabbitmqBroker(url=rabbitmq)
    broker.declare_queue("internals", ensure=True)
    broker.enqueue(message().copy(queue_name="internals"))
    consumer = broker.consume("internals", prefetch=1, timeout=5_000)

    received = next(consumer)

    assert received._tag in consumer.known_tags
    assert received._message.actor_name == "work"
    assert consumer.channel.connection is consumer.connection
    assert inspect.isgenerator(consumer.iterator)
    consumer.known_tags.discard(received._tag)
    consumer._nack(received._tag)
    consumer.close()  # which sends it
    eventually(lambda: broker.get_queue_message_counts("internals")[2] == 1)
    broker.close()


def test_11_a_proxys_message_can_be_replaced(stock: dramatiq_redis.RedisBroker):
    proxy = dramatiq.broker.MessageProxy(message(a=1))
    changed = proxy._message.copy(args=(2,), options={"b": 2})
    assert changed.options == {"a": 1, "b": 2}
    proxy._message = changed
    error = ValueError()
    proxy.stuff_exception(error)

    assert (proxy.args, proxy.options["b"]) == ((2,), 2)
    assert proxy._exception is error


def test_12_a_retry_is_sent_with_a_delay_and_a_last_failure_fails_the_message(
    stock: dramatiq_redis.RedisBroker,
):
    dramatiq.actor(print, actor_name="work", broker=stock)
    retries = Retries(max_retries=1, min_backoff=60_000)
    proxy = dramatiq.broker.MessageProxy(message())

    retries.after_process_message(stock, proxy, exception=ValueError())
    assert (proxy.options["retries"], proxy.failed) == (1, False)
    assert stock.client.llen("dramatiq:default.DQ") == 1

    retries.after_process_message(stock, proxy, exception=ValueError())
    assert proxy.failed
    assert stock.client.llen("dramatiq:default.DQ") == 1


def test_13_a_worker_boots_before_it_makes_consumers(stock: dramatiq_redis.RedisBroker):
    seen: list[Any] = []

    class Boot(Middleware):
        def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
            seen.append((worker.worker_threads, worker.consumer_whitelist, dict(worker.consumers)))

        def after_worker_thread_boot(self, broker: dramatiq.Broker, thread: object) -> None:
            seen.append(thread)

    stock.add_middleware(Boot())
    stock.declare_queue("default")
    worker = dramatiq.Worker(stock, worker_threads=1, queues={"default"}, worker_timeout=50)
    worker.start()
    eventually(lambda: len(seen) == 2)
    worker.stop()

    assert seen[0] == (1, {"default"}, {})
    assert isinstance(seen[1], threading.Thread)


def test_14_a_worker_process_boots_after_the_fork_and_stops_at_a_hang_up():
    """What the signals do is seen in the tests of the application's worker processes."""
    source = inspect.getsource(dramatiq.cli.worker_process)

    assert 'emit_after("process_boot")' in source
    assert "signal.signal(signal.SIGHUP, termhandler)" in source
    assert "sys.exit(RET_KILLED)" in source
    assert signal.SIGHUP in dramatiq.cli.HANDLED_SIGNALS


def test_15_dramatiq_makes_a_broker_where_none_is_set(monkeypatch: pytest.MonkeyPatch):
    from gifster.jobs.sending import current_broker

    monkeypatch.setattr(dramatiq.broker, "global_broker", None)
    made = dramatiq.get_broker()

    assert type(made) is dramatiq_rabbitmq.RabbitmqBroker
    assert dramatiq.broker.global_broker is made
    assert current_broker() is None  # we know it by its parameters


def test_16_a_worker_takes_its_messages_from_the_work_queue_that_it_has_at_its_boot(
    stock: dramatiq_redis.RedisBroker,
):
    done: list[int] = []

    class Item(NamedTuple):
        message: Any

    class Work(queue.PriorityQueue):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return Item(super().get(block, timeout).message)

    class Boot(Middleware):
        def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
            worker.work_queue = Work()

    @dramatiq.actor(broker=stock)
    def work(number: int) -> None:
        done.append(number)

    stock.add_middleware(Boot())
    worker = dramatiq.Worker(stock, worker_threads=1, worker_timeout=50)
    worker.start()
    work.send(1)
    eventually(lambda: done == [1])
    worker.stop()
    assert isinstance(worker.work_queue, Work)


def test_17_a_worker_process_writes_its_log_to_a_pipe():
    from dramatiq.compat import StreamablePipe

    source = inspect.getsource(dramatiq.cli.make_logging_setup)
    read, write = multiprocessing.Pipe(duplex=False)
    pipe = StreamablePipe(write)

    pipe.write("ö\n")

    assert "sys.stderr = logging_pipe" in source
    assert read.recv_bytes() == "ö\n".encode()
    assert "write" not in vars(pipe)  # it can be replaced for this pipe alone
    assert pipe.fileno() == write.fileno()
