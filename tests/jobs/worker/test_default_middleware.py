"""Dramatiq's middleware: what it adds by itself, the application's of the same kind, and others."""

import asyncio

import dramatiq
from dramatiq.middleware import (
    AsyncIO,
    CurrentMessage,
    Retries,
    TimeLimit,
    default_middleware,
)

from gifster import jobs
from gifster.jobs import Job
from tests.jobs.conftest import Outbox
from tests.jobs.workers import workers
from tests.machine import eventually


class Patient(TimeLimit):
    """As an application may derive one."""


def test_an_applications_retries_take_the_place_of_the_default_ones(outbox: Outbox):
    # Given an application that allows each job one retry
    retries = Retries(max_retries=1, min_backoff=10, max_backoff=10)
    broker = jobs.connect(outbox.broker_url, middleware=[retries])
    tried: list[str] = []

    @dramatiq.actor
    def fail(name: str) -> None:
        tried.append(name)
        raise RuntimeError("no luck")

    # When a job fails each time
    jobs.enqueue(fail, "ann")
    with workers(broker, worker_timeout=50) as start:
        start()

        # I expect it to be dead after that retry, and none to be on its way
        eventually(lambda: Job.get().failed_at is not None)
    assert tried == ["ann", "ann"]
    assert outbox.queued("default.DQ") == 0


def test_of_each_kind_there_is_one_in_dramatiqs_order(outbox: Outbox):
    mine = [CurrentMessage(), Retries(), Patient(time_limit=3_600_000)]

    broker = jobs.connect(outbox.broker_url, middleware=mine)

    kinds = tuple(default_middleware)
    found = [each for each in broker.middleware if isinstance(each, kinds)]
    assert [kind for each in found for kind in kinds if isinstance(each, kind)] == list(kinds)
    assert set(mine) <= set(broker.middleware)
    assert broker.middleware[-1] is mine[0]


def test_an_actor_is_told_its_job_and_its_attempt(outbox: Outbox):
    broker = jobs.connect(outbox.broker_url, middleware=[AsyncIO(), CurrentMessage()])
    seen: list[tuple[str, int, str]] = []

    def look() -> None:
        message = CurrentMessage.get_current_message()
        seen.append((message.options["outbox_id"], message.options["retries"], message.queue_name))

    @dramatiq.actor(queue_name="images", min_backoff=10, max_backoff=10)
    async def fetch() -> None:
        await asyncio.to_thread(look)
        if len(seen) < 2:
            raise RuntimeError("no luck")

    job = jobs.enqueue(fetch)
    with workers(broker, worker_timeout=50) as start:
        start()
        eventually(lambda: Job.select().count() == 0)

    assert seen == [(job.id, 0, "images"), (job.id, 1, "images")]
