"""Makes a broker from a URL, with the middleware that every job of ours needs.

`connect()` only makes the object; the first message or `ping()` opens a connection. It loads only
the client that the URL needs.
"""

import importlib.util
import re
import socket
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import dramatiq
import dramatiq.broker
from dramatiq.middleware import Middleware, default_middleware

from gifster.jobs.asking import BrokerUnavailable, ping
from gifster.jobs.brokers.base import FairBroker
from gifster.jobs.brokers.fair import QueueWeight
from gifster.jobs.group_limits import MAX_PER_GROUP
from gifster.jobs.heartbeat import Heartbeat
from gifster.jobs.job import identity
from gifster.jobs.lease import LEASE_S
from gifster.jobs.middleware import (
    DatabaseConnection,
    EndWithParent,
    JobLog,
    LeftTransactions,
)
from gifster.jobs.outbox_rows import OutboxRows
from gifster.jobs.sending import made_by_dramatiq, send_bulk, send_many

if TYPE_CHECKING:
    from gifster.jobs.brokers.stub import StubBroker

__all__ = ["NAMESPACE", "BrokerUnavailable", "connect", "ping", "send_bulk", "send_many"]

SCHEMES = ("redis", "rediss", "unix", "amqp", "amqps", "stub")
#: How long a command waits for the broker (seconds). A dead broker must not block an upload: the
#: job's row is in the outbox, and the relay sends it later.
TIMEOUT_S = 3.0
#: How long a server's machine may be silent, which acknowledges nothing that we send (seconds): TCP
#: (RFC 5482) gives the connection up then. A server that is only busy is not silent.
SILENT_S = 2.0
#: How long a connection that waits is idle before TCP asks whether the peer is there (seconds).
KEEPALIVE_S = 5
TCP = {
    "TCP_KEEPIDLE": KEEPALIVE_S,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 2,
    "TCP_USER_TIMEOUT": round(SILENT_S * 1000),
}
#: A worker process that sent no command for as long as a lease, and for at least so long (seconds),
#: counts as dead: the messages that it had fetched and not begun go back to their queue. Each
#: consumer sends a command every few seconds. A message that comes twice is skipped, as its row is
#: leased.
MIN_HEARTBEAT_TIMEOUT_S = 5.0
#: Dramatiq's own prefix of its keys in Redis.
NAMESPACE = "dramatiq"
#: Other characters would be a pattern where Dramatiq's script looks for keys.
_NAMESPACE = re.compile(r"[A-Za-z0-9_.:-]+")


def connect(  # noqa: PLR0913 options, each with a default
    url: str,
    middleware: Sequence[Middleware] = (),
    lease_s: float = LEASE_S,
    weights: Mapping[str, QueueWeight] | None = None,
    max_memory_bytes: int | None = None,
    *,
    shares: Mapping[str, QueueWeight] | None = None,
    namespace: str = NAMESPACE,
    max_priority: int | None = None,
    max_per_group: int = MAX_PER_GROUP,
) -> dramatiq.Broker:
    """Make a Dramatiq broker, and make it the broker of this process (`dramatiq.set_broker`).

    Actors belong to the broker that is set when they are declared, so call this before. Actors that
    were declared while no broker was set are taken over.

    Parameters:
      url: `redis://`, `rediss://` or `unix://`, as redis-py reads them; `amqp://` or `amqps://`, as
        pika does; `stub://` for tests, which need no server (see `brokers/stub.py`). It takes all
        options, so that tests can import the module of an application as it is.
      middleware: the application's own; it runs innermost. One of a kind that Dramatiq adds by
        itself, such as `Retries(max_retries=3)`, takes the place of that one.
      lease_s: how long after a worker's last sign of life its jobs are sent again (seconds).
      weights: by queue, how the threads of a worker process are shared.
      max_memory_bytes: a worker process that uses more finishes its jobs, and is restarted.
      shares: the former name of `weights`; deprecated.
      namespace: the prefix of all keys in Redis, and of the channel that wakes workers up. All
        processes of an application have the same one; each application on one Redis database needs
        its own, of letters, digits and `_ . : -`. On RabbitMQ name a virtual host in the URL.
      max_priority: RabbitMQ's `x-max-priority` of all queues, 1 to 255. Messages with a higher
        option `broker_priority` come first. A queue that exists with another maximum, or with none,
        must be deleted before.
      max_per_group: how many jobs of one group may be with the broker at once; the others wait in
        the outbox (see `groups.py`). One group cannot use more threads than that, in all processes
        together.

    Raises:
      ValueError: the scheme of the URL is not known, the namespace is invalid, a number is 0 or
        less, or this broker does not have an option; says what to do.
      TypeError: a weight is no `QueueWeight`.
      ModuleNotFoundError: the URL is RabbitMQ's, and pika is not installed.
    """
    if shares is not None:
        warnings.warn(
            "jobs.connect(shares=…) is deprecated: write weights=…",
            DeprecationWarning,
            stacklevel=2,
        )
        weights = shares
    scheme = urlsplit(url).scheme
    _check(scheme, namespace, max_priority)
    _check_positive(lease_s=lease_s, max_memory_bytes=max_memory_bytes, max_per_group=max_per_group)
    for queue, weight in (weights or {}).items():
        if not isinstance(weight, QueueWeight):
            raise TypeError(
                f"weights: {queue!r} has {weight!r}: write jobs.QueueWeight({weight!r})"
            )
    # Dramatiq runs the `after_` hooks in reverse: OutboxRows stands before Retries, so it learns
    # whether Retries gave the message up, and the connection is closed last.
    rows = OutboxRows(lease_s)
    every = [
        EndWithParent(),
        Heartbeat(lambda: rows.worker, max_memory_bytes),
        DatabaseConnection(),
        JobLog(),
        rows,
        *_in_place_of_defaults(middleware),
        LeftTransactions(),  # its hook runs after the application's, which may end a transaction
        *(each for each in middleware if not _is_default(each)),
    ]
    broker: FairBroker | StubBroker
    if scheme == "stub":
        broker = _stub(middleware=every)
    elif scheme.startswith("amqp"):
        broker = _rabbitmq(url, max_priority=max_priority, weights=weights, middleware=every)
    else:
        broker = _redis(url, lease_s, namespace=namespace, weights=weights, middleware=every)
    broker.max_per_group, broker.lease_s = max_per_group, lease_s
    _adopt_actors(broker)
    dramatiq.set_broker(broker)
    return broker


