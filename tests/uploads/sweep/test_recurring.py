"""The sweep as a recurring job, which the scheduler of an application enqueues."""

import os

import dramatiq
import pytest

from gifster import jobs
from gifster.jobs.recurring import declared_recurring
from gifster.uploads import actors
from tests.uploads.framework import Application
from tests.uploads.sweep.scene import orphan, person


def test_a_worker_sweeps_every_hour(application: Application, caplog: pytest.LogCaptureFixture):
    # Given the framework's actors, a stored file, and an old one that no row names
    dramatiq.get_broker().declare_actor(actors.sweep_uploads)
    person()
    application.work()
    kept = application.stored
    os.utime(application.store_folder / orphan(application), (1, 1))

    # When the time of the sweep has come
    every = {name: declared_recurring()[name] for name in ["sweep_uploads"]}
    assert every["sweep_uploads"].rule == "17 * * * *"
    jobs.enqueue_recurring(every)
    jobs.RecurringJob.update(next_at=1).execute()
    assert jobs.enqueue_recurring(every) == ["sweep_uploads"]
    (job,) = application.jobs()
    assert job.queue == "carrierwave"
    caplog.set_level("INFO", logger="gifster.uploads")
    application.work()

    # I expect only that file to be gone, and the log to say so
    assert application.stored == kept
    assert "swept abandoned=0 orphans=1 missing=0 stuck=0" in caplog.text
