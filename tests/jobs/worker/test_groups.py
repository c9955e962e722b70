"""Groups: the many jobs of one group do not delay the jobs of another."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import dramatiq
import peewee
import pytest
import redis
from dramatiq.brokers.stub import StubBroker

from gifster import jobs
from gifster.jobs import Job, QueueWeight
from gifster.jobs.brokers.fair import FairScheduler
from gifster.jobs.brokers.fetched import Fetched
from gifster.jobs.group_limits import MAX_PER_GROUP
from gifster.jobs.groups import release, release_all
from gifster.jobs.relay import relay
from gifster.jobs.testing import inline_jobs
from tests import databases
from tests.jobs.workers import workers
from tests.machine import eventually


class Log:
    """The jobs that began, in order, and those that ended; slow jobs wait for the gate."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.gate = threading.Semaphore(0)

    def count(self, name: str) -> int:
        return self.began.count(name)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[peewee.SqliteDatabase]:
    made = peewee.SqliteDatabase(
        tmp_path / "jobs.db", pragmas={"journal_mode": "wal", "synchronous": 0}, timeout=15
    )
    with made.bind_ctx(jobs.TABLES):
        made.create_tables(jobs.TABLES)
        made.bind(jobs.TABLES)
        yield made
    made.close()


@pytest.fixture
def log(broker_url: str, database: peewee.SqliteDatabase) -> Log:
    log = Log()
    jobs.connect(broker_url, max_per_group=6)
    declare(log)
    return log


def declare(log: Log) -> None:
    @dramatiq.actor(max_retries=0)
    def work(name: str, slow: bool = False) -> None:
        log.began.append(name)
        if slow:
            log.gate.acquire(timeout=60)
        log.ended.append(name)

    @dramatiq.actor(max_retries=3, min_backoff=600_000)
    def fail(name: str) -> None:
        log.began.append(name)
        raise RuntimeError(name)


@pytest.fixture
def worker(log: Log) -> Iterator[Callable[..., dramatiq.Worker]]:
    with workers() as start:
        yield lambda threads=4: start(threads)
        for _ in range(100):
            log.gate.release()


def enqueue(name: str, times: int = 1, *, slow: bool = False) -> None:
    for _ in range(times):
        jobs.enqueue("work", name, slow, group=name)


def waiting(url: str) -> int:
    return redis.Redis.from_url(url).hlen("dramatiq:default.msgs")


def test_throttled_jobs_are_released_by_the_priority_of_their_actors(log: Log, worker):
    @dramatiq.actor(priority=10)
    def tidy(name: str) -> None:
        log.began.append(name)

    # Given six jobs of a group in the broker, and throttled jobs of which those that may wait are
    # the oldest
    for _ in range(6):
        jobs.enqueue("work", "first", group="ann")
    for _ in range(6):
        jobs.enqueue("tidy", "tidy", group="ann")
    for _ in range(6):
        jobs.enqueue("work", "second", group="ann")

    # When one thread runs all of them
    worker(threads=1)
    eventually(lambda: len(log.began) == 18)

    # I expect the urgent ones first
    assert log.began == ["first"] * 6 + ["second"] * 6 + ["tidy"] * 6


def test_a_job_waits_until_a_worker_takes_it(log: Log, worker):
    waits = lambda **but: jobs.is_waiting("work", "default", **but)  # noqa: E731
    jobs.enqueue("work", "for later", in_s=600)
    assert not waits()

    jobs.enqueue("work", "ann", True)
    assert waits()
    assert not waits(but=["ann", True])
    assert not jobs.is_waiting("work", "other")
    assert not jobs.is_waiting("fail", "default")

    worker(threads=1)
    eventually(lambda: log.began == ["ann"])
    assert not waits()


def test_a_group_with_many_slow_jobs_leaves_a_thread_to_the_others(log: Log, worker):
    enqueue("ann", 30, slow=True)
    worker(threads=4)
    eventually(lambda: log.count("ann") == 3)

    # When two others come, one with many jobs and one with a single job
    enqueue("bob", 20)
    enqueue("cid")

    eventually(lambda: log.count("bob") == 20 and log.count("cid") == 1)
    assert log.count("ann") == 3
    # before more of Ann's jobs begin; and none of hers is lost
    for _ in range(30):
        log.gate.release()
    eventually(lambda: log.ended.count("ann") == 30)
    eventually(lambda: not Job.select().exists())


