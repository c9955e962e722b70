"""The relay under load: others write, rows are locked, two relays run at once."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest
import redis

from gifster import jobs
from gifster.jobs import ActorStats, Job
from tests import databases
from tests.combinations import on_postgresql
from tests.jobs.conftest import Outbox
from tests.jobs.relay.backlog import backlog, sent
from tests.machine import eventually

#: In the package, `relay` is the function.
MODULE = sys.modules["gifster.jobs.relay"]


def a_strangers(path: Path) -> peewee.Database:
    return peewee.SqliteDatabase(path, pragmas={"journal_mode": "wal"}, timeout=15)


def pooled(path: Path) -> peewee.Database:
    return databases.connect(f"sqlite:///{path}")


@pytest.mark.parametrize("opened", [a_strangers, pooled])
def test_a_backlog_is_sent_while_others_write(
    tmp_path: Path, broker_url: str, opened: Callable[[Path], peewee.Database]
):
    # Given 300 jobs that are due, in a database that two processes write into all the time
    path = tmp_path / "app.db"
    own = opened(path)
    own.bind(jobs.TABLES)
    own.create_tables(jobs.TABLES)
    jobs.connect(broker_url)
    backlog(300)
    with databases.writers(path):
        assert jobs.relay() == 300
    assert redis.Redis.from_url(broker_url).llen("dramatiq:default") == 300
    own.close()


def later(seconds: float) -> None:
    """Make the rows of all jobs that wait so much older."""
    Job.update(send_at=Job.send_at - seconds).where(Job.leased_by.is_null()).execute()


def test_a_job_whose_process_died_before_it_sent_it_is_sent_in_seconds(
    marked: Outbox, monkeypatch: pytest.MonkeyPatch
):
    # Given a job that runs, and one whose process was killed after the commit
    jobs.enqueue("work", 1)
    Job.update(leased_by="a worker", send_at=time.time() + 10).execute()
    with monkeypatch.context() as killed:
        killed.setattr("gifster.jobs.outbox.send_each", lambda messages: [None] * len(messages))
        jobs.enqueue("work", 2)

    # I expect the relay to leave it to its process at first, and to send it soon, once
    assert jobs.relay() == 0
    later(5)
    assert jobs.relay() == 1
    assert sent(marked) == [1, 2]
    later(5)
    assert jobs.relay() == 0


def test_a_job_that_waits_in_its_queue_is_not_sent_again(marked: Outbox):
    jobs.enqueue("work", 1)
    later(5)

    assert jobs.relay() == 0
    assert sent(marked) == [1]


def test_two_relays_at_once_send_each_job_once(marked: Outbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MODULE, "BATCH", 25)
    backlog(300)
    together, counts = threading.Barrier(3), []

    def run() -> None:
        with marked.database.connection_context():
            together.wait(60)
            while count := jobs.relay():
                counts.append(count)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sum(counts) == 300
    assert sorted(sent(marked)) == list(range(300))


def test_a_large_backlog_is_sent_in_its_order(marked: Outbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MODULE, "BATCH", 50)
    monkeypatch.setattr(MODULE, "ROUND_S", 60)
    backlog(230)

    assert jobs.relay() == 230
    assert sent(marked) == list(range(230))


def test_the_rest_of_a_backlog_is_sent_by_the_next_call(
    marked: Outbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(MODULE, "BATCH", 50)
    backlog(120)
    monkeypatch.setattr(MODULE, "ROUND_S", 1e-9)  # over after each batch

    assert [jobs.relay() for _ in range(4)] == [50, 50, 20, 0]


@on_postgresql
def test_the_relay_leaves_out_rows_that_a_transaction_has_locked(marked: Outbox):
    # Given a row that another transaction has locked, where rows can be locked
    held, _ = backlog(2)
    begun, over = threading.Event(), threading.Event()

    def hold() -> None:
        with marked.database.connection_context(), marked.database.atomic():
            Job.select().where(Job.id == held).for_update().get()
            begun.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(60)
    try:
        assert jobs.relay() == 1
    finally:
        over.set()
        thread.join()
    assert sent(marked) == [1]
    assert jobs.relay() == 1


@on_postgresql
def test_a_broker_that_lost_everything_gets_locked_rows_too(outbox: Outbox):
    # Given a broker without our mark, and a waiting row that another transaction has locked
    held, _ = (jobs.enqueue("send", number) for number in range(2))
    outbox.client.flushdb()
    found: list[int] = []

    def relay() -> None:
        with outbox.database.connection_context():
            found.append(jobs.relay())

    thread = threading.Thread(target=relay)
    with outbox.database.atomic():
        Job.select().where(Job.id == held.id).for_update().get()
        thread.start()
        eventually(lambda: waiting_for_a_lock(outbox.database_url))
    thread.join(60)

    # I expect the relay to wait for it, because the broker is found empty only once
    assert found == [2]


def test_one_of_two_that_enqueue_a_unique_job_at_once_succeeds(outbox: Outbox):
    # Given a transaction that has enqueued the job and has not ended
    begun, found = threading.Event(), []

    def second() -> None:
        with outbox.database.connection_context():
            begun.set()
            found.append(jobs.enqueue("sweep", unique="sweep"))

    other = threading.Thread(target=second)
    with jobs.transaction(outbox.database):
        first = jobs.enqueue("sweep", unique="sweep")
        other.start()
        assert begun.wait(60)
        if outbox.database_url.startswith("postgresql"):
            eventually(lambda: waiting_for_a_lock(outbox.database_url))
    other.join(60)

    # I expect the other to find that there is one already, and not to fail
    assert first is not None
    assert found == [None]


def waiting_for_a_lock(url: str) -> int:
    with psycopg.connect(url) as connection:
        waiting = "datname = current_database() AND wait_event_type = 'Lock'"
        query = f"SELECT count(*) FROM pg_stat_activity WHERE {waiting}"
        return connection.execute(query).fetchone()[0]


def test_the_totals_can_be_changed_while_they_are_read(tmp_path: Path, outbox: Outbox):
    for actor in ("a", "b"):
        ActorStats.create(span_s=0, begin=0, queue="default", actor=actor, done=1)

    for row in jobs.totals():
        with_another = threading.Thread(target=write_elsewhere, args=[outbox.database])
        with_another.start()
        with_another.join()
        ActorStats.update(failed=1).where(ActorStats.actor == row.actor).execute()

    assert ActorStats.select().where(ActorStats.failed == 1).count() == 2


def write_elsewhere(database: peewee.Database) -> None:
    with database.connection_context():
        jobs.pause("elsewhere")
        jobs.resume("elsewhere")


def test_the_relay_knows_the_lease_that_connect_was_given(outbox: Outbox):
    # Given leases that may last longer than the default, and one of them
    broker = jobs.connect(outbox.broker_url, lease_s=1_000)
    job = jobs.enqueue("work")
    until = time.time() + 900
    Job.update(leased_by="a worker", send_at=until).execute()

    jobs.relay()

    # I expect it to be left alone
    assert Job.get_by_id(job.id).send_at == until
    broker.close()


def test_jobs_with_large_arguments_are_claimed_few_at_a_time(
    marked: Outbox, monkeypatch: pytest.MonkeyPatch
):
    # Given due jobs whose arguments are large, and others
    monkeypatch.setattr(MODULE, "MOST_CHARACTERS", 10_000)
    with marked.database.atomic():
        for number in range(40):
            text = "x" * 1000 if number < 20 else ""
            Job.create(actor="work", queue="default", arguments=[number, text], send_at=number + 1)
    batches: list[int] = []

    def count(batch: Any) -> Any:
        batches.append(len(batch.jobs))
        return send(batch)

    send = MODULE._send
    monkeypatch.setattr(MODULE, "_send", count)

    # When the relay sends them, I expect no more large ones at a time than fit, and their order
    assert jobs.relay() == 40
    assert max(batches[:2]) < 10
    assert sent(marked) == list(range(40))
