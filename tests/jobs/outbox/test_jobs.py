"""The outbox: a job is sent with its transaction, and again when the broker was away or lost it."""

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import dramatiq
import peewee
import pytest

from gifster import jobs
from gifster.jobs import Job, clock
from gifster.jobs import outbox as outbox_module
from gifster.jobs.lease import LEASE_S, Leases
from tests.clocks import SetClock
from tests.jobs.conftest import Outbox
from tests.machine import eventually


def test_a_job_is_sent_when_the_transaction_has_committed(outbox: Outbox):
    with jobs.transaction(outbox.database):
        jobs.enqueue("send_welcome_email", "ann")
        assert outbox.queued() == 0

    assert outbox.queued() == 1
    [job] = Job.select()
    assert (job.actor, job.queue, job.arguments) == ("send_welcome_email", "default", ["ann"])


def test_the_jobs_of_a_transaction_are_sent_together(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
):
    calls: list[int] = []
    send_each = outbox_module.send_each

    def counted(messages: Sequence[dramatiq.Message]) -> list[Exception | None]:
        calls.append(len(messages))
        return send_each(messages)

    monkeypatch.setattr(outbox_module, "send_each", counted)

    with jobs.transaction(outbox.database):
        for name in ("ann", "bob"):
            jobs.enqueue("send_welcome_email", name)
        with jobs.transaction(outbox.database):  # a savepoint
            jobs.enqueue("send_welcome_email", "cat")
        assert outbox.queued() == 0

    assert calls == [3]
    assert outbox.queued() == 3


def test_a_transaction_may_have_its_jobs_sent_in_another_way(outbox: Outbox):
    sent: list[Job] = []

    with jobs.transaction(outbox.database, send=sent.extend):
        first = jobs.enqueue("send_welcome_email", "ann")
        second = jobs.enqueue("send_welcome_email", "bob")
        assert sent == []

    assert sent == [first, second]
    assert outbox.queued() == 0


def test_jobs_of_a_transaction_that_was_rolled_back_are_not_sent_by_the_next(outbox: Outbox):
    with jobs.transaction(outbox.database) as transaction:
        jobs.enqueue("send_welcome_email", "ann")
        transaction.rollback()
        jobs.enqueue("send_welcome_email", "bob")

    assert outbox.queued() == 1
    assert [job.arguments for job in Job.select()] == [["bob"]]


def test_a_peewee_transaction_sends_its_jobs_after_its_commit(outbox: Outbox):
    with outbox.database.atomic():
        jobs.enqueue("send_welcome_email", "ann")
        assert outbox.queued() == 0

    assert outbox.queued() == 1


def test_a_job_goes_to_the_queue_of_its_actor_also_by_the_name(outbox: Outbox):
    shrink = dramatiq.actor(print, actor_name="shrink", queue_name="images")

    enqueued = [
        jobs.enqueue(shrink),
        jobs.enqueue("shrink"),
        jobs.enqueue("shrink", queue="slow"),
        jobs.enqueue("of another process"),
    ]

    assert [job.queue for job in enqueued] == ["images", "images", "slow", "default"]
    assert [outbox.queued(name) for name in ("images", "slow", "default")] == [2, 1, 1]


def test_a_job_of_a_class_based_actor_goes_to_its_queue(outbox: Outbox):
    class Shrink(dramatiq.GenericActor):
        class Meta:
            actor_name = "shrink"
            queue_name = "images"

        def perform(self) -> None: ...

    job = jobs.enqueue(Shrink)

    assert (job.actor, job.queue, outbox.queued("images")) == ("shrink", "images", 1)


@pytest.mark.parametrize("no_actor", [print, "", 7, None, dramatiq.Actor])
def test_what_is_no_actor_is_refused(outbox: Outbox, no_actor: object):
    for call in (jobs.enqueue, lambda actor: jobs.every(60, actor)):
        with pytest.raises(TypeError, match="is no actor: declare it by"):
            call(no_actor)

    assert Job.select().count() == 0


def test_a_message_is_not_taken_for_its_actor(outbox: Outbox):
    add = dramatiq.actor(lambda x, y: None, actor_name="add")

    for call in (jobs.enqueue, lambda actor: jobs.every(60, actor)):
        with pytest.raises(TypeError, match=r"add\(1, 2\) is a message.* enqueue\('add', …\)"):
            call(add.message(1, 2))

    assert Job.select().count() == 0


