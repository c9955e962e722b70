"""A broker from a URL, with the middleware that every job of ours needs.

`connect()` only makes the object; the first message or `ping()` opens a connection. RabbitMQ's
client is loaded where the URL says so.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import dramatiq
import redis
from dramatiq.middleware import Middleware, default_middleware

from gifster.jobs.brokers.fair import Share
from gifster.jobs.brokers.redis import RedisBroker
from gifster.jobs.heartbeat import Presence
from gifster.jobs.lease import LEASE_S
from gifster.jobs.middleware import DatabaseConnection, EndWithParent, JobLog, OutboxRows
from gifster.jobs.outbox import MAX_PER_GROUP, identity
from gifster.jobs.sending import BrokerUnavailable, ping, send_many

__all__ = ["NAMESPACE", "BrokerUnavailable", "connect", "ping", "send_many"]

SCHEMES = ("redis", "rediss", "unix", "amqp", "amqps")
#: How long a command waits for the broker (seconds). A dead broker must not hold up an upload:
#: the job's row is in the outbox, and the relay sends it later.
TIMEOUT_S = 3.0
#: A worker process that sent no command for as long as a lease, and at least so long (seconds), is
#: taken for dead, and what it had fetched and not begun goes back to its queue. Each consumer polls
#: at least once a second; a message that comes twice is skipped for its lease.
MIN_HEARTBEAT_TIMEOUT_S = 5.0
#: What Dramatiq's keys in Redis begin with, unless it is told otherwise.
NAMESPACE = "dramatiq"
#: A scan for keys takes others for patterns.
_NAMESPACE = re.compile(r"[A-Za-z0-9_.:-]+")


def connect(  # noqa: PLR0913 options, each with a default
    url: str,
    middleware: Sequence[Middleware] = (),
    lease_s: float = LEASE_S,
    shares: Mapping[str, Share] | None = None,
    max_memory_bytes: int | None = None,
    *,
    namespace: str = NAMESPACE,
    max_priority: int | None = None,
    max_per_group: int = MAX_PER_GROUP,
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
      namespace: what all keys in Redis begin with, and the channel that wakes workers up. All
        processes of an application have the same; each application on one Redis database needs
        its own, of letters, digits and `_ . : -`. On RabbitMQ name a virtual host in the URL.
      max_priority: RabbitMQ's `x-max-priority` of all queues, 1 to 255, as Dramatiq's broker takes
        it: messages sent with the option `broker_priority` come first, the highest number first.
        A queue that was made with another one, or with none, must be deleted before.
      max_per_group: how many jobs of one group are with the broker at once; the others wait in the
        outbox (see `groups.py`). One group cannot have more threads than that, of all processes
        together.

    Raises:
      ValueError: the URL's scheme is none of these, the namespace cannot be one, or an option is
        not this broker's; says what to do.
    """
    scheme = urlsplit(url).scheme
    _check(scheme, namespace, max_priority)
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
        broker = _rabbitmq(url, max_priority=max_priority, shares=shares, middleware=every)
    else:
        broker = _redis(url, lease_s, namespace=namespace, shares=shares, middleware=every)
    broker.max_per_group = max_per_group  # type: ignore[attr-defined]
    dramatiq.set_broker(broker)
    return broker


def _check(scheme: str, namespace: str, max_priority: int | None) -> None:
    if scheme not in SCHEMES:
        raise ValueError(f"broker URL {scheme}://…: known are {', '.join(SCHEMES)}")
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f"namespace {namespace!r}: letters, digits and _ . : - make one")
    if scheme.startswith("amqp") and namespace != NAMESPACE:
        raise ValueError(
            f"namespace {namespace!r}: RabbitMQ has virtual hosts for that; name one in the URL, "
            "amqp://host/name"
        )
    if not scheme.startswith("amqp") and max_priority is not None:
        raise ValueError(
            f"max_priority={max_priority}: only RabbitMQ has it; on Redis give actors a priority"
        )


def _redis(url: str, lease_s: float, **options: Any) -> dramatiq.Broker:
    client = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, health_check_interval=30
    )
    timeout_ms = round(max(lease_s, MIN_HEARTBEAT_TIMEOUT_S) * 1000)
    return RedisBroker(client=client, heartbeat_timeout=timeout_ms, identity=identity, **options)


def _rabbitmq(url: str, **options: Any) -> dramatiq.Broker:
    from gifster.jobs.brokers.rabbitmq import RabbitmqBroker  # noqa: PLC0415 see above

    query = urlsplit(url).query
    timeouts = f"socket_timeout={TIMEOUT_S}&blocked_connection_timeout={TIMEOUT_S}"
    if "socket_timeout" not in query:
        url += f"{'&' if query else '?'}{timeouts}"
    return RabbitmqBroker(url=url, identity=identity, **options)
