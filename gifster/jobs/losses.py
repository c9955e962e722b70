"""Notices that a Redis broker has lost jobs: all of them, or those of its last moments.

The relay leaves a mark there in each round: the time by the server's clock, and which run of which
server it is (`run_id`). A broker without the mark is new, or has lost everything. If the mark is of
another run, the server was started again, or is another one that took its place. Then the mark
itself tells how far the data reaches: what was sent before it is there as well. The same holds if
the mark is older than the one that was left last.

Each outbox has its own mark, because the relay of another application, which may come first, sends
its own jobs only.
"""

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dramatiq

from gifster.jobs.asking import unavailable
from gifster.jobs.brokers.abilities import is_redis
from gifster.jobs.identity import identity_of
from gifster.jobs.job import Job
from gifster.jobs.per_outbox import PerOutbox
from gifster.jobs.problem import Problem

if TYPE_CHECKING:
    from dramatiq.brokers.redis import RedisBroker

logger = logging.getLogger("gifster.jobs")

#: How often the relay looks whether the server evicts keys (seconds).
LOOK_EVERY_S = 60.0

#: Writes the mark: a time in seconds, unless another relay has left a later one, and the run.
_MARK = """
local now, mark = tonumber(ARGV[1]), redis.call("get", KEYS[1])
local before = mark and tonumber(string.match(mark, "^%d+")) or 0
if before > now then
    now = before
end
redis.call("set", KEYS[1], string.format("%d %s", now, ARGV[2]))
return now
"""


@dataclass(frozen=True)
class Loss:
    """What a broker has lost.

    Parameters:
      why: for the log.
      since: what was sent before is there (seconds since the epoch, by the server's clock); None if
        nothing is.
      level: of the line in the log.
    """

    why: str
    since: float | None = None
    level: int = logging.WARNING


class Mark:
    """The mark of one outbox, as this process left it last."""

    def __init__(self) -> None:
        self._left = 0
        #: Which run of which server this process has looked at last.
        self._run = ""
        self._looked_at = 0.0
        self._evicts = Problem(logger)

    def look(self, broker: "RedisBroker") -> Loss | None:
        """What the broker has lost since the last mark; None for nothing.

        Raises:
          BrokerUnavailable
        """
        import redis  # noqa: PLC0415 this process has loaded it

        try:
            self._run = now = _run_of(broker)
            found: Any = broker.client.get(_key(broker))
            if found is None:
                return _of_everything(broker)
            if time.monotonic() >= self._looked_at + LOOK_EVERY_S:
                self._look_at_eviction(broker)
            seconds, space, run = found.decode().partition(" ")
            if not space:
                return None  # an earlier release left it, once
            if run and now and run != now:
                return Loss("the broker was restarted or replaced", float(seconds))
            if int(seconds) < self._left:
                return Loss("the broker has older data than before", float(seconds))
        except redis.RedisError as error:
            raise unavailable(error) from error
        return None

    def leave(self, broker: "RedisBroker") -> None:
        """Leave the mark, when what was lost is due to be sent. If the server was restarted or
        replaced since the look, the next one shall find what that has lost.

        Raises:
          BrokerUnavailable
        """
        import redis  # noqa: PLC0415 see above

        try:
            if _run_of(broker) != self._run:
                return
            now: Any = broker.client.time()
            left: Any = broker.client.eval(_MARK, 1, _key(broker), now[0], self._run)
        except redis.RedisError as error:
            raise unavailable(error) from error
        self._left = int(left)

    def _look_at_eviction(self, broker: "RedisBroker") -> None:
        self._looked_at = tried_at = time.monotonic()
        why = evicts(broker)
        if why is not None:
            self._evicts.report(why)
        else:
            self._evicts.resolved("the broker evicts nothing any more", tried_at=tried_at)


mark: PerOutbox[Mark] = PerOutbox(Mark)


def remove_mark(broker: "RedisBroker") -> None:
    """Have the relay find that the broker has lost messages: it sends all waiting jobs again.

    Raises:
      redis.RedisError
    """
    broker.client.delete(_key(broker))


def evicts(broker: "RedisBroker") -> str | None:
    """What is wrong if the server may evict messages, and what to do; None if it does not, or does
    not say.

    Raises:
      redis.RedisError: it does not answer.
    """
    memory = _info(broker, "memory")
    policy, most = str(memory.get("maxmemory_policy", "")), int(memory.get("maxmemory", 0))
    if not most or policy in ("", "noeviction"):
        return None
    return (
        f"the broker evicts data when its {most / 2**20:,.0f} MiB are full (maxmemory-policy is "
        f"{policy}), and jobs are late then: set maxmemory-policy to noeviction"
    )


def doubts(broker: dramatiq.Broker) -> list[str]:
    """What is wrong with a broker that takes messages, and what to do: for each a sentence.

    Raises:
      BrokerUnavailable
    """
    if not is_redis(broker):
        return []
    import redis  # noqa: PLC0415 see above

    try:
        why = evicts(broker)
        found = [why] if why is not None else []
        try:
            with broker.client.pubsub() as pubsub:
                pubsub.subscribe(f"{broker.namespace}:wake-up")
                pubsub.get_message(timeout=1.0)
            broker.client.publish(f"{broker.namespace}:wake-up", "")
        except redis.exceptions.NoPermissionError:
            found.append(
                "the broker's user may not use the channel that wakes the workers, so they poll, "
                f"and jobs start up to a second later: ACL SETUSER … &{broker.namespace}:*"
            )
    except redis.RedisError as error:
        raise unavailable(error) from error
    return found


def _key(broker: "RedisBroker") -> str:
    whose = identity_of(Job._meta.database)
    return f"{broker.namespace}:outbox" + (f":{whose}" if whose else "")


def _run_of(broker: "RedisBroker") -> str:
    """Which run of which server it is; empty if it does not say."""
    return str(_info(broker, "server").get("run_id", ""))


def _info(broker: "RedisBroker", section: str) -> dict[str, Any]:
    import redis  # noqa: PLC0415 see above

    try:
        answer: Any = broker.client.info(section)
    except redis.ResponseError:  # not allowed there
        return {}
    return dict(answer)


def _of_everything(broker: "RedisBroker") -> Loss:
    """A broker that has jobs but no mark is new: they were enqueued before a relay ran for the
    first time."""
    queues: Any = Job.select(Job.queue).where(Job.failed_at.is_null()).distinct().tuples()
    names = [f"{broker.namespace}:{queue}.msgs" for (queue,) in list(queues)]
    if names and broker.client.exists(*names):
        return Loss("this is the relay's first look at this broker", level=logging.INFO)
    return Loss("the broker has nothing of this outbox")