def _is_default(each: Middleware) -> bool:
    return isinstance(each, tuple(default_middleware))


def _in_place_of_defaults(middleware: Sequence[Middleware]) -> list[Middleware]:
    """Dramatiq's own middleware; of each kind the application's, if that has one. Two `Retries`
    would each send a retry, and of two `TimeLimit` the shorter one would hold."""
    every: list[Middleware] = []
    for kind in default_middleware:
        every += [each for each in middleware if isinstance(each, kind)] or [kind()]
    return every


def _adopt_actors(broker: dramatiq.Broker) -> None:
    """Take over the actors that were declared before any broker was set: Dramatiq has made one for
    them, which nobody wants. Actors of a broker that somebody set stay with it."""
    before = dramatiq.broker.global_broker
    if before is not None and made_by_dramatiq(before):
        for actor in before.actors.values():
            actor.broker = broker
            broker.declare_actor(actor)


def _check(scheme: str, namespace: str, max_priority: int | None) -> None:
    if scheme not in SCHEMES:
        raise ValueError(f"broker URL {scheme}://…: known are {', '.join(SCHEMES)}")
    if scheme == "stub":
        return
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f"namespace {namespace!r}: letters, digits and _ . : - are allowed")
    if scheme.startswith("amqp") and namespace != NAMESPACE:
        raise ValueError(
            f"namespace {namespace!r}: RabbitMQ has virtual hosts for that; name one in the URL, "
            "amqp://host/name"
        )
    if not scheme.startswith("amqp") and max_priority is not None:
        raise ValueError(
            f"max_priority={max_priority}: only RabbitMQ has it; on Redis give actors a priority"
        )


def _check_positive(**options: float | None) -> None:
    """With 0 jobs of a group in the broker, they all wait for ever; a lease that is over at once
    has each job done several times at the same time."""
    for name, value in options.items():
        if value is not None and not value > 0:
            raise ValueError(f"{name}={value}: use a number above 0")


def _stub(**options: Any) -> "StubBroker":
    from gifster.jobs.brokers.stub import StubBroker  # noqa: PLC0415 see above

    return StubBroker(**options)


def _redis(url: str, lease_s: float, **options: Any) -> FairBroker:
    import redis  # noqa: PLC0415 see above

    from gifster.jobs.brokers.redis import RedisBroker  # noqa: PLC0415

    client = redis.Redis.from_url(url, **redis_timeouts(url))
    timeout_ms = round(max(lease_s, MIN_HEARTBEAT_TIMEOUT_S) * 1000)
    return RedisBroker(client=client, heartbeat_timeout=timeout_ms, identity=identity, **options)


def redis_timeouts(url: str) -> dict[str, Any]:
    """The options of a redis-py client that make it notice in seconds that a server is gone. What
    the URL says wins."""
    tcp = {} if urlsplit(url).scheme == "unix" else {"socket_keepalive_options": keepalives()}
    return {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": SILENT_S,
        "health_check_interval": 30,
        **tcp,
    }


def keepalives() -> dict[int, int]:
    """The TCP options, by number, of a connection on which a silent peer is noticed after
    `SILENT_S` while something is sent, and after a few seconds while nothing is. Systems other than
    Linux lack some of them."""
    return {getattr(socket, name): value for name, value in TCP.items() if hasattr(socket, name)}


def _rabbitmq(url: str, **options: Any) -> FairBroker:
    if importlib.util.find_spec("pika") is None:
        scheme = urlsplit(url).scheme
        raise ModuleNotFoundError(
            f"broker URL {scheme}://…: RabbitMQ needs pika, which is not installed: "
            "pip install 'gifster[rabbitmq]'",
            name="pika",
        )
    from gifster.jobs.brokers.rabbitmq import RabbitmqBroker  # noqa: PLC0415 see above

    return RabbitmqBroker(
        url=[rabbitmq_url(each) for each in url.split(";")], identity=identity, **options
    )


def rabbitmq_url(url: str) -> str:
    """The URL with the options that make pika notice in seconds that a server is gone. What the URL
    says wins."""
    tcp = {name: value for name, value in TCP.items() if hasattr(socket, name)}
    options = {
        "socket_timeout": TIMEOUT_S,
        "stack_timeout": 2 * TIMEOUT_S,
        "blocked_connection_timeout": TIMEOUT_S,
        "tcp_options": quote(repr(tcp)),
    }
    query = urlsplit(url).query
    missing = [f"{name}={value}" for name, value in options.items() if f"{name}=" not in query]
    return url + ("&" if query else "?") + "&".join(missing) if missing else url
