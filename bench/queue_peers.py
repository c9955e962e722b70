"""The jobs of `bench/queues.py` for Celery, RQ, Huey and Procrastinate. It runs in a virtual
environment of the peers only (`BENCH_PEERS`), and loads the one that `BENCH_KIND` names.

`main()` is the enqueuing side (`queue_client.py`). The names of tasks begin with the module's, so
it cannot be run by itself.
"""

import os
import time

import redis
from queue_client import obey

KIND, URL = os.environ["BENCH_KIND"], os.environ["BENCH_URL"]
client = redis.Redis.from_url(URL)


def no_op() -> None:
    pass


def tell_when() -> None:
    client.rpush("when", repr(time.time()))


if KIND == "Celery":
    from celery import Celery

    app = Celery("bench", broker=URL)
    app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
    celery_no_op, celery_when = app.task(no_op), app.task(tell_when)
    commands = {
        "one": lambda count: [celery_no_op.delay() for _ in range(count)],
        "when": celery_when.delay,
    }
elif KIND == "RQ":
    from rq import Queue

    queue = Queue(connection=client)

    def many_rq(count: int) -> None:
        for _ in range(0, count, 500):
            queue.enqueue_many([Queue.prepare_data("queue_peers.no_op") for _ in range(500)])

    commands = {
        "one": lambda count: [queue.enqueue("queue_peers.no_op") for _ in range(count)],
        "many": many_rq,
        "when": lambda: queue.enqueue("queue_peers.tell_when"),
    }
elif KIND == "Huey":
    from huey import RedisHuey

    huey = RedisHuey("bench", url=URL, results=False)
    huey_no_op, huey_when = huey.task()(no_op), huey.task()(tell_when)
    commands = {
        "one": lambda count: [huey_no_op() for _ in range(count)],
        "when": huey_when,
    }
else:
    from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

    database = os.environ["BENCH_POSTGRESQL"]
    synchronous = "BENCH_CLIENT" in os.environ
    connector = SyncPsycopgConnector if synchronous else PsycopgConnector
    app = App(connector=connector(conninfo=database))
    later_no_op, later_when = app.task(name="no_op")(no_op), app.task(name="when")(tell_when)

    def many_procrastinate(count: int) -> None:
        for _ in range(0, count, 500):
            later_no_op.batch_defer(*[{} for _ in range(500)])

    if synchronous:
        app.open()
        if not app.check_connection():  # no tables yet
            app.schema_manager.apply_schema()
    commands = {
        "one": lambda count: [later_no_op.defer() for _ in range(count)],
        "many": many_procrastinate,
        "when": later_when.defer,
    }


def main() -> None:
    """Enqueue as told."""
    obey(commands)
