"""The middleware that Dramatiq adds by itself, and the application's of the same kind."""

import dramatiq
from dramatiq.middleware import CurrentMessage, Retries, TimeLimit, default_middleware

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
    with workers(broker) as start:
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
