"""Files of a list whose jobs are dead: they wait in the cache, and go with their place in it."""

import time

from gifster.jobs import Job
from gifster.uploads.backgrounding.promotion import Promotion
from tests.uploads.framework import Application, fresh
from tests.uploads.records import ONE, TWO, PhotoFolder


def give_up(application: Application) -> None:
    """Have the only job fail for the last time."""
    [job] = application.jobs()
    Promotion(*job.arguments).fail(OSError("away"), give_up=False)
    Job.update(failed_at=time.time()).execute()


def test_a_file_whose_job_is_dead_goes_with_its_place_in_the_list(application: Application):
    application.create_tables(PhotoFolder)
    folder = PhotoFolder.create(photos=[ONE])
    give_up(application)

    folder = fresh(folder)
    folder.remove_photos = True
    folder.save()
    application.work()

    assert application.cached == []


def test_a_file_whose_job_is_dead_goes_also_after_another_one_was_added(application: Application):
    # Given a list whose state is that of a later file
    application.create_tables(PhotoFolder)
    folder = PhotoFolder.create(photos=[ONE])
    give_up(application)
    folder = fresh(folder)
    folder.photos.append(TWO)
    folder.save()
    application.work()

    folder = fresh(folder)
    folder.remove_photos = True
    folder.save()
    application.work()

    assert (application.cached, application.stored) == ([], [])
