"""Forged messages for the framework's own actors."""

from typing import Any

import dramatiq
import pytest

from gifster.jobs import Job
from gifster.uploads.actors import process_actor, remove_files, store_actor
from tests.combinations import on_one_platform
from tests.images import gif
from tests.machine import eventually
from tests.uploads.framework import Application, Person

pytestmark = on_one_platform


@pytest.fixture
def worker(application: Application) -> Any:
    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=2, worker_timeout=100)
    worker.start()
    yield worker
    worker.stop()


def test_a_removal_without_an_outbox_row_removes_nothing(
    application: Application, worker: Any, caplog: pytest.LogCaptureFixture
):
    # Given a stored original
    person = Person.create(avatar=gif())
    eventually(lambda: not Job.select().exists())
    original = Person.get_by_id(person.id).avatar.stored
    before = application.stored

    # When somebody who can write to the broker asks for its removal
    message = remove_files.message("person", person.id, "avatar", original.files)
    dramatiq.get_broker().enqueue(message)

    # I expect a line in the log, and nothing else
    eventually(lambda: any(r.getMessage().startswith("refused: ") for r in caplog.records))
    assert application.stored == before


def test_a_removal_with_the_id_of_another_job_runs_that_job(application: Application, worker: Any):
    person, other = Person.create(avatar=gif()), Person.create(avatar=gif())
    eventually(lambda: not Job.select().exists())
    original = Person.get_by_id(person.id).avatar.stored
    waiting = Job(
        actor="remove_files",
        queue="carrierwave",
        arguments=["person", other.id, "avatar", Person.get_by_id(other.id).avatar.stored.files],
        send_at=2e12,
    )
    waiting.save(force_insert=True)

    message = remove_files.message("person", person.id, "avatar", original.files)
    dramatiq.get_broker().enqueue(message.copy(options={"outbox_id": waiting.id}))

    eventually(lambda: not Job.select().exists())
    names = {key for _, key in original.files}
    assert set(application.stored) == names


def test_an_actor_of_ones_own_declares_whether_it_needs_an_outbox_row(application: Application):
    @store_actor(outbox_only=False)
    def store_plainly(promotion: Any) -> None:
        """As before."""

    @process_actor()
    def process_mine(recreation: Any) -> None:
        """By default."""

    assert not store_plainly.options["outbox_only"]
    assert process_mine.options["outbox_only"]
