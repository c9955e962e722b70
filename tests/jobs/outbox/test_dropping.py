"""Jobs are dropped unless they run: one by one, or all of a state; on each broker and database."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import dramatiq
import pytest

from gifster import jobs
from gifster.jobs import Job, State, dead
from gifster.jobs.lease import Leases
from tests.jobs.conftest import Outbox, opened
from tests.machine import eventually


def put_into(state: State, *arguments: Any, **options: Any) -> Job:
    """A job in a state."""
    job = jobs.enqueue("greet", *arguments, **options)
    now = time.time()
    changes = {
        State.WAITING: {},
        State.SCHEDULED: {"due_at": now + 60},
        State.RETRYING: {"due_at": now + 60, "attempts": 1},
        State.RUNNING: {"leased_by": "shop:1:x", "send_at": now + 60},
        State.DEAD: {"failed_at": now},
    }[state]
    if changes:
        Job.update(**changes).where(Job.id == job.id).execute()
    return Job.get_by_id(job.id)


@pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
def test_a_job_that_is_not_running_is_dropped(outbox: Outbox, state: State):
    job = put_into(state, "Ann")

    assert jobs.drop(job.id).arguments == ["Ann"]

    assert Job.select().count() == 0
    with pytest.raises(jobs.NoSuchJob, match=f"there is no job {job.id}: it may be done already"):
        jobs.drop(job.id)


def test_a_running_job_is_refused(outbox: Outbox):
    job = put_into(State.RUNNING)

    with pytest.raises(jobs.JobIsRunning, match=f"job {job.id} is running in shop:1:x: wait"):
        jobs.drop(job.id)
    with pytest.raises(ValueError, match="state running: jobs that run are not dropped"):
        jobs.clear(State.RUNNING)

    assert Job.select().count() == 1


def test_all_jobs_of_a_state_a_queue_and_a_text_are_dropped(outbox: Outbox):
    for state in State:
        for name, queue in (("Ann", "default"), ("Bob", "mails"), ("Cid", "mails")):
            put_into(state, name, queue=queue)

    def left(state: State) -> list[Any]:
        return sorted(job.arguments[0] for job in jobs.find(state))

    assert jobs.clear(State.WAITING, queue="mails", text="bob") == 1
    assert left(State.WAITING) == ["Ann", "Cid"]
    assert jobs.clear(State.WAITING, queue="mails") == 1
    assert left(State.WAITING) == ["Ann"]
    for state in (State.SCHEDULED, State.RETRYING, State.DEAD):
        assert jobs.clear(state) == 3
        assert left(state) == []
    assert left(State.RUNNING) == ["Ann", "Bob", "Cid"]


def test_a_rollback_drops_nothing(outbox: Outbox):
    job = put_into(State.WAITING)

    with pytest.raises(RuntimeError), jobs.transaction(outbox.database):
        jobs.drop(job.id)
        raise RuntimeError

    assert outbox.queued() == 1
    assert Job.select().count() == 1


def test_the_messages_leave_redis_with_their_jobs(outbox: Outbox, monkeypatch: pytest.MonkeyPatch):
    # Given a queue of several parts, in which some messages have no row
    monkeypatch.setattr("gifster.jobs.brokers.removal.PART", 7)
    made = [jobs.enqueue("greet", number) for number in range(30)]
    trap = dramatiq.Message("default", "greet", ({"outbox_id": made[29].id},), {}, {})
    jobs.send_many([trap])
    made += [jobs.enqueue("greet", number) for number in range(30, 60)]

    for job in (made[0], made[29], made[59]):
        jobs.drop(job.id)
    assert outbox.queued() == outbox.client.hlen("dramatiq:default.msgs") == 58
    assert jobs.clear(State.WAITING) == 57

    # I expect those to stay that no row of ours names
    assert outbox.queued() == outbox.client.hlen("dramatiq:default.msgs") == 1


def test_a_retry_leaves_redis_too(outbox: Outbox):
    job = jobs.enqueue("greet", "Ann")
    message = job.message()
    outbox.client.flushdb()
    dramatiq.get_broker().enqueue(message, delay=60_000)
    Job.update(due_at=time.time() + 60, attempts=1).execute()
    assert outbox.queued("default.DQ") == 1

    jobs.drop(job.id)

    assert outbox.queued("default.DQ") == outbox.client.hlen("dramatiq:default.DQ.msgs") == 0


@pytest.mark.parametrize("own", [True, False])
def test_a_drop_that_a_savepoint_took_back_leaves_the_message(outbox: Outbox, own: bool):
    begin = partial(jobs.transaction, outbox.database) if own else outbox.database.atomic
    job = jobs.enqueue("greet", "Ann")

    with begin(), suppress(RuntimeError), begin():
        jobs.drop(job.id)
        raise RuntimeError

    assert Job.get_by_id(job.id)
    assert outbox.queued() == outbox.client.hlen("dramatiq:default.msgs") == 1


def test_a_job_is_dropped_while_the_broker_is_away(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
):
    job = put_into(State.WAITING)
    there = dramatiq.get_broker()
    away = jobs.connect("redis://127.0.0.1:1/0")

    jobs.drop(job.id)

    assert "the messages of dropped jobs stay in the broker, unread" in caplog.text
    assert Job.select().count() == 0
    away.close()
    dramatiq.set_broker(there)


def test_a_dropped_job_makes_room_for_the_next_of_its_group(outbox: Outbox):
    broker = jobs.connect(outbox.broker_url, max_per_group=3)
    made = [jobs.enqueue("greet", number, group="ann") for number in range(8)]
    assert [job.held for job in made] == [False] * 3 + [True] * 5

    # When one that is with the broker is dropped, and one that is throttled
    jobs.drop(made[0].id)
    jobs.drop(made[7].id)

    # I expect the oldest throttled one to go
    held = {job.arguments[0] for job in Job.select().where(Job.held)}
    assert held == {4, 5, 6}
    assert outbox.queued() == 3
    assert jobs.clear(State.WAITING) == 6
    assert not jobs.enqueue("greet", 9, group="ann").held
    assert outbox.queued() == 1
    broker.close()


@pytest.fixture
def ran(outbox: Outbox) -> Counter[Any]:
    """What the worker of this process has run."""
    counted: Counter[Any] = Counter()

    @dramatiq.actor(max_retries=0)
    def greet(name: str) -> None:
        counted[name] += 1

    return counted


@pytest.fixture
def worker(ran: Counter[Any]) -> Iterator[dramatiq.Worker]:
    made = dramatiq.Worker(dramatiq.get_broker(), worker_threads=4, worker_timeout=50)
    yield made
    made.stop()


def test_the_message_of_a_dropped_job_does_not_run_a_later_one_with_its_key(
    outbox: Outbox, ran: Counter[Any], worker: dramatiq.Worker
):
    # Given a message that is still in the broker, though its job was dropped
    first = jobs.enqueue("greet", "now", unique="greet")
    Job.delete_by_id(first.id)
    # And another job with the same key, for later
    assert jobs.enqueue("greet", "later", unique="greet", in_s=3600)
    jobs.enqueue("greet", "other")

    worker.start()

    eventually(lambda: ran["other"])
    eventually(lambda: outbox.queued() == 0 and not outbox.client.hlen("dramatiq:default.msgs"))
    assert ran == {"other": 1}
    [left] = Job.select()
    assert (left.arguments, left.leased_by) == (["later"], None)
    # A message of an earlier release does not say when its row was made
    leases = Leases()
    assert leases.take(left.id, "greet").id == left.id
    leases.give_back()


JOBS = 300


def drop_while_they_run(broker_url: str, database_url: str) -> None:
    """Each job has either run once, or was dropped."""
    with opened(broker_url, database_url) as outbox:
        ran: Counter[int] = Counter()
        lock = threading.Lock()
        first_run, first_dropped = threading.Event(), threading.Event()
        # On RabbitMQ the messages of dropped jobs stay in their queue, in the next outbox's way.
        queue = f"race-{uuid.uuid4().hex}"

        @dramatiq.actor(max_retries=0, queue_name=queue)
        def greet(number: int) -> None:
            first_run.set()
            first_dropped.wait(60)
            with lock:
                ran[number] += 1

        made = {}
        for number in range(JOBS):
            options = {"unique": f"race-{number}"} if number % 3 == 0 else {}
            options |= {"group": f"group {number % 2}"} if number % 3 == 1 else {}
            made[number] = jobs.enqueue("greet", number, queue=queue, **options)
        worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=4, worker_timeout=50)
        worker.start()
        dropped: set[int] = set()
        running = 0

        def drop(numbers: list[int]) -> None:
            nonlocal running
            first_run.wait(60)
            with outbox.database.connection_context():
                for number in numbers:
                    try:
                        jobs.drop(made[number].id)
                    except jobs.JobIsRunning:
                        running += 1
                    except jobs.NoSuchJob:
                        pass  # it has run
                    else:
                        dropped.add(number)
                        first_dropped.set()

        order = sorted(range(JOBS), key=lambda number: number * 7 % JOBS)
        threads = [threading.Thread(target=drop, args=(order[half::2],)) for half in (0, 1)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            eventually(lambda: not Job.select().exists())
        finally:
            worker.stop()

        assert dropped
        assert ran
        assert set(ran.values()) == {1}
        assert not dropped & set(ran)
        assert dropped | set(ran) == set(range(JOBS))


def test_each_job_is_either_run_or_dropped(broker_url: str, database_url: str):
    drop_while_they_run(broker_url, database_url)


def test_each_job_is_either_run_or_dropped_on_rabbitmq(rabbitmq: str, database_url: str):
    drop_while_they_run(rabbitmq, database_url)


def test_dead_jobs_are_forgotten_by_age_and_number(outbox: Outbox, monkeypatch: pytest.MonkeyPatch):
    # Given dead jobs of 0 to 8 days ago, and jobs in all other states
    monkeypatch.setattr(dead, "BATCH", 2)
    for days in range(9):
        job = put_into(State.DEAD, days)
        Job.update(failed_at=time.time() - days * 86_400 - 1).where(Job.id == job.id).execute()
    others = [put_into(state) for state in State if state is not State.DEAD]

    def left() -> list[int]:
        return sorted(job.arguments[0] for job in jobs.find(State.DEAD))

    # When nobody is too old or too many, then some are too old, then some are too many
    assert jobs.forget_dead(10 * 86_400) == 0
    assert jobs.forget_dead(6.5 * 86_400) == 2
    assert left() == [0, 1, 2, 3, 4, 5, 6]
    assert jobs.forget_dead(6.5 * 86_400, most=3) == 4
    assert left() == [0, 1, 2]
    assert jobs.forget_dead(most=3) == 0

    # I expect the jobs that are not dead to stay
    assert Job.select().where(Job.failed_at.is_null()).count() == len(others)
