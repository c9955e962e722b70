"""The worker's side of `bench/queues.py`."""

import os
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker as StockBroker

from gifster.jobs.redis_broker import RedisBroker
from gifster.jobs.turns import Share

SHARES = {"default": Share(5), "carrierwave": Share(3)}

no_op: dramatiq.Actor
when: dramatiq.Actor
noted: dict[str, dramatiq.Actor] = {}


def connect(kind: str, url: str) -> dramatiq.Broker:
    """Ours, or Dramatiq's own."""
    client = redis.Redis.from_url(url)
    broker = RedisBroker(SHARES, client=client) if kind == "ours" else StockBroker(client=client)
    dramatiq.set_broker(broker)
    return broker


def declare(broker: dramatiq.Broker) -> None:
    """Declare the actors."""
    global no_op, when
    client = broker.client

    @dramatiq.actor(queue_name="default", actor_name="no_op")
    def nothing() -> None:
        pass

    @dramatiq.actor(queue_name="default", actor_name="when")
    def tell_when() -> None:
        client.rpush("when", repr(time.time()))

    def note(queue: str) -> dramatiq.Actor:
        @dramatiq.actor(queue_name=queue, actor_name=f"note_{queue}")
        def started() -> None:
            client.rpush("started", queue)
            time.sleep(0.002)

        return started

    no_op, when = nothing, tell_when
    noted.update({queue: note(queue) for queue in SHARES})


if "BENCH_URL" in os.environ:
    declare(connect(os.environ["BENCH_BROKER"], os.environ["BENCH_URL"]))
