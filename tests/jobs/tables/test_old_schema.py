"""A process that meets tables of an earlier release, or none, says what to do."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest

from gifster import jobs
from gifster.jobs import State, admin, testing
from tests.jobs.conftest import Outbox
from tests.jobs.tables.earlier_tables import EARLIER, drop_all, make_as_of
from tests.machine import eventually


@pytest.fixture
def old(outbox: Outbox) -> Outbox:
    """An outbox whose table is of the third release."""
    jobs.relay()  # so that the relay has seen this broker before
    drop_all(outbox.database)
    make_as_of(outbox.database, EARLIER[2])
    return outbox


LACKS = (
    r"the table outbox is of an earlier release and lacks due_at, thread, started_at, group_key, "
    r"held, traceback, actor_missing, traceparent: call gifster\.jobs\.migrate\(database\)"
)


def test_an_old_schema_says_what_to_do(old: Outbox):
    for call in (lambda: jobs.enqueue("work"), jobs.relay):
        with pytest.raises(jobs.OldSchema, match=LACKS):
            call()
    with pytest.raises(jobs.OldSchema, match="the database has no table recurring_job: call"):
        jobs.enqueue_recurring({})

    # And within the caller's transaction, which goes on
    with old.database.atomic(), pytest.raises(jobs.OldSchema, match=LACKS):
        jobs.enqueue("work")

    # When it is migrated, I expect the old job and a new one to be sent
    jobs.migrate(old.database)
    jobs.enqueue("work")
    assert jobs.relay() == 1
    assert old.queued() == 2


def test_a_worker_says_that_its_outbox_is_old_and_goes_on_once_it_is_migrated(
    old: Outbox, caplog: pytest.LogCaptureFixture
):
    # Given a worker that starts before the migration
    done = []

    @dramatiq.actor(min_backoff=10, max_backoff=10)
    def work() -> None:
        done.append(True)

    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=1)
    worker.start()
    assert len(re.findall(LACKS, caplog.text)) == 1

    # When a job comes, and then the migration
    work.send_with_options(outbox_id="job")
    eventually(lambda: "OldSchema" in caplog.text)
    assert not done
    jobs.migrate(old.database)

    # I expect the job to be done
    eventually(lambda: jobs.Job.select().count() == 0)
    worker.stop()
    assert done


#: A call of each public function that reads or writes the tables, by its name.
CALLS: dict[str, Callable[[], Any]] = {
    "clear": lambda: jobs.clear(State.WAITING),
    "drop": lambda: jobs.drop("job"),
    "enqueue": lambda: jobs.enqueue("work"),
    "enqueue_recurring": lambda: jobs.enqueue_recurring({}),
    "find": lambda: jobs.find(State.DEAD),
    "forget_dead": jobs.forget_dead,
    "moment_before": lambda: jobs.moment_before(60),
    "forget_others": lambda: jobs.forget_others([]),
    "history": lambda: jobs.history(jobs.HOUR_S, 3),
    "is_waiting": lambda: jobs.is_waiting("work", "default"),
    "pause": lambda: jobs.pause("default"),
    "paused_queues": jobs.paused_queues,
    "quiet": lambda: jobs.quiet("shop:1:x"),
    "recurring_jobs": jobs.recurring_jobs,
    "relay": jobs.relay,
    "resume": lambda: jobs.resume("default"),
    "retry": lambda: jobs.retry("job"),
    "stats": jobs.stats,
    "totals": jobs.totals,
    "workers": jobs.workers,
}
#: Those that need no table, or make them.
WITHOUT = {
    "connect", "create_tables", "cron", "declare_recurring", "every", "migrate",
    "now", "pending_migrations", "ping", "send_bulk", "send_many", "state_of", "transaction",
}  # fmt: skip
MORE = [
    testing.enqueued, testing.run_jobs, lambda: testing.assert_enqueued("work"), admin.busy,
    admin.queues, lambda: admin.get_job("job"), lambda: admin.page_of("dead", "", 10),
    lambda: admin.stats_json("hour"), lambda: admin.set_quiet("shop:1:x", True),
    lambda: admin.drop("job"), lambda: admin.clear("dead"),
]  # fmt: skip


def test_every_public_function_is_known_here():
    public = {name for name in jobs.__all__ if inspect.isfunction(getattr(jobs, name))}

    assert set(CALLS) | WITHOUT == public


def test_without_tables_every_public_function_says_what_to_do(outbox: Outbox):
    drop_all(outbox.database)

    for call in [*CALLS.values(), *MORE]:
        with pytest.raises(jobs.OldSchema, match=r"has no table .*call gifster\.jobs\.migrate"):
            call()
    jobs.migrate(outbox.database)
    for name, call in CALLS.items():
        if name not in ("drop", "quiet", "retry"):  # of a job and a worker that there are not
            call()


def test_it_says_so_in_a_transaction_that_has_failed(outbox: Outbox):
    # On PostgreSQL nothing can be asked in the caller's transaction any more
    drop_all(outbox.database)

    with (
        pytest.raises(jobs.OldSchema, match=r"outbox.*: call gifster\.jobs\.migrate"),
        outbox.database.atomic(),
    ):
        jobs.stats()


def test_without_a_database_every_public_function_says_what_to_do(outbox: Outbox):
    with outbox.database.bind_ctx(jobs.TABLES):
        for table in jobs.TABLES:
            table.bind(None)
        for call in [*CALLS.values(), *MORE]:
            with pytest.raises(jobs.NotBound, match=r"call database\.bind"):
                call()
