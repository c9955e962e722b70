"""A broker or a database whose machine says nothing, as one behind a cable that is pulled: nobody
waits for it twice, and workers that it leaves behind give their jobs to others."""

import math
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import dramatiq
import peewee
import pika
import pytest
import redis
from dramatiq.broker import MessageProxy
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import SkipMessage

from chaos.proxy import FaultProxy
from gifster import jobs
from gifster.jobs import asking, circuit, heartbeat, sending
from gifster.jobs.asking import BrokerUnavailable
from gifster.jobs.brokers import connection, rabbitmq
from gifster.jobs.brokers.fair import FairScheduler
from gifster.jobs.heartbeat import Heartbeat
from gifster.jobs.outbox_rows import LAST_RETRY_S, OutboxUnavailable
from gifster.jobs.relay import relay
from gifster.jobs.sending import send_each
from tests.jobs.conftest import Outbox
from tests.machine import eventually
from tests.threads import no_more_threads


class Attempts(dramatiq.Middleware):
    """Counts what a process tries to send."""

    def __init__(self) -> None:
        self.count = 0

    def before_enqueue(self, broker: dramatiq.Broker, message: dramatiq.Message, delay: int | None):
        self.count += 1


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    """An outbox's broker that waits 0.3 s for answers."""
    monkeypatch.setattr(connection, "TIMEOUT_S", 0.3)
    monkeypatch.setattr("gifster.jobs.sending.SLOW_S", 0.1)
    monkeypatch.setattr(circuit, "ASK_EVERY_S", 0.05)
    return Attempts()


@pytest.fixture
def line(outbox: Outbox, attempts: Attempts) -> Iterator[FaultProxy]:
    """The line to the outbox's broker, which is dead: nothing comes through."""
    url = urlsplit(outbox.broker_url)
    with FaultProxy(url.port, 1) as proxy:
        proxy.fault = "dead"
        broker = jobs.connect(
            outbox.broker_url.replace(str(url.port), proxy.url.rpartition(":")[2]),
            middleware=[attempts],
        )
        yield proxy
        proxy.fault = ""
        broker.close()


def enqueue(count: int) -> None:
    for number in range(count):
        jobs.enqueue("work", number)


def due() -> int:
    """How many jobs wait for the relay."""
    return jobs.Job.select().where(jobs.Job.send_at <= time.time()).count()


def sends_at_once(outbox: Outbox) -> bool:
    """Whether a job that is enqueued goes to the broker without the relay."""
    queued, waited = outbox.queued(), due()
    enqueue(1)
    return outbox.queued() == queued + 1 and due() == waited


def test_a_broker_that_says_nothing_is_waited_for_once(
    outbox: Outbox, line: FaultProxy, attempts: Attempts
):
    # When jobs are enqueued, each in a transaction of its own
    enqueue(20)

    # I expect one attempt to send one, and all to wait for the relay, which has them at once
    assert attempts.count == 1
    assert jobs.Job.select().where(jobs.Job.send_at <= jobs.now()).count() == 20
    assert relay() == 0
    assert attempts.count == 1

    # When it answers again, I expect the relay to send them, and new jobs to need no relay
    line.fault = ""
    eventually(lambda: relay() and not due())
    assert outbox.queued() >= 20
    eventually(lambda: sends_at_once(outbox))


def test_a_broker_is_tried_again_without_a_relay(
    outbox: Outbox, line: FaultProxy, attempts: Attempts
):
    enqueue(2)
    line.fault = ""

    eventually(lambda: sends_at_once(outbox))


def test_an_answer_to_a_question_from_before_does_not_end_the_silence(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
):
    # Given a broker that takes a probe, when it goes silent for another thread meanwhile
    broker = dramatiq.get_broker()
    its, write = asking.circuit_to(broker), asking._write

    def probe(broker: dramatiq.Broker) -> None:
        write(broker)
        its.open("nothing within 3 s")

    with monkeypatch.context() as patched:
        patched.setattr(asking, "_write", probe)
        assert jobs.ping(broker) == "PONG"
        assert its.why_open == "nothing within 3 s"

    # I expect the answer to the next one to end it
    assert jobs.ping(broker) == "PONG"
    eventually(lambda: its.why_open is None)


