"""What a broker can do beyond Dramatiq's interface; nobody else asks a broker what it has.

Brokers of ours say so by what they override of `Abilities`. Any other broker of Dramatiq's can take
jobs of ours, too: `abilities()` then returns the defaults, and each of these says "cannot". What
Dramatiq's own brokers need is told by their class. That loads neither redis-py nor pika. See
decision 106.
"""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeGuard

import dramatiq

from gifster.jobs.brokers.fair import FairScheduler, QueueWeight

if TYPE_CHECKING:
    from dramatiq.brokers.redis import RedisBroker


class Abilities:
    """What a broker of ours can do. Mixed in before one of Dramatiq's brokers.

    Attributes:
      weights: how the threads of a worker process are shared, by queue.
      max_per_group: how many jobs of a group may be with the broker at once; None for
        `MAX_PER_GROUP`.
      lease_s: how long the workers' leases hold (seconds); None for `LEASE_S`.
      scheduler: shares the threads of this worker process; None if the broker does not share them,
        or no worker has booted.
    """

    weights: Mapping[str, QueueWeight] = MappingProxyType({})
    max_per_group: int | None = None
    lease_s: float | None = None
    scheduler: FairScheduler | None = None

    def enqueue_many(self, messages: Iterable[dramatiq.Message[Any]]) -> int | None:
        """Enqueue messages, many in a round trip.

        Returns:
          how many messages there were; None if it takes one at a time, and has taken none.

        Raises:
          Exception: why the first message that could not be enqueued was not.
        """
        return None

    def enqueue_calls(
        self, actor: dramatiq.Actor[..., Any], arguments: Iterable[Sequence[Any]]
    ) -> int | None:
        """Enqueue a message of an actor for each of these arguments, as `enqueue_many()` does."""
        return None

    def enqueue_each(
        self, messages: Sequence[dramatiq.Message[Any]]
    ) -> list[Exception | None] | None:
        """Enqueue messages as `enqueue_many()` does, but go on after one that cannot be enqueued. A
        server that takes no messages now is asked once.

        Returns:
          for each message None, or why it was not enqueued; None if it takes one at a time.
        """
        return None

    def remove(self, queue: str, rows: Collection[str]) -> int:
        """Remove the messages that name one of these rows of the outbox, and return how many."""
        return 0

    def may_hold(self, queue: str, running: int) -> bool:
        """Whether it may have more messages of a queue than those of so many running jobs; True if
        it cannot tell."""
        return True

    def mend(self, queue: str) -> int:
        """Put messages back into a queue that the server has and no worker would get, and return
        how many."""
        return 0


class _Foreign(Abilities):
    """Of a broker that is not ours: nothing but the settings, which may be set on any broker."""

    def __init__(self, broker: dramatiq.Broker | None) -> None:
        self.max_per_group = getattr(broker, "max_per_group", None)
        self.lease_s = getattr(broker, "lease_s", None)


def abilities(broker: dramatiq.Broker | None) -> Abilities:
    """What a broker can do: a broker of ours itself; the defaults for any other, and for none."""
    return broker if isinstance(broker, Abilities) else _Foreign(broker)


def is_redis(broker: dramatiq.Broker) -> "TypeGuard[RedisBroker]":
    """Whether it is Dramatiq's broker for Redis, or ours."""
    loaded = sys.modules.get("dramatiq.brokers.redis")
    return loaded is not None and isinstance(broker, loaded.RedisBroker)


def is_stub(broker: dramatiq.Broker) -> bool:
    """Whether it is Dramatiq's broker for tests, or ours."""
    loaded = sys.modules.get("dramatiq.brokers.stub")
    return loaded is not None and isinstance(broker, loaded.StubBroker)


def connects_each_thread(broker: dramatiq.Broker) -> bool:
    """Whether each thread has a `connection`, as with Dramatiq's broker for RabbitMQ and ours: to
    read it opens one, to delete it closes that."""
    return hasattr(type(broker), "connection")
