"""A broker from a URL, with the middleware that every job of ours needs.

`connect()` only makes the object; the first message or `ping()` opens a connection. RabbitMQ's
client is loaded where the URL says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import dramatiq
import redis
from dramatiq.errors import BrokerError
from dramatiq.middleware import Middleware, default_middleware

from gifster.jobs.lease import LEASE_S
from gifster.jobs.middleware import DatabaseConnection, EndWithParent, JobLog, OutboxRows
from gifster.jobs.presence import Presence
from gifster.jobs.redis_broker import RedisBroker
from gifster.jobs.turns import Share

SCHEMES = ("redis", "rediss", "unix", "amqp", "amqps")
#: How long a command waits for the broker (seconds). A dead broker must not hold up an upload:
#: the job's row is in the outbox, and the relay sends it later.
TIMEOUT_S = 3.0
#: A worker process that sent no command for as long as a lease, and at least so long (seconds), is
#: taken for dead, and what it had fetched and not begun goes back to its queue. Each consumer polls
#: at least once a second; a message that comes twice is skipped for its lease.
MIN_HEARTBEAT_TIMEOUT_S = 5.0


class BrokerUnavailable(Exception):
    """The broker did not answer."""


def connect(
    url: str,
    middleware: Sequence[Middleware] = (),
    lease_s: float = LEASE_S,
    shares: Mapping[str, Share] | None = None,
    max_memory_bytes: int | None = None,
) -> dramatiq.Broker:
    """Make a Dramatiq broker and make it the process's own (`dramatiq.set_broker`).

    Parameters:
      url: `redis://`, `rediss://` or `unix://`, as redis-py reads them; `amqp://` or `amqps://`, as
        pika does.
      middleware: what the application adds; it runs innermost.
      lease_s: how long after a worker's last sign of life its jobs are sent again (seconds).
      shares: what each queue gets of the threads of a worker process.
      max_memory_bytes: a worker process that has more in memory finishes the jobs that it has, and
        is started anew.

    Raises:
      ValueError: the URL's scheme is none of these.
    """
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ValueError(f"broker URL {scheme}://…: known are {', '.join(SCHEMES)}")
    # Dramatiq runs the `after_` hooks in reverse: OutboxRows, standing before Retries, learns
    # whether Retries gave the message up, and the connection closes after everything else.
    rows = OutboxRows(lease_s)
    every = [
        EndWithParent(),
        Presence(lambda: rows.worker, max_memory_bytes),
        DatabaseConnection(),
        JobLog(),
        rows,
        *(factory() for factory in default_middleware),
        *middleware,
    ]
    if scheme.startswith("amqp"):
        broker = _rabbitmq(url, shares=shares, middleware=every)
    else:
        broker = _redis(url, lease_s, shares=shares, middleware=every)
    dramatiq.set_broker(broker)
    return broker


def _redis(url: str, lease_s: float, **options: Any) -> dramatiq.Broker:
    client = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, health_check_interval=30
    )
    timeout_ms = round(max(lease_s, MIN_HEARTBEAT_TIMEOUT_S) * 1000)
    return RedisBroker(client=client, heartbeat_timeout=timeout_ms, **options)


def _rabbitmq(url: str, **options: Any) -> dramatiq.Broker:
    from gifster.jobs.rabbitmq_broker import RabbitmqBroker  # noqa: PLC0415 see above

    query = urlsplit(url).query
    timeouts = f"socket_timeout={TIMEOUT_S}&blocked_connection_timeout={TIMEOUT_S}"
    if "socket_timeout" not in query:
        url += f"{'&' if query else '?'}{timeouts}"
    return RabbitmqBroker(url=url, **options)


def send_many(messages: Iterable[dramatiq.Message[Any]]) -> int:
    """Send many jobs without an outbox, some hundred in a round trip:
    `send_many(resize.message(n) for n in numbers)`. One that is sent is not taken back if a later
    one cannot be.

    Returns:
      how many were sent.

    Raises:
      BrokerUnavailable: the broker did not answer; says why.
    """
    broker = dramatiq.get_broker()
    try:
        if isinstance(broker, RedisBroker):
            return broker.enqueue_many(messages)
        return len([broker.enqueue(message) for message in messages])
    except (redis.RedisError, BrokerError) as error:
        raise BrokerUnavailable(str(error)) from error


def ping(broker: dramatiq.Broker) -> str:
    """Ask the broker for a sign of life.

    Returns:
      `PONG`.

    Raises:
      BrokerUnavailable: there was no answer; says why.
    """
    try:
        if isinstance(broker, RedisBroker):
            broker.client.ping()
        else:
            _open_a_channel(broker)
    except Exception as error:
        raise BrokerUnavailable(str(error) or type(error).__name__) from error
    return "PONG"


def _open_a_channel(broker: Any) -> None:
    """RabbitMQ has no ping; an answer to the opening of a channel is as good."""
    try:
        broker.connection.channel().close()
    except Exception:  # noqa: BLE001 it has timed out, as idle connections do
        del broker.connection  # the next one opens another
        broker.connection.channel().close()
