"""Sends messages to the process's broker, and tells what became of each.

Many messages travel in one round trip where the broker can take them. A broker that is away is
asked once, not once for each message; a message that cannot be sent stops no other. One that does
not even refuse connections is left alone until it answers (`circuit.py`). A process without a
broker learns that at once: Dramatiq would make one for this machine, and wait for it.
"""

import importlib.util
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dramatiq
import dramatiq.broker
from dramatiq.errors import BrokerError
from dramatiq.middleware import default_middleware

from gifster.jobs.asking import (
    BrokerUnavailable,
    NoBroker,
    away,
    circuit_to,
    is_of_redis,
    ping,
)
from gifster.jobs.brokers.abilities import abilities, connects_each_thread
from gifster.jobs.circuit import SLOW_S
from gifster.jobs.problem import Problem

logger = logging.getLogger("gifster.jobs")

_NONE = (
    "no broker is set in this process: jobs wait in the outbox until a process that has one relays "
    "them. Call jobs.connect(url) when the process starts, before actors are declared"
)
FOR_TESTS = (
    "the broker stub:// is for tests: its messages are in the memory of one process. Give "
    "jobs.connect() the URL of a server, redis://… or amqp://…"
)
#: Of the process, as its broker is.
_no_broker = Problem(logger)


def current_broker() -> dramatiq.Broker | None:
    """The process's broker; None if nobody has set one, which the log says once."""
    broker = dramatiq.broker.global_broker
    if broker is None or made_by_dramatiq(broker):
        _no_broker.report(_NONE)
        return None
    _no_broker.resolved()
    return broker


def made_by_dramatiq(broker: dramatiq.Broker) -> bool:
    """Whether Dramatiq made the broker, because an actor was declared before one was set. It is for
    RabbitMQ on this machine, and tries six times five connections: a commit would wait 16 seconds.
    Where pika is not installed, it is for Redis on this machine."""
    kind = type(broker)
    if (kind.__module__, kind.__name__) == ("dramatiq.brokers.redis", "RedisBroker"):
        return _is_default_redis(broker)
    if (kind.__module__, kind.__name__) != ("dramatiq.brokers.rabbitmq", "RabbitmqBroker"):
        return False
    its: Any = getattr(broker, "parameters", [])
    if isinstance(its, list):
        return False
    address = (its.host, its.port, its.connection_attempts, its.heartbeat)
    return address == ("127.0.0.1", 5672, 5, 5) and its.blocked_connection_timeout == 30


def _is_default_redis(broker: Any) -> bool:
    """Somebody who writes `RedisBroker()` gets the same, but adds `OutboxRows` to run our jobs."""
    its = broker.client.connection_pool.connection_kwargs
    address = (its.get("host"), its.get("port"), its.get("db"), broker.namespace)
    return (
        address == ("localhost", 6379, 0, "dramatiq")
        and [type(each) for each in broker.middleware] == default_middleware
        and importlib.util.find_spec("pika") is None
    )


def send_each(messages: Sequence[dramatiq.Message[Any]]) -> list[Exception | None]:
    """Send messages, many in a round trip where the broker can.

    Returns:
      for each message None, or why it was not sent: `BrokerUnavailable` if the broker takes no
      message now, any other error if it does not take this one.
    """
    broker = current_broker()
    if broker is None:
        return [NoBroker("no broker is set")] * len(messages)
    circuit = circuit_to(broker)
    if (why := circuit.why_open) is not None:
        return [BrokerUnavailable(why)] * len(messages)
    started = time.monotonic()
    outcomes = _send_to(broker, messages)
    gone = next((error for error in outcomes if isinstance(error, BrokerUnavailable)), None)
    if gone is not None and time.monotonic() - started >= SLOW_S:
        circuit.open(str(gone))
    return outcomes


def _send_to(
    broker: dramatiq.Broker, messages: Sequence[dramatiq.Message[Any]]
) -> list[Exception | None]:
    together = abilities(broker).enqueue_each(messages) if len(messages) > 1 else None
    if together is not None:
        return [None if e is None else away(e) or e for e in together]
    outcomes: list[Exception | None] = []
    for message in messages:
        outcomes.append(_send(broker, message))
        if isinstance(outcomes[-1], BrokerUnavailable):
            break
    return outcomes + outcomes[-1:] * (len(messages) - len(outcomes))


def _send(broker: dramatiq.Broker, message: dramatiq.Message[Any]) -> Exception | None:
    try:
        broker.enqueue(message)
    except Exception as error:  # noqa: BLE001 whatever it is, the other messages are sent
        if isinstance(error, BrokerError) and connects_each_thread(broker):
            return _unless_it_answers(broker, error)
        return away(error) or error
    return None


def _unless_it_answers(broker: dramatiq.Broker, error: Exception) -> Exception:
    """The error as it is, or `BrokerUnavailable`. RabbitMQ also closes the connection over one bad
    queue, so ask whether it answers."""
    try:
        ping(broker)
    except BrokerUnavailable:
        return BrokerUnavailable(str(error))
    return error


def send_many(messages: Iterable[dramatiq.Message[Any]]) -> int:
    """Send many jobs without the outbox, several hundred in a round trip:
    `send_many(resize.message(n) for n in numbers)`. Messages that were sent stay sent if a later
    one fails.

    Returns:
      how many messages were sent.

    Raises:
      BrokerUnavailable: the broker did not answer, or there is none; says why.
    """
    broker = _broker_to_send_to()
    with _unavailable_if_away():
        sent = abilities(broker).enqueue_many(messages)
        return _one_by_one(broker, messages) if sent is None else sent


def send_bulk(actor: dramatiq.Actor[..., Any], arguments: Iterable[Sequence[Any]]) -> int:
    """Send a job of an actor for each of many arguments, as `send_many()` does and several times as
    quickly: `send_bulk(resize, [(1, "small"), (2, "small")])` (Sidekiq's `push_bulk`).

    Parameters:
      arguments: for each job its positional arguments.

    Returns:
      how many jobs were sent.

    Raises:
      BrokerUnavailable: the broker did not answer, or there is none; says why.
      TypeError: JSON cannot hold an argument, or the arguments of a job are a text.
    """
    each = map(_not_a_text, arguments)
    broker = _broker_to_send_to()
    with _unavailable_if_away():
        sent = abilities(broker).enqueue_calls(actor, each)
        if sent is None:
            sent = _one_by_one(broker, (actor.message(*values) for values in each))
        return sent


def _not_a_text(values: Sequence[Any]) -> Sequence[Any]:
    """The arguments of a job. A text would be one argument for each of its characters."""
    if isinstance(values, str | bytes):
        raise TypeError(f"arguments of a job are {values!r}: write a list, such as [{values!r}]")
    return values


def _broker_to_send_to() -> dramatiq.Broker:
    broker = current_broker()
    if broker is None:
        raise NoBroker("no broker is set: call jobs.connect(url) first")
    return broker


def _one_by_one(broker: dramatiq.Broker, messages: Iterable[dramatiq.Message[Any]]) -> int:
    return len([broker.enqueue(message) for message in messages])


@contextmanager
def _unavailable_if_away() -> Iterator[None]:
    """Raise an error of the broker as `BrokerUnavailable`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, BrokerError) or is_of_redis(error):
            raise BrokerUnavailable(str(error)) from error
        raise