def test_the_next_free_thread_goes_to_the_group_that_has_none(log: Log, broker_url: str, worker):
    # Given two groups that share all threads, and each have one more job
    enqueue("ann", 3, slow=True)
    enqueue("bob", 3, slow=True)
    consumers = worker(threads=4).consumers
    eventually(lambda: len(log.began) == 4)
    before = list(log.began)

    # When a third group comes, and a thread becomes free
    enqueue("cid", slow=True)
    queued = redis.Redis.from_url(broker_url)

    def together() -> bool:
        """Whether the worker has fetched all three, or given them back: the jobs are long."""
        fetched = consumers["default"].consumer.fetched
        return 3 in (len(fetched), queued.llen("dramatiq:default"))

    eventually(together)
    log.gate.release()

    # I expect the third group to have it

    eventually(lambda: len(log.began) == 5)
    assert log.began[4] == "cid"
    assert {before.count("ann"), before.count("bob")} == {2}


def test_few_jobs_of_a_group_are_with_the_broker_at_once(log: Log, broker_url: str, worker):
    enqueue("ann", 30)
    assert waiting(broker_url) == 6
    assert Job.select().where(Job.held).count() == 24

    worker(threads=2)

    eventually(lambda: log.ended.count("ann") == 30)
    eventually(lambda: not Job.select().exists())


def test_jobs_without_a_group_are_never_throttled(log: Log, broker_url: str):
    for _ in range(30):
        jobs.enqueue("work", "somebody")

    assert waiting(broker_url) == 30


def test_a_rollback_throttles_and_sends_nothing(log: Log, database, broker_url: str):
    with suppress(RuntimeError), jobs.transaction(database):
        enqueue("ann", 10)
        raise RuntimeError

    assert not Job.select().exists()
    assert waiting(broker_url) == 0


def test_the_relay_releases_throttled_jobs_that_nobody_else_does(log: Log, broker_url: str):
    # Given a worker that died between the end of a job and the release of the next one
    enqueue("ann", 10)
    Job.delete().where(~Job.held).execute()
    assert jobs.relay() == 4

    assert not Job.select().where(Job.held).exists()
    assert waiting(broker_url) == 10
    assert release_all() == 0


def test_the_relay_sends_no_more_than_there_is_room_for(log: Log, broker_url: str):
    enqueue("ann", 20)
    Job.update(send_at=0).execute()

    # When all are due, as after a broker lost its data
    jobs.relay()

    assert Job.select().where(Job.held).count() == 14
    assert waiting(broker_url) == 12  # a second copy of each that had been sent


def test_retrying_jobs_do_not_throttle_the_others_of_their_group(log: Log, worker):
    for _ in range(12):
        jobs.enqueue("fail", "ann", group="ann")
    enqueue("ann")

    worker(threads=2)

    eventually(lambda: log.ended == ["ann"])


def test_jobs_that_no_worker_can_take_do_not_throttle_the_others_of_their_group(log: Log, worker):
    # Given more jobs of a group than the broker may have, whose actor only a later release has
    for number in range(MAX_PER_GROUP + 2):
        jobs.enqueue("later", f"later {number}", group="ann")
    enqueue("ann")
    nacked = Job.select().where(Job.error.startswith("ActorNotFound"))

    # When a worker of this release runs, beside the relay
    running = worker()
    eventually(lambda: jobs.relay() is not None and log.ended == ["ann"])

    # I expect it to do what it can, and the worker of that release to do the rest
    eventually(lambda: jobs.relay() is not None and nacked.count() == MAX_PER_GROUP + 2)
    running.stop()
    dramatiq.actor(log.ended.append, actor_name="later")
    worker()
    eventually(lambda: jobs.relay() is not None and len(log.ended) == MAX_PER_GROUP + 3)


