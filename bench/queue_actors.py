"""The jobs of `bench/queues.py` for the kinds that are Dramatiq's: ours and its own.

A worker loads it as a module (`dramatiq bench.queue_actors`, or `dramatiq gifster.actors
bench.queue_actors`); run by itself, it is the enqueuing side (`queue_client.py`).
"""

import os
import time

import dramatiq
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
    """The broker of a kind: ours in the application, ours alone, or Dramatiq's own."""
    client = redis.Redis.from_url(url)
    if kind == "application":
        from gifster.actors import broker  # noqa: PLC0415 it boots the process

        return broker
    broker = (
        RedisBroker(weights=WEIGHTS, client=client)
        if kind == "broker"
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


def main() -> None:
    """Enqueue as told."""
    from bench.queue_client import obey  # noqa: PLC0415 workers do without

    commands = {
        "one": lambda count: [no_op.send() for _ in range(count)],
        "when": when.send,
        "hold": hold.send,
        "note": lambda queue, count: [noted[queue].send() for _ in range(count)],
    }
    if KIND != "stock":
        commands["many"] = lambda count: jobs.send_bulk(no_op, ([] for _ in range(count)))
    if os.environ.get("BENCH_OUTBOX"):
        commands["one"] = lambda count: [jobs.enqueue("no_op") for _ in range(count)]
        commands["many"] = _in_one_transaction
        commands["when"] = lambda: jobs.enqueue("when")
        commands["hold"] = lambda: jobs.enqueue("hold")
        commands["relay"] = jobs.relay
        commands["forget"] = lambda: jobs.Job.delete().execute()
    obey(commands)


def _in_one_transaction(count: int) -> None:
    for _ in range(0, count, 500):
        with jobs.transaction(jobs.Job._meta.database):
            for _ in range(500):
                jobs.enqueue("no_op")


KIND = os.environ.get("BENCH_KIND", "")
if KIND:
    declare(connect(KIND, os.environ["BENCH_URL"]))
if __name__ == "__main__":
    main()
