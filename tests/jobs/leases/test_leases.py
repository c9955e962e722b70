"""Leases: one worker at a time runs a job, and the jobs of a dead worker soon run in another."""

import threading
import time
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
from dramatiq.middleware import Middleware

from gifster import jobs
from gifster.jobs import Job, State, clock, lease_rows
from gifster.jobs.lease import LEASE_S, MAX_DEATHS, Leases, WorkersDied
from gifster.jobs.suspects import Suspects
from tests.clocks import SetClock
from tests.jobs.conftest import Outbox
from tests.jobs.leases.leased import expire, now
from tests.machine import eventually


def test_one_worker_at_a_time_leases_a_job(job: Job, worker: Callable[..., Leases]):
    assert worker().take(job.id)

    assert not worker().take(job.id)
    assert jobs.relay() == 0


def test_a_done_or_dead_job_cannot_be_leased(job: Job, worker: Callable[..., Leases]):
    Job.update(failed_at=1.0).where(Job.id == job.id).execute()
    assert not worker().take(job.id)

    assert not worker().take("gone")


def test_a_job_whose_lease_ran_out_is_sent_again_and_taken_by_another_worker(
    job: Job, worker: Callable[..., Leases]
):
    worker().take(job.id)
    expire(job)

    assert jobs.relay() == 1
    assert now(job).deaths == 1
    two = worker()
    assert two.take(job.id)
    assert now(job).leased_by == two.worker


def test_only_the_relay_ends_the_lease_of_another_worker(job: Job, worker: Callable[..., Leases]):
    # Given a lease that has run out by a clock that somebody may have set
    one = worker()
    one.take(job.id)
    expire(job)

    # When a broker delivers the message once more, I expect the job to run in one worker only
    assert not worker().take(job.id)
    assert (now(job).leased_by, now(job).deaths) == (one.worker, 0)


def test_no_worker_is_taken_for_dead_because_the_clock_was_set_forward(
    outbox: Outbox, set_clock: SetClock, worker: Callable[..., Leases]
):
    # Given a relay, and a job that a living worker runs
    jobs.relay()
    job = jobs.enqueue("send_welcome_email", "ann")
    leases = worker()
    assert leases.take(job.id)

    # When the clock of the outbox is set an hour forward
    set_clock.ahead(3600)

    # I expect the lease to begin anew, and to end if nobody renews it
    assert jobs.relay() == 0
    assert (now(job).leased_by, now(job).deaths) == (leases.worker, 0)
    assert 0 < now(job).send_at - jobs.now() <= LEASE_S
    expire(job)
    assert jobs.relay() == 1
    assert now(job).deaths == 1


def test_a_worker_with_a_wrong_clock_takes_leases_by_that_of_the_database(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, worker: Callable[..., Leases]
):
    # Given a relay that has looked, and a machine whose clock is an hour behind its server's
    if not clock.has_clock(outbox.database):
        pytest.skip("SQLite has the machine's clock")
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() - 3600)

    # When it enqueues a job and begins it
    job = jobs.enqueue("send_welcome_email", "ann")
    assert worker().take(job.id)

    # I expect all its moments to be right, and the relay to leave it alone
    assert jobs.relay() == 0
    row = now(job)
    assert abs(row.created_at - right()) < 60
    assert abs(row.started_at - right()) < 60
    assert 0 < row.send_at - right() < 60
    assert clock.off_s(outbox.database) == pytest.approx(-3600, abs=60)


def test_a_lease_is_renewed_while_its_job_runs(job: Job, worker: Callable[..., Leases]):
    leases = worker(lease_s=0.3)
    leases.take(job.id)
    first = now(job).send_at

    eventually(lambda: now(job).send_at > first + leases.lease_s)

    leases.forget(job.id)
    assert now(job).deaths == 0


def test_a_job_over_which_workers_die_is_given_up(job: Job, worker: Callable[..., Leases]):
    for _ in range(MAX_DEATHS):
        worker().take(job.id)
        expire(job)
        jobs.relay()

    with pytest.raises(WorkersDied, match=f"{MAX_DEATHS} workers died over it"):
        worker().take(job.id)


def test_a_lease_is_renewed_although_the_clock_was_set_back(
    job: Job, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    leases = worker(lease_s=1)
    assert leases.take(job.id)
    first = now(job).send_at
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 7200)

    eventually(lambda: now(job).send_at != first)