def test_nobody_fails_because_no_thread_can_ask_for_a_silent_broker(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
):
    # Given a broker that says nothing, and a process that may have no more threads
    monkeypatch.setattr(circuit, "ASK_EVERY_S", 0.05)
    its = asking.circuit_to(dramatiq.get_broker())
    with no_more_threads("broker-circuit"):
        its.open("nothing within 3 s")
        assert asking.trouble() == "nothing within 3 s"

    # When it may have some again, I expect one to find that the broker answers
    eventually(lambda: not asking.trouble())


def test_the_threads_that_send_learn_of_it_in_their_own_time(
    outbox: Outbox, line: FaultProxy, attempts: Attempts
):
    # Given threads that all send when the broker goes silent
    together = threading.Barrier(4)
    message = jobs.Job(actor="work", queue="default", arguments=[1], send_at=0).message()
    outcomes: list[Exception | None] = []

    def send() -> None:
        together.wait()
        outcomes.extend(send_each([message]))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # I expect each to wait at most once, and those that come later not at all
    assert all(isinstance(outcome, BrokerUnavailable) for outcome in outcomes)
    assert attempts.count <= 4
    assert isinstance(send_each([message])[0], BrokerUnavailable)
    assert attempts.count <= 4


def test_a_broker_that_refuses_is_asked_each_time(
    outbox: Outbox, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
):
    # Its refusal costs nothing, and as soon as it is back, jobs go to it
    monkeypatch.setattr(sending, "SLOW_S", 60.0)  # a busy machine takes longer to refuse
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    broker = jobs.connect(f"redis://127.0.0.1:{port}/0", middleware=[attempts])
    message = jobs.Job(actor="work", queue="default", arguments=[1], send_at=0).message()

    for _ in range(3):
        assert isinstance(send_each([message])[0], BrokerUnavailable)

    assert attempts.count == 3
    broker.close()


def test_redis_is_given_up_when_its_machine_is_silent(outbox: Outbox):
    """TCP alone waits a quarter of an hour for a lost packet, and for ever if it sends none."""
    outbox_broker = jobs.connect(outbox.broker_url)
    sockets = [
        outbox_broker.client.client().connection._sock,
        outbox_broker._own.connection()._sock,
        outbox_broker.client.pubsub().connection_pool.get_connection()._sock,
    ]

    for each in filter(None, sockets):
        assert each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for name, value in connection.TCP.items():
            assert each.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value, name
    assert any(sockets)
    outbox_broker.close()


def test_a_url_may_say_other_timeouts():
    broker = jobs.connect("redis://127.0.0.1:1/0?socket_timeout=7")
    assert broker.client.connection_pool.connection_kwargs["socket_timeout"] == 7.0

    url = "amqp://a/x?socket_timeout=7&tcp_options=%7B%27TCP_USER_TIMEOUT%27%3A9000%7D"
    one, two = jobs.connect(f"{url};amqp://b").parameters
    assert (one.host, one.socket_timeout, one.tcp_options) == ("a", 7.0, {"TCP_USER_TIMEOUT": 9000})
    assert (two.host, two.socket_timeout) == ("b", connection.TIMEOUT_S)
    assert two.tcp_options == connection.TCP


def test_a_unix_socket_has_no_keepalives():
    broker = jobs.connect("unix:///nowhere/redis.sock")

    with pytest.raises(redis.ConnectionError):
        broker.client.ping()


def test_a_silent_rabbitmq_is_tried_once_for_a_message(monkeypatch: pytest.MonkeyPatch):
    # Given a server to which nobody can connect in time
    monkeypatch.setattr(rabbitmq, "SLOW_S", 0.0)
    tried: list[object] = []

    def connect(parameters: object) -> None:
        tried.append(parameters)
        raise pika.exceptions.AMQPConnectionError("timed out")

    monkeypatch.setattr(pika, "BlockingConnection", connect)
    broker = jobs.connect("amqp://127.0.0.1:1")

    # When a message is sent, I expect one attempt, where Dramatiq makes two to declare the queue,
    # and six of these
    with pytest.raises(ConnectionClosed):
        broker.enqueue(dramatiq.Message("default", "work", (), {}, {}))
    assert len(tried) == 1

    # And another one a moment later
    monkeypatch.setattr(rabbitmq, "LEFT_ALONE_S", 0.0)
    broker._left_alone_until = 0.0
    with pytest.raises(ConnectionClosed):
        broker.enqueue(dramatiq.Message("default", "work", (), {}, {}))
    assert len(tried) > 1


