"""Whether a broker takes messages, and how it says that it does not.

Redis is asked by a write: a full server and a replica answer, and take nothing. redis-py is loaded
only in a process that has a Redis broker.
"""

import sys
import time
from typing import TYPE_CHECKING, Any

import dramatiq
import dramatiq.broker

from gifster.jobs.brokers.abilities import connects_each_thread, is_redis
from gifster.jobs.circuit import SLOW_S, Circuit, circuit_of

if TYPE_CHECKING:
    from dramatiq.brokers.redis import RedisBroker

#: How long the key stays that shows that Redis takes a write (seconds).
PROBE_S = 60
_PROBE = 'redis.call("set", KEYS[1], ARGV[1], "EX", ARGV[2])'


class BrokerUnavailable(Exception):
    """The broker did not answer, takes no messages now, or this process has none."""


class NoBroker(BrokerUnavailable):
    """This process has no broker; the log says so."""


def away(error: Exception) -> BrokerUnavailable | None:
    """The error as `BrokerUnavailable`, if Redis takes no messages now, whatever they say."""
    if not is_of_redis(error):
        return None
    from gifster.jobs.brokers.refusals import concerns_all, explained  # noqa: PLC0415 see above

    return BrokerUnavailable(explained(error)) if concerns_all(error) else None


def unavailable(error: Exception) -> BrokerUnavailable:
    """An error of the broker, as one that says in words why it takes nothing."""
    return away(error) or BrokerUnavailable(str(error) or type(error).__name__)


def is_of_redis(error: Exception) -> bool:
    """Whether redis-py raised the error."""
    loaded = sys.modules.get("redis")
    return loaded is not None and isinstance(error, loaded.RedisError)


def ping(broker: dramatiq.Broker) -> str:
    """Ask a broker whether it answers and takes messages. On Redis it writes a key that expires:
    a server that is full, or a replica, answers and takes none.

    Returns:
      `PONG`.

    Raises:
      BrokerUnavailable: it did not answer, or takes no messages; says why.
    """
    tried_at = time.monotonic()
    try:
        _ask(broker)
    except Exception as error:
        raise unavailable(error) from error
    circuit_to(broker).close(tried_at=tried_at)
    return "PONG"


def ask_again(broker: dramatiq.Broker) -> None:
    """Ask a broker as `ping()` does, for somebody who does so every few seconds: while the broker
    does not even refuse, a thread asks, and nobody waits.

    Raises:
      BrokerUnavailable: as `ping()`.
    """
    its, started = circuit_to(broker), time.monotonic()
    if (why := its.why_open) is not None:
        raise BrokerUnavailable(why)
    try:
        ping(broker)
    except BrokerUnavailable as error:
        if time.monotonic() - started >= SLOW_S:
            its.open(str(error))
        raise


def trouble() -> str:
    """Why the broker of this process takes no messages; empty if it does, or if none is set."""
    broker = dramatiq.broker.global_broker
    if broker is None:
        return ""
    try:
        ask_again(broker)
    except BrokerUnavailable as error:
        return str(error)
    return ""


def circuit_to(broker: dramatiq.Broker) -> Circuit:
    """The circuit of a broker, which leaves it alone while it does not answer."""
    return circuit_of(broker, _ask)


def _ask(broker: dramatiq.Broker) -> None:
    """Ask a broker whether it takes messages; raise its error if it does not. One of which nobody
    knows how to ask it counts as if it did: what it does not take, it refuses."""
    if is_redis(broker):
        _write(broker)
    elif connects_each_thread(broker):
        _open_a_channel(broker)


def _write(broker: "RedisBroker") -> None:
    """Write into Redis by a script, as all jobs do: reading and `PING` say nothing about that."""
    try:
        script = broker.client.register_script(_PROBE)
        script(keys=[f"{broker.namespace}:__probe__"], args=[int(time.time()), PROBE_S])
    except Exception as error:
        from gifster.jobs.brokers.refusals import leave_a_replica  # noqa: PLC0415 see above

        leave_a_replica(broker.client.connection_pool, error)
        raise


def _open_a_channel(broker: Any) -> None:
    """Open a channel, because RabbitMQ has no ping."""
    try:
        broker.connection.channel().close()
    except Exception:  # noqa: BLE001 the connection has timed out, as idle ones do
        del broker.connection  # the next access opens another
        broker.connection.channel().close()