def test_jobs_that_send_to_an_unknown_actor_themselves_count_in_their_group(log: Log, worker):
    @dramatiq.actor(max_retries=3, min_backoff=600_000)
    def ask() -> None:
        dramatiq.get_broker().get_actor("nobody").send()

    # Given jobs of a group that have failed like that
    for _ in range(10):
        jobs.enqueue("ask", group="ann")
    running = worker()
    failed = Job.select().where((Job.attempts == 1) & Job.error.startswith("ActorNotFound"))
    eventually(lambda: failed.count() == 10)
    running.stop()

    # When their retries are due, I expect as many to be sent as the broker may have of a group
    Job.update(due_at=1.0, send_at=1.0).execute()
    for _ in range(3):
        relay()
    assert Job.select().where(~Job.held).count() == 6


def test_a_dead_job_makes_room_for_the_next_one(log: Log, worker):
    for _ in range(10):
        jobs.enqueue("nobody", group="ann")  # an actor that is not known
    Job.update(failed_at=time.time()).where(~Job.held).execute()

    assert release("ann", "default") == 4


def test_inline_jobs_are_all_done_even_in_one_transaction(log: Log, database):
    with inline_jobs(), jobs.transaction(database):
        enqueue("ann", 40)

    assert log.ended.count("ann") == 40


def test_jobs_are_throttled_on_any_broker(database, broker_url: str):
    # Given Dramatiq's stub broker, with the middleware that outbox rows need
    middleware = jobs.connect(broker_url).middleware
    broker = StubBroker(middleware=list(middleware))
    broker.max_per_group = 6
    dramatiq.set_broker(broker)
    broker.emit_after("process_boot")
    log = Log()
    declare(log)
    enqueue("ann", 30)
    enqueue("bob")
    made = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    made.start()
    try:
        eventually(lambda: len(log.ended) == 31)
    finally:
        made.stop()

    assert log.began.index("bob") <= 6


def test_a_weight_may_say_how_many_threads_a_group_has():
    scheduler = FairScheduler(
        8,
        {
            "a": QueueWeight(),
            "b": QueueWeight(max=3),
            "c": QueueWeight(group_max=2),
            "d": QueueWeight(max=1),
        },
    )

    def most(queue: str) -> int:
        had = 0
        while scheduler.group_has_room(queue, "ann"):
            scheduler.begin(queue, "ann")
            had += 1
        return had

    assert [most(queue) for queue in "abcd"] == [7, 2, 2, 1]


def test_a_higher_priority_beats_a_group_with_fewer_threads():
    scheduler = FairScheduler(4, {})
    fetched = Fetched("q", scheduler)
    scheduler.begin("q", "ann")
    for name, group, priority in [
        ("1", "ann", 0), ("2", "bob", 0), ("3", None, 0), ("4", "ann", -1), ("5", "cid", 5),
    ]:  # fmt: skip
        options = {} if group is None else {"group": group}
        message = dramatiq.Message("q", name, (), {}, options)
        fetched.add(message, priority)

    assert [fetched.pop().actor_name for _ in range(5)] == ["4", "2", "3", "1", "5"]


def test_a_paused_queue_does_not_throttle_other_queues_of_the_same_group(log: Log):
    for number in range(6):
        jobs.enqueue("convert", number, queue="videos", group="ann")

    assert not jobs.enqueue("resize", 1, queue="images", group="ann").held


def test_scheduled_jobs_of_one_moment_are_throttled_by_their_group(log: Log):
    # Given more jobs of a group for one moment than it may have with the broker
    for number in range(20):
        jobs.enqueue("work", number, group="ann", in_s=3600)
    Job.update(due_at=1.0, send_at=1.0).execute()

    # When it has come
    relay()
    relay()

    # I expect as many jobs to be sent as there is room for, the oldest first
    sent = [job.arguments for job in Job.select().order_by(Job.created_at) if not job.held]
    assert sent == [[number] for number in range(6)]


@pytest.mark.parametrize("group", [7, uuid.UUID(int=7)])
def test_a_group_may_be_named_by_a_key(database_url: str, group: object):
    database = databases.connect(database_url)
    with database.bind_ctx(jobs.TABLES), database.connection_context():
        database.create_tables(jobs.TABLES)

        job = jobs.enqueue("work", 1, group=group)

        assert Job.get_by_id(job.id).group == str(group)
    database.close_all()