@pytest.mark.parametrize("queue", [7, b"images", "", "our images", "7", "a/b", "images\n"])
def test_a_queue_that_no_actor_can_have_is_refused(outbox: Outbox, queue: Any):
    for call in (jobs.enqueue, partial(jobs.every, 60), partial(jobs.cron, "@daily")):
        with pytest.raises((TypeError, ValueError), match=r"queue=.* is no name of a queue"):
            call("shrink", queue=queue)

    assert Job.select().count() == 0


def test_without_a_broker_a_name_goes_to_the_default_queue(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dramatiq.broker, "global_broker", None)

    assert jobs.enqueue("shrink").queue == "default"


def test_arguments_that_json_cannot_hold_are_refused(outbox: Outbox):
    with pytest.raises(
        TypeError, match=r"must be JSON, such as str\(id\) for a UUID: .*UUID is not"
    ):
        jobs.enqueue("send_welcome_email", uuid.uuid4())

    assert Job.select().count() == 0


def test_keys_that_no_worker_takes_are_refused(outbox: Outbox):
    for key in ("", "k" * 33):
        with pytest.raises(ValueError, match=f"has {len(key)} characters: use 1 to 32"):
            jobs.enqueue("send_welcome_email", "ann", unique=key)

    assert Job.select().count() == 0


def test_a_key_and_a_group_may_be_numbers(outbox: Outbox):
    group = uuid.UUID(int=7)

    job = jobs.enqueue("send_welcome_email", "ann", unique=7, group=group)  # type: ignore[arg-type]

    assert outbox.queued() == 1
    assert job.message().options["outbox_id"] == "7"
    assert job.message().options["group"] == str(group)


def test_a_rollback_takes_the_job_with_it(outbox: Outbox):
    with pytest.raises(RuntimeError), jobs.transaction(outbox.database):
        jobs.enqueue("send_welcome_email", "ann")
        raise RuntimeError

    assert outbox.queued() == 0
    assert Job.select().count() == 0


def test_a_savepoint_is_rolled_back_alone(outbox: Outbox):
    # Given savepoints in each other, which all have one name
    with jobs.transaction(outbox.database):
        jobs.enqueue("send_welcome_email", "outside")
        with jobs.transaction(outbox.database):
            jobs.enqueue("send_welcome_email", "between")
            with suppress(RuntimeError), jobs.transaction(outbox.database):
                jobs.enqueue("send_welcome_email", "inside")
                raise RuntimeError
        with suppress(RuntimeError), jobs.transaction(outbox.database):
            jobs.enqueue("send_welcome_email", "after")
            raise RuntimeError

    kept = [job.arguments for job in Job.select().order_by(Job.created_at)]
    assert kept == [["outside"], ["between"]]


def test_a_job_that_cannot_be_written_leaves_the_transaction_open(outbox: Outbox):
    # Given a database that takes one job of each queue
    outbox.database.execute_sql("CREATE UNIQUE INDEX one_a_queue ON outbox (queue)")

    with jobs.transaction(outbox.database):
        jobs.enqueue("send_welcome_email", "ann")
        with pytest.raises(peewee.IntegrityError):
            jobs.enqueue("send_welcome_email", "bob")
        jobs.enqueue("send_welcome_email", "eve", queue="other")

    assert [job.arguments for job in Job.select().order_by(Job.created_at)] == [["ann"], ["eve"]]


def test_without_a_broker_a_job_waits_for_the_relay(outbox: Outbox):
    # Given a broker that is away
    good = dramatiq.get_broker()
    jobs.connect("redis://127.0.0.1:1/0")

    # I expect the job to be accepted all the same
    job = jobs.enqueue("send_welcome_email", "ann")
    assert Job.get_by_id(job.id).send_at <= jobs.now()
    assert jobs.relay() == 0

    # And to be sent once, when the broker is back
    dramatiq.set_broker(good)
    assert jobs.relay() == 1
    assert jobs.relay() == 0
    assert outbox.queued() == 1


def test_a_job_that_was_lost_is_sent_again_after_a_while(outbox: Outbox):
    jobs.relay()
    job = jobs.enqueue("send_welcome_email", "ann")
    outbox.client.delete("dramatiq:default")
    assert jobs.relay() == 0

    Job.update(send_at=time.time()).where(Job.id == job.id).execute()

    assert jobs.relay() == 1
    assert outbox.queued() == 1
    assert Job.get_by_id(job.id).send_at > time.time() + 30