def test_rabbitmq_hears_from_a_consumer_more_often_than_a_lease_is_long():
    broker = jobs.connect("amqp://a;amqp://b?heartbeat=60", lease_s=10)

    assert [each.heartbeat for each in rabbitmq._with_heartbeat(broker)] == [2, 60]
    # Connections that only send have nobody who answers heartbeats
    assert [each.heartbeat for each in broker.parameters] == [None, 60]


def test_a_worker_without_orders_takes_no_jobs():
    scheduler = FairScheduler(2, {})
    scheduler.pause(["carrierwave"], everything=False, for_s=math.inf)
    assert [scheduler.is_paused(queue) for queue in ("default", "carrierwave")] == [False, True]

    # When its orders no longer hold, I expect all queues to be paused, until it has new ones
    scheduler.pause([], everything=False, for_s=0.0)
    assert scheduler.is_paused("default")
    scheduler.pause([], everything=False)
    assert not scheduler.is_paused("default")


def test_a_worker_that_is_cut_off_from_the_database_gives_its_jobs_to_others(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
):
    # Given a worker of one thread, which is busy while more jobs wait with it
    monkeypatch.setattr(heartbeat, "LOOK_S", 0.05)
    monkeypatch.setattr(heartbeat, "ORDERS_HOLD_S", 0.3)
    let_go, taken = threading.Event(), []

    @dramatiq.actor
    def work(number: int) -> None:
        taken.append(number)
        let_go.wait(60)

    broker = dramatiq.get_broker()
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    for number in range(3):
        jobs.enqueue("work", number)
    eventually(lambda: taken == [0])

    # When it cannot read its orders any more
    def lost(*_: object) -> None:
        raise ConnectionError("the database says nothing")

    with monkeypatch.context() as cut_off:
        cut_off.setattr(Heartbeat, "_look", lost)

        # I expect it to end its job, to give back what it has fetched, and to begin nothing
        eventually(lambda: broker.scheduler.is_paused("default"))
        let_go.set()
        eventually(lambda: jobs.Job.select().count() == 2)
        eventually(lambda: outbox.queued() == 2)
        assert taken == [0]

    # And to go on when it can
    eventually(lambda: jobs.Job.select().count() == 0)
    assert sorted(taken) == [0, 1, 2]
    worker.stop()


def test_a_message_whose_row_cannot_be_read_goes_to_another_worker_soon():
    waits = [OutboxUnavailable(OSError("away"), times).delay / 1000 for times in range(8)]

    assert waits == [1, 2, 4, 8, 16, 32, LAST_RETRY_S, LAST_RETRY_S]


def test_a_message_waits_as_often_as_it_says(outbox: Outbox, monkeypatch: pytest.MonkeyPatch):
    # Given a worker's middleware whose database is away, and a message with an odd count
    broker = dramatiq.get_broker()
    [rows] = [each for each in broker.middleware if type(each).__name__ == "OutboxRows"]
    errors: list[Exception] = [peewee.OperationalError("away")] * 5

    def take(*_: object) -> None:
        raise errors.pop() if errors else ZeroDivisionError

    monkeypatch.setattr(rows._leases, "take", take)
    delays: list[int] = []
    monkeypatch.setattr(broker, "enqueue", lambda _, delay: delays.append(delay))

    def process(unread: object) -> None:
        options = {"outbox_id": "1" * 32, "unread": unread}
        message = dramatiq.Message("default", "work", (), {}, options)
        rows.before_process_message(broker, MessageProxy(message))

    for unread in (3, None, "many", -5, 10**9):
        with pytest.raises(SkipMessage):
            process(unread)
    assert [delay / 1000 for delay in delays] == [8, 1, 1, 1, LAST_RETRY_S]

    # And where the message itself may be at fault, I expect it to use up its retries
    with pytest.raises(OutboxUnavailable):
        process(3)
    assert len(delays) == 5
