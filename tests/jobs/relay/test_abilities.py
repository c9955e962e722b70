"""A broker that is none of ours, nor one that Dramatiq has: jobs go there, one by one."""

from typing import Any

import dramatiq
import pytest

from gifster import jobs
from gifster.jobs import Job, admin
from gifster.jobs.brokers.abilities import Abilities, abilities
from gifster.jobs.brokers.redis import RedisBroker
from tests.jobs.conftest import Outbox
from tests.jobs.relay.backlog import backlog


class Memory(dramatiq.Broker):
    """An application's own. Some of its methods have names as ours have, for something else."""

    def __init__(self) -> None:
        self.sent: list[dramatiq.Message[Any]] = []
        super().__init__()

    def enqueue(
        self, message: dramatiq.Message[Any], *, delay: int | None = None
    ) -> dramatiq.Message[Any]:
        self.sent.append(message)
        return message

    def declare_queue(self, queue_name: str) -> None:
        self.queues[queue_name] = None

    def enqueue_each(self) -> None:
        raise AssertionError("not ours to call")

    mend = remove = may_hold = enqueue_many = enqueue_calls = enqueue_each
    weights = scheduler = None


@pytest.fixture
def memory(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Memory:
    made = Memory()
    monkeypatch.setattr(dramatiq.broker, "global_broker", made)
    return made


def test_jobs_are_sent_one_by_one_to_a_broker_of_an_application(memory: Memory):
    work = dramatiq.actor(print, actor_name="work", broker=memory)

    jobs.enqueue("work", 1)
    assert jobs.send_many(work.message(n) for n in (2, 3)) == 2
    assert jobs.send_bulk(work, [(4,), (5,)]) == 2
    assert [message.args for message in memory.sent] == [(1,), (2,), (3,), (4,), (5,)]

    assert [queue.weight for queue in admin.queues()] == [1]
    assert jobs.clear("waiting") == 1
    assert not Job.select().exists()


def test_the_relay_sends_jobs_to_a_broker_of_an_application(memory: Memory):
    assert jobs.ping(memory) == "PONG"
    backlog(3)

    assert jobs.relay() == 3

    assert len(memory.sent) == 3


def test_the_settings_may_be_set_on_any_broker(memory: Memory):
    assert (abilities(memory).max_per_group, abilities(None).lease_s) == (None, None)

    memory.max_per_group, memory.lease_s = 3, 20.0

    assert (abilities(memory).max_per_group, abilities(memory).lease_s) == (3, 20.0)


def test_a_broker_of_ours_says_itself_what_it_can(outbox: Outbox):
    broker = dramatiq.get_broker()

    assert isinstance(broker, RedisBroker)
    assert abilities(broker) is broker
    own = {name for name, value in vars(Abilities).items() if callable(value)}
    assert own <= set(vars(RedisBroker))
