"""The outbox and the workers: real processes of Gifster's, killed and starved."""

import os
import signal
import time
from collections.abc import Callable

import dramatiq
import pytest
import redis

from gifster import jobs
from gifster.app.database import db
from gifster.app.settings import Settings
from gifster.jobs import Job
from gifster.jobs.lease import LEASE_S, Leases
from tests import images
from tests.machine import eventually, files_below
from tests.stack import Stack


def queued(settings: Settings, queue: str = "default") -> int:
    return redis.Redis.from_url(settings.broker.url).llen(f"dramatiq:{queue}")


def test_a_job_is_sent_when_the_transaction_has_committed(booted: Settings):
    with jobs.transaction(db):
        jobs.enqueue("send_welcome_email", "ann")
        assert queued(booted) == 0

    assert queued(booted) == 1
    [job] = Job.select()
    assert (job.actor, job.queue, job.arguments) == ("send_welcome_email", "default", ["ann"])


def test_a_rollback_takes_the_job_with_it(booted: Settings):
    with pytest.raises(RuntimeError), jobs.transaction(db):
        jobs.enqueue("send_welcome_email", "ann")
        raise RuntimeError

    assert queued(booted) == 0
    assert Job.select().count() == 0


def test_without_a_broker_a_job_waits_for_the_relay(booted: Settings):
    # Given a broker that is away
    good = dramatiq.get_broker()
    jobs.connect("redis://127.0.0.1:1/0")

    # I expect the job to be accepted all the same
    job = jobs.enqueue("send_welcome_email", "ann")
    assert Job.get_by_id(job.id).send_at <= time.time()
    assert jobs.relay() == 0

    # And to be sent once, when the broker is back
    dramatiq.set_broker(good)
    assert jobs.relay() == 1
    assert jobs.relay() == 0
    assert queued(booted) == 1


def test_a_job_that_was_lost_is_sent_again_after_a_while(booted: Settings):
    jobs.relay()
    job = jobs.enqueue("send_welcome_email", "ann")
    redis.Redis.from_url(booted.broker.url).delete("dramatiq:default")
    assert jobs.relay() == 0

    Job.update(send_at=time.time()).where(Job.id == job.id).execute()

    assert jobs.relay() == 1
    assert queued(booted) == 1
    assert Job.get_by_id(job.id).send_at > time.time() + 30


def test_a_broker_that_lost_everything_gets_everything_again_at_once(booted: Settings):
    jobs.relay()
    for name in ("ann", "bob"):
        jobs.enqueue("send_welcome_email", name)
    Job.update(sendings=5, send_at=time.time() + 3600).execute()
    assert jobs.relay() == 0

    redis.Redis.from_url(booted.broker.url).flushdb()

    assert jobs.relay() == 2
    assert queued(booted) == 2
    assert jobs.relay() == 0


def test_after_the_clock_was_set_back_nothing_waits_for_the_time_of_before(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    # Given, under a clock that is two hours fast, a job that waits, and one in a worker's hands
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 7200)
    jobs.relay()
    waiting = jobs.enqueue("send_welcome_email", "ann")
    leased = jobs.enqueue("send_welcome_email", "bob")
    assert Leases().take(leased.id)

    # When it is set right
    monkeypatch.setattr(time, "time", right)

    # I expect what waits to be sent again, and the worker's lease to end when a lease does
    assert jobs.relay() == 1
    assert Job.get_by_id(waiting.id).sendings == 1
    assert Job.get_by_id(leased.id).send_at <= right() + LEASE_S
    assert Job.get_by_id(leased.id).leased_by
    assert jobs.relay() == 0


def test_retries_are_counted_however_often_the_broker_loses_the_job(booted: Settings):
    # Given a job that fails, and may be tried three times
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
            redis.Redis.from_url(booted.broker.url).flushdb()
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


def test_a_broker_that_is_away_does_not_answer_a_ping():
    with pytest.raises(jobs.BrokerUnavailable):
        jobs.ping(jobs.connect("redis://127.0.0.1:1/0"))


def test_a_worker_started_as_sidekiq_users_expect_logs_start_and_done(
    new_stack: Callable[..., Stack],
):
    # Given the very command
    stack = new_stack()
    stack.start("dramatiq", "gifster.actors", "--queues", "default", "carrierwave")
    stack.start_web()

    done = stack.finished(stack.upload(images.gif()).json()["id"])

    assert done["state"] == "ready"
    lines = eventually(
        lambda: (found := [line for line in stack.log("dramatiq-gifster.actors").splitlines()
                           if "actor=store_asset" in line]) and len(found) == 2 and found
    )  # fmt: skip
    assert " start " in lines[0]
    assert done["id"] in lines[0]
    assert " done " in lines[1]
    assert " ms=" in lines[1]


def test_an_upload_without_broker_or_worker_is_accepted_and_stored_later(
    new_stack: Callable[..., Stack],
):
    # Given a web server whose broker is away
    stack = new_stack()
    broker = stack.environment["GIFSTER_BROKER__URL"]
    stack.environment["GIFSTER_BROKER__URL"] = "redis://127.0.0.1:1/0"
    stack.start_web()

    # When I upload
    answer = stack.upload(images.gif())
    assert answer.status_code == 202
    assert stack.client.get("/readyz").json()["checks"]["database"] == "ok"
    assert stack.client.get("/readyz").json()["checks"]["broker"] != "ok"

    # I expect it to be stored when there are a broker, a scheduler and a worker
    stack.environment["GIFSTER_BROKER__URL"] = broker
    stack.start_worker()
    stack.start("gifster", "scheduler")
    assert stack.finished(answer.json()["id"])["state"] == "ready"


def test_a_worker_killed_in_the_middle_of_a_job_loses_nothing(new_stack: Callable[..., Stack]):
    # Given a worker process that is busy with an upload
    stack = new_stack()
    stack.start_web()
    stack.start("gifster", "scheduler")
    main = stack.start_worker()
    gif_id = stack.upload(images.noisy_gif((900, 700), 40)).json()["id"]
    eventually(lambda: stack.gif(gif_id)["state"] == "processing")

    # When it is killed
    [worker] = children(main.pid)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: main.poll() is not None)

    # I expect another one to do the job, when the first is found to be dead
    stack.start_worker()
    done = eventually(lambda: (gif := stack.gif(gif_id))["state"] == "ready" and gif, within=60)
    assert sorted(name.rpartition("/")[2] for name in files_below(stack.var / "store")) == [
        "mp4.mp4",
        "original.gif",
        "poster.webp",
        "preview.gif",
        "thumb.gif",
        "webp.webp",
    ]
    assert done["image"]["frames"] == 40
    eventually(lambda: not files_below(stack.var / "cache"))


def test_workers_do_not_outlive_their_killed_main_process(new_stack: Callable[..., Stack]):
    stack = new_stack()
    main = stack.start_worker()
    [worker] = eventually(lambda: children(main.pid))
    eventually(lambda: "ready for action" in stack.log("dramatiq-gifster.actors"))

    main.kill()

    eventually(lambda: not alive(worker))


def test_web_processes_do_not_outlive_their_killed_main_process(new_stack: Callable[..., Stack]):
    stack = new_stack()
    main = stack.start_web()
    started = children(main.pid)
    assert started

    main.kill()

    eventually(lambda: not any(alive(pid) for pid in started))


def children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        pytest.skip("needs /proc to find the children of a process")


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
