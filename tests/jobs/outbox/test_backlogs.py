"""Very many jobs that wait, are throttled or dead: what runs with each job, or every few seconds,
reads only what it needs."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dramatiq
import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job
from gifster.jobs.group_limits import room_of
from gifster.jobs.groups import release, release_all
from gifster.jobs.job import NEVER
from gifster.jobs.relay import relay
from gifster.jobs.states import State, find
from tests import databases
from tests.conftest import own_postgresql


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Any]:
    made = databases.connect(f"sqlite:///{tmp_path}/jobs.db")
    made.bind(jobs.TABLES)
    with made.connection_context():
        jobs.migrate(made)
        yield made
    made.close_all()


@pytest.fixture(autouse=True)
def broker() -> dramatiq.Broker:
    made = jobs.connect("stub://", max_per_group=4)
    for name, priority in (("soon", 0), ("first", -5), ("last", 10)):
        dramatiq.actor(lambda *_: None, actor_name=name, priority=priority)
    return made


def add(count: int, **columns: Any) -> None:
    moments = {"created_at": time.time(), "send_at": time.time() + 3600}
    row = {"actor": "soon", "queue": "default", "arguments": [], **moments, **columns}
    rows = [Job(**row).__data__ for _ in range(count)]
    for start in range(0, count, 500):
        Job.insert_many(rows[start : start + 500]).execute()


def steps(database: Any, do: Callable[[], object]) -> int:
    """How many steps SQLite takes, in tens."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    database.connection().set_progress_handler(count, 10)
    do()
    database.connection().set_progress_handler(None, 10)
    return taken


def test_what_runs_often_does_not_read_the_backlog(sqlite: peewee.SqliteDatabase):
    def work() -> None:
        release("ann", "default")
        relay()
        with jobs.transaction(sqlite):
            jobs.enqueue("soon", group="ann")
        find(State.DEAD, 10)
        find(State.RUNNING, 10)
        find(State.WAITING, 10)
        find(State.SCHEDULED, 10)
        find(State.RETRYING, 10, queue="default")
        jobs.stats(at_most=4)

    def grow(count: int) -> None:
        held = {"held": True, "send_at": NEVER}
        for actor in ("soon", "last"):
            add(count, group="ann", actor=actor, **held)
        later = time.time() + 3600
        add(count, group="ann", due_at=later)
        add(count, failed_at=0.0, group="ann", send_at=NEVER)
        add(count, group="ann", actor_missing=True)
        add(count, due_at=later, attempts=1)
        sqlite.execute_sql("UPDATE outbox SET failed_at = rowid WHERE failed_at IS NOT NULL")
        add(count)

    # Given some jobs of each kind, and a group that has as many with the broker as it may
    add(4, group="ann")
    add(4, leased_by="a worker")
    grow(20)
    work()
    few = steps(sqlite, work)

    # When there are thirty times as many
    grow(600)

    # I expect it to be no more work
    assert steps(sqlite, work) < 2 * few


def test_a_round_does_not_read_the_backlog_with_a_plan_for_all_moments(
    request: pytest.FixtureRequest,
):
    made = databases.connect(own_postgresql(request))
    made.bind(jobs.TABLES)
    with made.connection_context():
        jobs.migrate(made)
        # Given the plans that PostgreSQL takes after some rounds, and jobs of which none is due
        made.execute_sql("SET plan_cache_mode = force_generic_plan")
        made.execute_sql(
            "INSERT INTO outbox (id, actor, queue, arguments, created_at, send_at) "
            "SELECT i, 'soon', 'default', '{\"args\": []}', 0, 1e10 + i "
            "FROM generate_series(1, 5000) i"
        )
        made.execute_sql("ANALYZE outbox")

        def read() -> int:
            made.execute_sql("SELECT pg_stat_force_next_flush()")
            query = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'outbox'"
            return int(made.execute_sql(query).fetchone()[0])

        before = read()
        for _ in range(10):  # psycopg prepares a statement when it has run five times
            assert relay() == 0

        # I expect that no round reads all rows
        assert read() == before
    made.close_all()


def test_throttled_jobs_are_found_in_whatever_group_and_queue_they_are(database: Any):
    # Given throttled jobs in groups and queues that have room, but for one
    held = {"held": True, "send_at": NEVER}
    for group, queue in (("a", "x"), ("a", "y"), ("b", "x"), ("c", "z")):
        add(2, group=group, queue=queue, **held)
    add(4, group="b", queue="x")
    # and jobs that use up no room
    add(5, group="c", queue="z", failed_at=1.0)
    add(5, group="c", queue="z", due_at=time.time() + 3600)

    # I expect all others to be released
    assert release_all() == 6
    assert {(job.group, job.queue) for job in Job.select().where(Job.held)} == {("b", "x")}
    # and those to count that are due again
    Job.update(due_at=1.0).where(Job.due_at > 1).execute()
    assert [room_of("c", "z"), room_of("a", "y"), room_of("d", "x")] == [-3, 2, 4]


def test_the_most_urgent_of_all_actors_are_released(database: Any):
    held = {"group": "ann", "held": True, "send_at": NEVER}
    for number, actor in enumerate(["last", "unknown", "soon", "first", "soon", "unknown"]):
        add(1, actor=actor, created_at=number, **held)

    release("ann", "default")

    sent = Job.select().where(~Job.held).order_by(Job.created_at)
    assert [(job.actor, job.created_at) for job in sent] == [
        ("unknown", 1), ("soon", 2), ("first", 3), ("soon", 4),
    ]  # fmt: skip


def test_throttled_and_dead_jobs_are_never_due(database: Any):
    # Given jobs that were throttled when they were enqueued
    for number in range(6):
        jobs.enqueue("soon", number, group="ann")
    jobs.enqueue("soon", 6, group="ann", unique="the-seventh")
    # and one that nobody can read
    add(1, send_at=1.0)
    database.execute_sql("UPDATE outbox SET arguments = 'nonsense' WHERE send_at = 1")
    relay()

    kept = Job.select().where(Job.send_at == NEVER)
    assert [job.held for job in kept.order_by(Job.created_at, Job.id)].count(True) == 3
    assert kept.where(Job.failed_at.is_null(False)).count() == 1

    # When there is room, I expect them to be sent again if their messages are lost
    Job.delete().where(~Job.held & Job.failed_at.is_null()).execute()
    assert release_all() == 3
    assert Job.select().where(Job.send_at < time.time() + 61).count() == 3
