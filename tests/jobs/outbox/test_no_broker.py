"""A process that has no broker: commits return at once, and jobs wait for the relay of another."""

import sys
from collections.abc import Callable

import dramatiq
import dramatiq.broker
import dramatiq.brokers.redis
import pytest

from gifster import jobs
from gifster.jobs import Job, sending
from gifster.jobs.outbox_rows import OutboxRows
from tests.jobs.conftest import Outbox


@pytest.fixture
def no_broker(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.broker, "global_broker", None)
    sending._no_broker.resolved()


@pytest.fixture(params=["none", "RabbitmqBroker", "RedisBroker"])
def without_one(
    request: pytest.FixtureRequest, no_broker: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], dramatiq.Broker | None]:
    """A process that never called `connect()`; and one that also declared actors, so that Dramatiq
    made a broker: where pika is not installed, it is for Redis."""
    if request.param == "RedisBroker":
        monkeypatch.setitem(sys.modules, "pika", None)
        monkeypatch.delitem(sys.modules, "dramatiq.brokers.rabbitmq", raising=False)
    if request.param != "none":
        assert type(dramatiq.get_broker()).__name__ == request.param
    return lambda: dramatiq.broker.global_broker


def test_without_a_broker_a_commit_returns_at_once_and_the_job_waits(
    outbox: Outbox,
    without_one: Callable[[], dramatiq.Broker | None],
    caplog: pytest.LogCaptureFixture,
):
    before = without_one()

    for name in ("ann", "bob"):
        jobs.enqueue("greet", name)
    assert jobs.relay() == 0

    # I expect the log to say once what to do, and no attempt to connect
    assert caplog.text.count("no broker is set in this process") == 1
    assert "jobs.connect(url)" in caplog.text
    assert "deferred" not in caplog.text
    assert without_one() is before
    assert not getattr(before, "connections", None)
    assert {job.sendings for job in Job.select()} == {0}
    assert all(job.send_at <= jobs.now() for job in Job.select())

    # And the relay of a process with a broker to send them
    with_one = jobs.connect(outbox.broker_url)
    assert jobs.relay() == 2
    with_one.close()


def test_without_a_broker_everything_else_says_so_or_waits(
    without_one: Callable[[], dramatiq.Broker | None],
):
    job = jobs.enqueue("greet", "ann")
    with pytest.raises(jobs.BrokerUnavailable, match=r"no broker is set: call jobs.connect\(url\)"):
        jobs.send_many([job.message()])
    Job.update(failed_at=1.0).execute()
    assert jobs.retry(job.id).id == job.id
    assert jobs.stats()[0].waiting == 1


@pytest.mark.parametrize("without_one", ["RabbitmqBroker", "RedisBroker"], indirect=True)
def test_connect_takes_over_the_actors_of_the_broker_that_dramatiq_made(
    outbox: Outbox, without_one: Callable[[], dramatiq.Broker | None]
):
    without_one()
    work = dramatiq.actor(print, actor_name="work")

    with_one = jobs.connect(outbox.broker_url)

    assert (work.broker, list(with_one.actors)) == (with_one, ["work"])
    with_one.close()


def test_a_redis_broker_that_somebody_set_counts_whatever_is_installed(no_broker: None):
    # As in `dramatiq.set_broker(RedisBroker(...))`, with the middleware that runs jobs of ours
    ours = dramatiq.brokers.redis.RedisBroker()
    ours.add_middleware(OutboxRows(15.0))
    assert not sending.made_by_dramatiq(ours)
    assert not sending.made_by_dramatiq(dramatiq.brokers.redis.RedisBroker(host="10.1.2.3"))
    # Dramatiq makes none for Redis if pika is installed
    assert not sending.made_by_dramatiq(dramatiq.brokers.redis.RedisBroker())
