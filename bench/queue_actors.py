"""The worker's side of `bench/queues.py`."""

import os
import time

import dramatiq
import peewee
import redis
from dramatiq.brokers.redis import RedisBroker as StockBroker

from gifster import jobs
from gifster.jobs import QueueWeight
from gifster.jobs.brokers.redis import RedisBroker

WEIGHTS = {"default": QueueWeight(5), "carrierwave": QueueWeight(3)}

no_op: dramatiq.Actor
when: dramatiq.Actor
hold: dramatiq.Actor
noted: dict[str, dramatiq.Actor] = {}


def connect(kind: str, url: str) -> dramatiq.Broker:
    """Ours, alone or with everything that it has in an application, or Dramatiq's own."""
    client = redis.Redis.from_url(url)
    if kind == "ours, with the outbox":
        database = peewee.SqliteDatabase(
            os.environ["BENCH_DATABASE"], pragmas={"journal_mode": "wal"}, timeout=15
        )
        database.bind(jobs.TABLES)
        return jobs.connect(url, weights=WEIGHTS)
    broker = (
        RedisBroker(weights=WEIGHTS, client=client)
        if kind == "ours"
        else StockBroker(client=client)
    )
    dramatiq.set_broker(broker)
    return broker


def declare(broker: dramatiq.Broker) -> None:
    """Declare the actors."""
    global no_op, when, hold
    client = broker.client

    @dramatiq.actor(queue_name="default", actor_name="no_op")
    def nothing() -> None:
        pass

    @dramatiq.actor(queue_name="default", actor_name="when")
    def tell_when() -> None:
        client.rpush("when", repr(time.time()))

    @dramatiq.actor(queue_name="default", actor_name="hold")
    def wait() -> None:
        client.rpush("held", os.getpid())
        time.sleep(600)

    def note(queue: str) -> dramatiq.Actor:
        @dramatiq.actor(queue_name=queue, actor_name=f"note_{queue}")
        def started() -> None:
            client.rpush("started", queue)
            time.sleep(0.002)

        return started

    no_op, when, hold = nothing, tell_when, wait
    noted.update({queue: note(queue) for queue in WEIGHTS})


if "BENCH_URL" in os.environ:
    declare(connect(os.environ["BENCH_BROKER"], os.environ["BENCH_URL"]))
