"""What the tests of an application use: `gifster.jobs.testing`, without a server or a worker."""

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import Any

import dramatiq
import peewee
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import CurrentMessage

from gifster import jobs
from gifster.jobs.testing import assert_enqueued, enqueued, inline_jobs, run_jobs


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[peewee.Database]:
    """An outbox in memory, and Dramatiq's broker for tests."""
    monkeypatch.setattr(dramatiq.broker, "global_broker", StubBroker())
    database = peewee.SqliteDatabase(":memory:")
    database.bind(jobs.TABLES)
    with database.connection_context():
        jobs.migrate(database)
        yield database


@pytest.fixture
def greeted(database: peewee.Database) -> list[str]:
    """Whom the actor `greet` has greeted. It also greets the friends of a name."""
    names: list[str] = []

    def greet(name: str, friends: list[str]) -> None:
        if name == "nobody":
            raise ValueError(name)
        names.append(name)
        for friend in friends:
            jobs.enqueue("greet", friend, [])

    dramatiq.actor(greet)
    return names


def test_jobs_wait_until_the_test_runs_them(greeted: list[str]):
    jobs.enqueue("greet", "ann", ["bob"])
    jobs.enqueue("greet", "cleo", [], in_s=3600)

    assert greeted == []
    assert [job.arguments for job in enqueued("greet")] == [["ann", ["bob"]], ["cleo", []]]
    assert run_jobs() == 3
    assert greeted == ["ann", "cleo", "bob"]
    assert enqueued() == []


def test_an_actor_itself_may_be_named_for_a_job(database: peewee.Database):
    done: list[int] = []
    shrink = dramatiq.actor(done.append, actor_name="shrink", queue_name="images")

    first, second = jobs.enqueue(shrink, 7), jobs.enqueue(shrink, 8, queue="large")

    assert first is not None
    assert second is not None
    assert (first.actor, first.queue, second.queue) == ("shrink", "images", "large")
    assert_enqueued(shrink, [7])
    run_jobs()
    assert done == [7, 8]


def test_an_async_actor_runs_within_the_test(database: peewee.Database):
    done: list[str] = []

    @dramatiq.actor
    async def fetch(name: str) -> None:
        await asyncio.sleep(0)
        if name == "ann":
            jobs.enqueue(
                fetch, "bob"
            )  # on the connection of the test, as its database is in memory
        done.append(name)

    jobs.enqueue(fetch, "ann")
    run_jobs()
    with inline_jobs():
        jobs.enqueue(fetch, "cleo")

    assert done == ["ann", "bob", "cleo"]


def test_an_async_actor_runs_within_an_async_test(database: peewee.Database):
    # Given an async actor that enqueues a job of an async actor
    done: list[str] = []

    @dramatiq.actor
    async def fetch(name: str) -> None:
        await asyncio.sleep(0)
        if name == "ann":
            jobs.enqueue(fetch, "bob")
        await asyncio.sleep(0)
        done.append(name)

    # When an async test, or an async endpoint, enqueues the first one
    async def test() -> None:
        before = asyncio.current_task()
        with inline_jobs():
            jobs.enqueue(fetch, "ann")
        jobs.enqueue(fetch, "cleo")
        run_jobs()
        async with asyncio.timeout(10):  # its loop and its task go on
            await asyncio.sleep(0)
        assert asyncio.current_task() is before

    asyncio.run(test())

    # I expect each to be done within the call that runs it
    assert done == ["bob", "ann", "cleo"]


def test_a_thread_keeps_its_event_loop(database: peewee.Database):
    @dramatiq.actor
    async def fetch() -> None: ...

    async def test() -> None:
        jobs.enqueue(fetch)
        assert run_jobs() == 1

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(test())
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_an_actor_knows_its_job_within_the_test(database: peewee.Database):
    dramatiq.get_broker().add_middleware(CurrentMessage())
    seen: list[tuple[str, str, str]] = []

    def look(name: str) -> None:
        message = CurrentMessage.get_current_message()
        assert message is not None
        seen.append((name, message.options["outbox_id"], message.queue_name))

    @dramatiq.actor(queue_name="images")
    def shrink(name: str) -> None:
        if name == "outer":
            jobs.enqueue("shrink", "inner", unique="inner")
        look(name)

    @dramatiq.actor(queue_name="images")
    async def fetch(name: str) -> None:
        look(name)

    with inline_jobs():
        jobs.enqueue("shrink", "outer", unique="outer")
    jobs.enqueue("fetch", "last", unique="last")
    run_jobs()

    assert seen == [(name, name, "images") for name in ("inner", "outer", "last")]
    assert CurrentMessage.get_current_message() is None