def test_a_broker_that_lost_everything_gets_everything_again_at_once(outbox: Outbox):
    jobs.relay()
    for name in ("ann", "bob"):
        jobs.enqueue("send_welcome_email", name)
    Job.update(sendings=5, send_at=time.time() + 3600).execute()
    assert jobs.relay() == 0

    outbox.client.flushdb()

    assert jobs.relay() == 2
    assert outbox.queued() == 2
    assert jobs.relay() == 0


def test_the_first_look_of_a_relay_is_no_cause_for_alarm(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
):
    # Given jobs that were enqueued before the first scheduler was started
    jobs.enqueue("send_welcome_email", "ann")

    with caplog.at_level("INFO", logger="gifster.jobs"):
        assert jobs.relay() == 1
    [said] = [record for record in caplog.records if "first look" in record.getMessage()]
    assert said.levelname == "INFO"
    assert "jobs=1 that wait are sent again" in said.getMessage()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]

    # When the broker loses them, I expect a warning
    Job.update(send_at=time.time() + 30).execute()
    outbox.client.flushdb()
    assert jobs.relay() == 1
    assert "the broker has nothing of this outbox: jobs=1 that wait are sent again" in caplog.text


def test_jobs_that_no_broker_had_yet_are_no_cause_for_alarm(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
):
    there = dramatiq.get_broker()
    dramatiq.set_broker(jobs.connect("redis://127.0.0.1:1/0"))
    jobs.enqueue("send_welcome_email", "ann")
    dramatiq.set_broker(there)
    caplog.clear()

    assert jobs.relay() == 1

    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_nothing_waits_for_the_former_time_after_the_clock_was_set_back(
    outbox: Outbox, set_clock: SetClock
):
    # Given a clock that is two hours fast, a job that waits, and one that a worker has leased
    set_clock.ahead(7200)
    jobs.relay()
    waiting = jobs.enqueue("send_welcome_email", "ann")
    leased = jobs.enqueue("send_welcome_email", "bob")
    assert Leases().take(leased.id)
    if clock.has_clock(
        outbox.database
    ):  # the lease is by the server's own clock, which no test can set
        Job.update(send_at=Job.send_at + 7200).where(Job.id == leased.id).execute()

    # When it is set right
    set_clock.ahead(0)

    # I expect the waiting job to be sent again, and the lease to end after the usual time
    assert jobs.relay() == 1
    assert Job.get_by_id(waiting.id).sendings == 1
    assert Job.get_by_id(leased.id).send_at <= jobs.now() + LEASE_S
    assert Job.get_by_id(leased.id).leased_by
    assert jobs.relay() == 0


def test_retries_are_counted_however_often_the_broker_loses_the_job(outbox: Outbox):
    # Given a job that fails, and may be run three times
    runs = []

    @dramatiq.actor(max_retries=2, min_backoff=600_000, max_backoff=600_000)
    def fails() -> None:
        runs.append(1)
        raise OSError("again")

    jobs.relay()
    job = jobs.enqueue("fails")
    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=1, worker_timeout=50)
    worker.start()
    try:
        for attempts in (1, 2):
            eventually(lambda expected=attempts: Job.get_by_id(job.id).attempts == expected)
            # When the broker loses it each time it waits for its retry
            outbox.client.flushdb()
            assert jobs.relay() == 1
        # I expect it to be given up after the third, not to begin anew
        eventually(lambda: Job.get_by_id(job.id).failed_at)
        assert len(runs) == 3
    finally:
        worker.stop()

    jobs.retry(job.id)
    assert Job.get_by_id(job.id).attempts == 0


def test_only_known_brokers_are_connected_to():
    with pytest.raises(ValueError, match=r"kafka://…: known are redis, .*amqps"):
        jobs.connect("kafka://localhost")


@pytest.mark.parametrize("option", ["lease_s", "max_memory_bytes", "max_per_group"])
def test_numbers_that_keep_jobs_from_running_are_refused(broker_url: str, option: str):
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"{option}={number}: use a number above 0"):
            jobs.connect(broker_url, **{option: number})


def test_a_broker_that_is_away_does_not_answer_a_ping():
    with pytest.raises(jobs.BrokerUnavailable):
        jobs.ping(jobs.connect("redis://127.0.0.1:1/0"))
