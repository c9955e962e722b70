"""What everybody may expect of the RabbitMQ broker, as of Dramatiq's own."""

from collections.abc import Iterator

import dramatiq
import pika
import pytest

from gifster import jobs
from gifster.jobs.brokers.rabbitmq import RabbitmqBroker
from tests.jobs.brokers.servers import OnRabbitmq
from tests.machine import eventually


@pytest.fixture
def on_rabbitmq(rabbitmq: str) -> Iterator[OnRabbitmq]:
    made = OnRabbitmq(jobs.connect(rabbitmq), rabbitmq)
    yield made
    made.broker.close()


def test_rabbitmq_is_not_connected_to_before_it_is_needed(rabbitmq: str):
    broker = jobs.connect(rabbitmq)
    broker.declare_queue("lazy")

    assert broker.connections == set()


def test_a_queue_that_was_deleted_is_declared_again_by_a_send(on_rabbitmq: OnRabbitmq):
    work = on_rabbitmq.actor(print)
    work.send()
    on_rabbitmq.broker.channel.queue_delete(on_rabbitmq.queue)

    work.send()

    eventually(lambda: on_rabbitmq.waiting() == 1)


def test_a_queue_that_was_deleted_is_declared_again_by_its_consumer(
    on_rabbitmq: OnRabbitmq, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.01)
    done: list[int] = []
    work = on_rabbitmq.actor(done.append)
    worker = dramatiq.Worker(on_rabbitmq.broker, worker_threads=1, worker_timeout=100)
    worker.start()
    work.send(1)
    eventually(lambda: done == [1])

    on_rabbitmq.broker.channel.queue_delete(on_rabbitmq.queue)
    work.send(2)

    eventually(lambda: done == [1, 2])
    worker.stop()


def test_a_worker_goes_on_after_its_connections_were_closed(
    on_rabbitmq: OnRabbitmq, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.01)
    done: list[int] = []
    work = on_rabbitmq.actor(done.append)
    worker = dramatiq.Worker(on_rabbitmq.broker, worker_threads=1, worker_timeout=100)
    worker.start()
    work.send(1)
    eventually(lambda: done == [1])

    for thread in worker.consumers.values():
        connection = eventually(lambda thread=thread: thread.consumer).connection
        connection.add_callback_threadsafe(connection.close)
    work.send(2)

    eventually(lambda: 2 in done)
    worker.stop()


def test_an_acknowledgement_of_an_unknown_message_does_nothing(on_rabbitmq: OnRabbitmq):
    consumer = on_rabbitmq.broker.consume(on_rabbitmq.queue, timeout=100)
    unknown = dramatiq.broker.MessageProxy(
        dramatiq.Message(on_rabbitmq.queue, "nobody", (), {}, {})
    )
    unknown._tag = 7

    consumer.ack(unknown)
    consumer.nack(unknown)

    consumer.close()


def test_a_message_that_rabbitmq_cannot_decode_is_a_dead_letter(on_rabbitmq: OnRabbitmq):
    on_rabbitmq.put(b"\xff no message")
    consumer = on_rabbitmq.broker.consume(on_rabbitmq.queue, timeout=5_000)

    assert next(consumer) is None

    consumer.close()
    eventually(lambda: on_rabbitmq.dead() == 1)


def test_a_second_address_serves_where_the_first_is_away(rabbitmq: str):
    broker = RabbitmqBroker(url=["amqp://127.0.0.1:1", rabbitmq])

    assert broker.connection.is_open
    broker.close()


def test_rabbitmq_keeps_messages_over_a_restart(on_rabbitmq: OnRabbitmq):
    on_rabbitmq.actor(print).send()

    method, properties, _ = eventually(
        lambda: (
            found if (found := on_rabbitmq.broker.channel.basic_get(on_rabbitmq.queue))[0] else None
        )
    )

    assert method.routing_key == on_rabbitmq.queue
    assert properties.delivery_mode == pika.DeliveryMode.Persistent.value