def test_jobs_of_a_savepoint_that_was_rolled_back_do_not_run(
    database: peewee.Database, greeted: list[str]
):
    with inline_jobs(), jobs.transaction(database):
        jobs.enqueue("greet", "ann", [])
        with suppress(RuntimeError), jobs.transaction(database):
            jobs.enqueue("greet", "bob", [])
            raise RuntimeError

    assert greeted == ["ann"]


def test_a_job_that_another_one_drops_does_not_run(database: peewee.Database, greeted: list[str]):
    dramatiq.actor(actor_name="drop")(jobs.drop)
    jobs.enqueue("drop", "bob")
    jobs.enqueue("greet", "bob", [], unique="bob")

    assert run_jobs() == 1
    assert greeted == []


def test_an_actor_that_the_broker_does_not_have_is_explained(greeted: list[str]):
    jobs.enqueue("greet", "ann", [])
    dramatiq.set_broker(StubBroker())  # as `jobs.connect()` of the application's module does

    with pytest.raises(dramatiq.ActorNotFound) as raised:
        run_jobs()

    (note,) = raised.value.__notes__
    assert "StubBroker) has these actors: none" in note
    assert "set one broker only" in note
    assert_enqueued("greet")


def test_a_job_that_fails_raises_its_error_and_stays(greeted: list[str]):
    jobs.enqueue("greet", "nobody", [])

    with pytest.raises(ValueError, match="nobody"):
        run_jobs()

    assert_enqueued("greet", ["nobody", []])


def test_an_assertion_says_which_jobs_wait(greeted: list[str]):
    jobs.enqueue("greet", "ann", [])

    assert_enqueued("greet")
    assert_enqueued("greet", ["ann", []])
    assert_enqueued("greet", ["bob", []], count=0)
    waiting = r"waiting: \[\"greet\('ann', \[\]\)\"\]"
    with pytest.raises(AssertionError, match=rf"0 jobs of 'mail' are enqueued, not 1; {waiting}"):
        assert_enqueued("mail")
    with pytest.raises(AssertionError, match=r"0 jobs of 'greet' with \['bob', \[\]\] are"):
        assert_enqueued("greet", ["bob", []])


def test_inline_jobs_run_when_their_transaction_commits(
    greeted: list[str], database: peewee.Database
):
    with inline_jobs():
        with jobs.transaction(database):
            jobs.enqueue("greet", "ann", ["bob"])
            assert greeted == []
        assert greeted == ["ann", "bob"]

    with pytest.raises(ValueError, match="nobody"), inline_jobs():
        jobs.enqueue("greet", "nobody", [])
        jobs.enqueue("greet", "cleo", [])
    assert greeted == ["ann", "bob", "cleo"]
    assert_enqueued("greet", ["nobody", []])

    # After the block they wait again
    jobs.enqueue("greet", "dora", [])
    assert greeted == ["ann", "bob", "cleo"]


@pytest.mark.parametrize("inline", [False, True])
def test_actors_get_their_arguments_as_from_a_worker(database: peewee.Database, inline: bool):
    got: list[Any] = []
    dramatiq.actor(got.append, actor_name="count")
    names = ["ann"]

    with inline_jobs() if inline else nullcontext():
        with jobs.transaction(database):
            jobs.enqueue("count", {7: ("a", "b"), "names": names})
            names.append("bob")  # too late: the row is written
    run_jobs()

    assert got == [{"7": ["a", "b"], "names": ["ann"]}]


def test_the_former_place_has_the_same_functions():
    from gifster.uploads import testing

    assert (testing.run_jobs, testing.inline_jobs) == (run_jobs, inline_jobs)


def test_arguments_that_are_no_list_are_refused(database: peewee.Database):
    with pytest.raises(TypeError, match=r"arguments='Ann': write a list, such as \['Ann'\]"):
        assert_enqueued("greet", "Ann")
