"""Errors of applications that are no ordinary ones: the job ends, and the worker goes on."""

import asyncio

import dramatiq
import pytest

from gifster import jobs
from gifster.jobs import Job, State
from tests.jobs.conftest import Outbox
from tests.machine import eventually


class Unshowable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("it has no text")

    __str__ = __repr__


def test_an_on_dead_that_is_cancelled_ends_no_thread(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
):
    # Given an `on_dead` that raises what is no `Exception`, and a worker of one thread
    def cancelled(_: BaseException) -> None:
        raise asyncio.CancelledError

    @dramatiq.actor(max_retries=0, on_dead=cancelled)
    def fail() -> None:
        raise ValueError

    dramatiq.actor(lambda: None, actor_name="work")
    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=1)
    worker.start()
    try:
        jobs.enqueue(fail)
        eventually(lambda: jobs.find(State.DEAD))

        # I expect the thread to do the next job
        jobs.enqueue("work")
        eventually(lambda: not Job.select().where(Job.actor == "work").exists())
    finally:
        worker.stop()
    assert "on_dead failed job=" in caplog.text


def test_a_job_whose_error_cannot_be_shown_has_its_line_in_the_log(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
):
    @dramatiq.actor(max_retries=0)
    def fail() -> None:
        raise Unshowable

    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=1)
    worker.start()
    try:
        jobs.enqueue(fail)
        eventually(lambda: jobs.find(State.DEAD))
        why = "Unshowable, which cannot be shown: RuntimeError"
        eventually(lambda: f"retry=no error={why}" in caplog.text)
    finally:
        worker.stop()
    assert Job.get().error == why
