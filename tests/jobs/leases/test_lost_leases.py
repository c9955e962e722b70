"""Leases of a worker whose database goes away while it takes, renews or ends them."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from gifster import jobs
from gifster.jobs import Job, lease, lease_rows
from gifster.jobs.lease import MAX_DEATHS, Leases
from gifster.jobs.timelines import history_of
from tests.jobs.conftest import Outbox
from tests.jobs.leases.leased import expire, now
from tests.machine import eventually
from tests.threads import no_more_threads


def away(*_: object, **__: object) -> None:
    raise OSError("the database is away")


def test_a_worker_that_could_not_renew_a_lease_has_not_died(
    job: Job, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    # Given a worker that is cut off from the database until the relay has its job
    leases = worker(lease_s=1)
    with monkeypatch.context() as patched:
        patched.setattr(leases, "_extend", away)
        leases.take(job.id)
        expire(job)
        assert jobs.relay() == 1
        assert now(job).deaths == 1
        other = worker()
        other.take(job.id)

    # I expect it to correct that, and the death of the other one to stay
    eventually(lambda: now(job).deaths == 0)
    expire(job)
    assert jobs.relay() == 1
    assert now(job).deaths == 1
    eventually(lambda: leases._held[job.id].lost)
    assert now(job).deaths == 1


def test_a_job_is_not_given_up_because_commits_of_its_leases_were_lost(
    job: Job, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    # Given workers that lease a job, and lose the connection before they are told
    for _ in range(MAX_DEATHS + 1):
        leases = worker(lease_s=0.3)
        run = leases.commits.run
        monkeypatch.setattr(leases.commits, "run", lambda *given, run=run: away(run(*given)))
        with monkeypatch.context() as patched:
            patched.setattr(leases, "_settle", away)
            with pytest.raises(OSError, match="away"):
                leases.take(job.id)
            expire(job)
            assert jobs.relay() == 1
        eventually(lambda: now(job).deaths == 0)

    # I expect the job to run
    assert worker().take(job.id)


def test_a_lease_of_which_nobody_knows_is_ended_soon(
    job: Job, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    # Given a worker whose database goes away as it takes a job, and as it ends it for a retry
    leases = worker(lease_s=1)
    run = leases.commits.run
    with monkeypatch.context() as patched:
        patched.setattr(leases.commits, "run", lambda *given: away(run(*given)))
        with pytest.raises(OSError, match="away"):
            leases.take(job.id)
    eventually(lambda: now(job).leased_by is None)
    assert leases.take(job.id)
    later = time.time() + 100
    with pytest.raises(OSError, match="away"), leases.ending(job.id, send_at=later, attempts=3):
        away()

    # I expect the row as it should have been, and no death
    eventually(lambda: now(job).leased_by is None)
    assert (now(job).send_at, now(job).attempts, now(job).deaths) == (later, 3, 0)


def test_each_attempt_to_take_a_job_is_looked_after(
    job: Job, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    # Given a worker whose first attempt came through, without an answer, and whose second did not
    leases = worker(lease_s=1)
    run = leases.commits.run
    with monkeypatch.context() as patched:
        patched.setattr(leases, "_settle", away)
        for attempt in (lambda *given: away(run(*given)), away):
            patched.setattr(leases.commits, "run", attempt)
            with pytest.raises(OSError, match="away"):
                leases.take(job.id)
        assert now(job).leased_by == leases.worker

    # When the database answers, I expect the lease to end before it runs out
    eventually(lambda: now(job).leased_by is None)
    assert now(job).deaths == 0
    assert leases.take(job.id)


def test_leases_are_renewed_while_many_are_left(
    outbox: Outbox, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    # Given a worker whose database was away while it took jobs, and is slow now
    leases, done = worker(lease_s=0.3), list[str]()
    renew, settle = lease_rows.renew, lease_rows.settle

    def renewing(*given: Any) -> set[str]:
        done.append("renew")
        return renew(*given)

    def settling(*given: Any) -> None:
        done.append("settle")
        threading.Event().wait(leases.lease_s / 2)
        settle(*given)

    monkeypatch.setattr(lease_rows, "renew", renewing)
    monkeypatch.setattr(lease_rows, "settle", settling)
    with monkeypatch.context() as patched:
        patched.setattr(leases.commits, "run", away)
        for number in range(3):
            with pytest.raises(OSError, match="away"):
                leases.take(jobs.enqueue("send_welcome_email", number).id)

    # When it ends these, I expect it to renew others in between
    eventually(lambda: not leases._left)
    assert "settle settle" not in " ".join(done)


def test_a_worker_that_ends_gives_its_jobs_back_before_it_looks_after_others(
    outbox: Outbox, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    # Given a worker that runs a job, and does not know of another one whether it has it
    first, second = (jobs.enqueue("send_welcome_email", name) for name in ("ann", "bob"))
    leases = worker()
    assert leases.take(first.id)
    with monkeypatch.context() as patched:
        patched.setattr(leases.commits, "run", away)
        with pytest.raises(OSError, match="away"):
            leases.take(second.id)

    # When it stops, and that cannot be found out
    monkeypatch.setattr(lease_rows, "settle", away)
    with pytest.raises(OSError, match="away"):
        leases.give_back()

    # I expect the first to wait for nobody
    assert now(first).leased_by is None


def test_leases_are_renewed_after_the_process_had_no_more_threads(
    outbox: Outbox, worker: Callable[..., Leases]
):
    # Given a worker process that has as many threads as it may have, when it takes a suspect
    first, second = (jobs.enqueue("send_welcome_email", name) for name in ("ann", "bob"))
    Job.update(deaths=1).execute()
    leases = worker(lease_s=0.3)
    with no_more_threads("leases"), pytest.raises(RuntimeError, match="new thread"):
        leases.take(first.id)

    # When there are fewer, I expect it to take the next one, to renew that, and to end the first
    assert leases.take(second.id)
    until = now(second).send_at
    eventually(lambda: now(second).send_at > until + leases.lease_s)
    eventually(lambda: now(first).leased_by is None)
    leases.forget(second.id)
    assert leases.take(first.id)
    assert now(first).deaths == 1


def test_a_retry_that_came_while_its_row_was_still_leased_is_sent_again_soon(
    job: Job, worker: Callable[..., Leases]
):
    # Given a failed job whose lease could not be ended before its retry came, so that was skipped
    leases = worker(lease_s=1)
    assert leases.take(job.id)
    retry = {"send_at": time.time() + 3600, "due_at": time.time(), "attempts": 1}
    with pytest.raises(OSError, match="away"), leases.ending(job.id, **retry):
        away()
    assert not worker().take(job.id)

    # When the database answers, I expect the relay to send it at once
    eventually(lambda: now(job).leased_by is None)
    assert now(job).attempts == 1
    assert jobs.relay() == 1


def test_a_done_job_whose_row_could_not_be_deleted_is_not_done_again(
    job: Job, worker: Callable[..., Leases]
):
    # Given a worker whose database goes away as it deletes the row of a job that it has done
    leases = worker(lease_s=1)
    assert leases.take(job.id)

    with pytest.raises(OSError, match="away"), leases.ending(job.id, done=True):
        away()

    # I expect the row to go once the database answers
    eventually(lambda: not Job.select().exists())


def test_a_done_job_runs_again_if_the_server_that_took_over_may_lack_what_it_wrote(
    job: Job, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
):
    # Given a worker whose database goes away as it deletes the row of a job that it has done
    leases = worker(lease_s=1)
    assert leases.take(job.id)

    # When a standby takes over, which may have missed what the job committed
    monkeypatch.setattr(lease, "history_of", lambda _: "00000002")
    with pytest.raises(OSError, match="away"), leases.ending(job.id, done=True):
        away()

    # I expect the row to stay, for any worker, and no death
    eventually(lambda: now(job).leased_by is None)
    assert now(job).deaths == 0
    assert worker().take(job.id)


def test_a_database_has_one_history_until_another_server_takes_over(outbox: Outbox):
    is_postgresql = outbox.database_url.startswith("postgresql")

    assert history_of(outbox.database) == ("00000001" if is_postgresql else "")


def test_a_done_job_whose_row_lingers_is_neither_handed_back_nor_begun_again(
    job: Job, worker: Callable[..., Leases]
):
    # Given a worker that could not delete the row of a done job before its lease ran out
    leases = worker(lease_s=60)
    assert leases.take(job.id)
    with pytest.raises(OSError, match="away"), leases.ending(job.id, done=True):
        away()
    expire(job)
    assert jobs.relay() == 1

    # When it gets the job again, and stops, I expect it to know that it is done
    assert not leases.take(job.id)
    assert leases.give_back() == []
    assert not Job.select().exists()
