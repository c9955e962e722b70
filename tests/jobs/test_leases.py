"""Leases: a job in hand is nobody else's, and one whose worker died is soon in other hands."""

import time
from collections.abc import Callable, Iterator

import dramatiq
import pytest
from dramatiq.middleware import Middleware

from gifster import jobs
from gifster.jobs import Job, State
from gifster.jobs.lease import MAX_DEATHS, Leases, WorkersDied
from tests.jobs.conftest import Outbox
from tests.machine import eventually


@pytest.fixture
def worker() -> Iterator[Callable[..., Leases]]:
    """Makes workers, as far as leases are concerned."""
    made: list[Leases] = []

    def make(**options: float) -> Leases:
        made.append(Leases(**options))
        return made[-1]

    yield make
    for leases in made:
        for job_id in list(leases._held):
            leases.forget(job_id)


@pytest.fixture
def job(outbox: Outbox) -> Job:
    return jobs.enqueue("send_welcome_email", "ann")


def expire(job: Job) -> None:
    Job.update(send_at=time.time() - 1).where(Job.id == job.id).execute()


def now(job: Job) -> Job:
    return Job.get_by_id(job.id)


def test_a_job_is_in_the_hands_of_one_worker(job: Job, worker: Callable[..., Leases]):
    assert worker().take(job.id)

    assert not worker().take(job.id)
    assert jobs.relay() == 0


def test_a_job_that_is_done_or_dead_is_not_taken(job: Job, worker: Callable[..., Leases]):
    Job.update(failed_at=1.0).where(Job.id == job.id).execute()
    assert not worker().take(job.id)

    assert not worker().take("gone")


def test_a_lease_that_ran_out_is_sent_again_and_taken_by_another(
    job: Job, worker: Callable[..., Leases]
):
    worker().take(job.id)
    expire(job)

    assert jobs.relay() == 1
    assert now(job).deaths == 1
    two = worker()
    assert two.take(job.id)
    assert now(job).leased_by == two.worker


def test_a_lease_that_ran_out_can_be_taken_before_the_relay_comes(
    job: Job, worker: Callable[..., Leases]
):
    worker().take(job.id)
    expire(job)

    two = worker()
    assert two.take(job.id)
    assert now(job).deaths == 1
    assert now(job).leased_by == two.worker


def test_a_lease_is_renewed_while_its_job_runs(job: Job, worker: Callable[..., Leases]):
    leases = worker(lease_s=1)
    leases.take(job.id)
    first = now(job).send_at

    eventually(lambda: now(job).send_at > first + 1)

    leases.forget(job.id)
    assert now(job).deaths == 0


def test_a_job_over_which_workers_die_is_given_up(job: Job, worker: Callable[..., Leases]):
    for _ in range(MAX_DEATHS):
        worker().take(job.id)
        expire(job)

    with pytest.raises(WorkersDied, match="3 workers died over it"):
        worker().take(job.id)


def test_a_process_holds_one_suspect_at_a_time(outbox: Outbox, worker: Callable[..., Leases]):
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


def test_a_worker_that_ends_hands_its_jobs_back(job: Job, worker: Callable[..., Leases]):
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


def test_a_dead_unique_job_stands_in_no_new_ones_way(outbox: Outbox):
    jobs.enqueue("sweep", unique="sweep")
    Job.update(failed_at=time.time()).execute()

    assert jobs.enqueue("sweep", unique="sweep") is not None
    assert Job.get().failed_at is None


def test_the_dead_can_be_retried_and_dropped(job: Job, worker: Callable[..., Leases]):
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


# The ends of jobs, with a worker in this process.


class AtTheRetry(Middleware):
    """Calls a function at the moment at which a retry has been sent."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def after_enqueue(self, broker: object, message: object, delay: int | None) -> None:
        if delay is not None:
            self._call()


def work(function: Callable[[str], None], **options: object) -> Job:
    """Make an actor of a function, a job of it, and have a worker do that."""
    broker = dramatiq.get_broker()
    dramatiq.actor(function, **options)
    job = jobs.enqueue(function.__name__, "ann")
    one = dramatiq.Worker(broker, worker_threads=1)
    one.start()
    broker.join("default", timeout=20_000)
    one.stop()
    return job


def test_a_retry_that_begins_at_once_is_in_its_own_workers_hands(
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

    # I expect the retry not to have been refused, and its lease to have been left alone
    assert taken == [True]
    assert now(job).leased_by == other.worker
    assert now(job).deaths == 0


def test_a_job_that_is_in_hand_here_is_not_begun_again_here(
    job: Job, worker: Callable[..., Leases]
):
    leases = worker()
    assert leases.take(job.id)
    expire(job)

    assert not leases.take(job.id)


def test_a_job_that_another_middleware_skips_is_not_held_for_ever(outbox: Outbox):
    # Given a job that is too old for Dramatiq's AgeLimit
    began = []

    def greet(name: str) -> None:
        began.append(name)

    job = work(greet, max_age=-1)

    assert began == []
    assert now(job).failed_at is not None
    assert now(job).leased_by is None