def test_a_process_runs_one_suspect_at_a_time(outbox: Outbox, worker: Callable[..., Leases]):
    # Given two jobs whose worker died, and one that is new
    first, second = (jobs.enqueue("send_welcome_email", name) for name in ("ann", "bob"))
    new = jobs.enqueue("send_welcome_email", "cid")
    Job.update(deaths=1).where(Job.id.in_([first.id, second.id])).execute()
    leases = worker()

    # I expect the second suspect to wait until the first is cleared
    assert leases.take(first.id)
    assert not leases.take(second.id)
    assert leases.take(new.id)
    assert now(second).leased_by is None
    leases.forget(first.id)
    assert leases.take(second.id)


def test_leases_are_renewed_while_a_suspect_is_put_off(
    outbox: Outbox, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    # Given a process that runs a suspect, and the row of another one, which somebody has locked
    first, second = (jobs.enqueue("send_welcome_email", name) for name in ("ann", "bob"))
    Job.update(deaths=1).execute()
    leases = worker(lease_s=0.3)
    assert leases.take(first.id)
    waits, gate, put_off = threading.Event(), threading.Event(), lease_rows.put_off

    def slowly(job_id: str, worker: str, until: float) -> None:
        waits.set()
        gate.wait(60)
        put_off(job_id, worker, until)

    def take() -> None:
        with outbox.database.connection_context():
            leases.take(second.id)

    monkeypatch.setattr(lease_rows, "put_off", slowly)
    taking = threading.Thread(target=take)
    taking.start()
    try:
        assert waits.wait(60)

        # I expect the lease of the first to be renewed all the same
        until = now(first).send_at
        eventually(lambda: now(first).send_at > until + leases.lease_s)
    finally:
        gate.set()
        taking.join()
    assert now(second).leased_by is None


def test_a_suspect_whose_lease_somebody_else_has_by_now_is_left_to_it(
    outbox: Outbox, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    # Given a process that runs a suspect, and stood still after it had leased another one
    first, second = (jobs.enqueue("send_welcome_email", name) for name in ("ann", "bob"))
    Job.update(deaths=1).execute()
    leases, other = worker(), worker()
    assert leases.take(first.id)
    put_off = lease_rows.put_off

    def late(*given: Any) -> None:
        expire(second)
        assert jobs.relay() == 1
        assert other.take(second.id)
        put_off(*given)

    monkeypatch.setattr(lease_rows, "put_off", late)
    assert not leases.take(second.id)

    # I expect the lease of the process that runs it by now to stay
    assert now(second).leased_by == other.worker
    assert leases.followers() == []


def test_the_end_of_a_suspect_that_two_threads_note_is_not_that_of_the_next_one(outbox: Outbox):
    # Given a thread that notes the end of a suspect, and another one that does so, too
    suspects = Suspects("one")
    assert suspects.begin("first", 0.0)

    class Meanwhile:
        """The lock, for which the next suspect has come before this thread."""

        def __enter__(self) -> None:
            suspects._running = "second"

        def __exit__(self, *_: object) -> None:
            suspects._lock = threading.Lock()

    suspects._lock = Meanwhile()
    suspects.end("first")

    # I expect the next one to run
    job = jobs.enqueue("send_welcome_email", "ann")
    assert not suspects.begin(job.id, 0.0)


def test_the_suspects_that_waited_begin_when_the_one_before_ends(outbox: Outbox):
    # Given three jobs that a killed worker has left
    broker, done = dramatiq.get_broker(), []
    for n in range(3):
        jobs.enqueue("work", n)
    Job.update(deaths=1).execute()
    put_off = Job.leased_by.is_null() & (Job.send_at < time.time() + 30)

    # When three threads of one process take them, and the first ends after the others were put off
    def work(n: int) -> None:
        if not done:
            eventually(lambda: Job.select().where(put_off).count() == 2)
        done.append(n)

    dramatiq.actor(work)
    one = dramatiq.Worker(broker, worker_threads=3)
    one.start()
    try:
        # I expect them to run one by one, though no relay sends them again
        eventually(lambda: Job.select().count() == 0)
    finally:
        one.stop()
    assert sorted(done) == [0, 1, 2]


def test_a_suspect_that_another_process_has_does_not_follow(
    outbox: Outbox, worker: Callable[..., Leases]
):
    first, second, third = (jobs.enqueue("send_welcome_email", n) for n in range(3))
    Job.update(deaths=1).execute()
    leases, other = worker(), worker()
    leases.take(first.id)
    assert not leases.take(second.id)
    assert not leases.take(third.id)
    assert leases.followers() == []
    assert other.take(second.id)

    leases.forget(first.id)

    assert [job.id for job in leases.followers()] == [third.id]
    assert leases.followers() == []


def test_a_worker_that_ends_gives_its_jobs_back(job: Job, worker: Callable[..., Leases]):
    leases = worker()
    leases.take(job.id)

    assert [given.id for given in leases.give_back()] == [job.id]

    assert now(job).leased_by is None
    assert now(job).deaths == 0
    assert leases.give_back() == []


def test_of_a_unique_job_there_is_one_at_a_time(outbox: Outbox):
    assert jobs.enqueue("sweep", unique="sweep") is not None
    assert jobs.enqueue("sweep", unique="sweep") is None
    Job.delete().execute()
    assert jobs.enqueue("sweep", unique="sweep") is not None


def test_a_dead_unique_job_does_not_block_a_new_one(outbox: Outbox):
    jobs.enqueue("sweep", unique="sweep")
    Job.update(failed_at=time.time()).execute()

    assert jobs.enqueue("sweep", unique="sweep") is not None
    assert Job.get().failed_at is None


def test_dead_jobs_can_be_retried_and_dropped(job: Job, worker: Callable[..., Leases]):
    Job.update(failed_at=time.time(), deaths=3, error="OSError()").where(Job.id == job.id).execute()
    assert [dead.id for dead in jobs.find(State.DEAD)] == [job.id]
    assert jobs.find(State.WAITING) == []

    jobs.retry(job.id)
    assert jobs.find(State.DEAD) == []
    assert worker().take(job.id)
    with pytest.raises(jobs.NoSuchJob):
        jobs.retry(job.id)

    Job.update(failed_at=time.time()).execute()
    jobs.drop(job.id)
    with pytest.raises(jobs.NoSuchJob):
        jobs.drop(job.id)
    assert Job.select().count() == 0


# How jobs end, with a worker in this process.


class AtTheRetry(Middleware):
    """Calls a function as soon as a retry has been sent."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def after_enqueue(self, broker: object, message: object, delay: int | None) -> None:
        if delay is not None:
            self._call()


def work(function: Callable[[str], None], **options: object) -> Job:
    """Make a function an actor, enqueue a job for it, and run that in a worker."""
    broker = dramatiq.get_broker()
    dramatiq.actor(function, **options)
    job = jobs.enqueue(function.__name__, "ann")
    one = dramatiq.Worker(broker, worker_threads=1)
    one.start()
    broker.join("default", timeout=60_000)
    one.stop()
    return job


def test_a_retry_that_begins_at_once_keeps_its_own_lease(
    outbox: Outbox, worker: Callable[..., Leases]
):
    # Given another worker that takes the retry as soon as it is sent
    other = worker()
    taken = []
    retry = AtTheRetry(lambda: taken.append(bool(other.take(Job.get().id))))
    dramatiq.get_broker().add_middleware(retry)

    # When the first try ends after that
    def fail(name: str) -> None:
        raise RuntimeError("no luck")

    job = work(fail, min_backoff=0)

    # I expect the retry to have its own lease, and the first try to leave it alone
    assert taken == [True]
    assert now(job).leased_by == other.worker
    assert now(job).deaths == 0


def test_a_running_job_is_not_begun_again_in_the_same_process(
    job: Job, worker: Callable[..., Leases]
):
    leases = worker()
    assert leases.take(job.id)
    expire(job)

    assert not leases.take(job.id)


def test_the_age_of_a_job_counts_from_when_it_may_run(outbox: Outbox):
    # Given jobs that waited in the outbox, one of them for its moment
    at_once, later = (jobs.enqueue("send_welcome_email", "ann", in_s=s) for s in (0, 3600))
    assert at_once
    assert later
    Job.update(created_at=Job.created_at - 7200).execute()

    # When the relay makes their messages, I expect Dramatiq's `max_age` to see how old they are
    ages = [now(job).message().message_timestamp / 1000 - jobs.now() for job in (at_once, later)]
    assert ages == pytest.approx([-7200, 3600], abs=60)
    # But none of a group, which has forgotten its moment, counts as older than it is
    Job.update(group="ann", due_at=None).execute()
    ages = [now(job).message().message_timestamp / 1000 - jobs.now() for job in (at_once, later)]
    assert ages == pytest.approx([0, 0], abs=60)


def test_a_job_that_another_middleware_skips_is_given_up(outbox: Outbox):
    # Given a job that is too old for Dramatiq's AgeLimit
    began = []

    def greet(name: str) -> None:
        began.append(name)

    job = work(greet, max_age=-1)

    assert began == []
    assert now(job).failed_at is not None
    assert now(job).leased_by is None
