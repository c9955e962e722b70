"""Records that are deleted, and files that are removed, whose uploads wait, are processed or are
stored."""

import time
from typing import Any

import pytest

from gifster.jobs import Job
from gifster.uploads import (
    Backgrounder,
    CacheField,
    ProcessingField,
    Uploader,
    actors,
    mount_uploader,
    store_in_background,
)
from gifster.uploads.backgrounding.promotion import Promotion
from tests.uploads.framework import Application, Base, Person, fresh
from tests.uploads.records import ONE, TWO, atomic


class BackgroundUploader(Backgrounder, Uploader):
    pass


def test_a_record_deleted_while_its_upload_waits_leaves_nothing(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    person.delete_instance()

    application.work()

    assert application.cached == []
    assert application.stored == []


def test_a_record_deleted_while_its_upload_is_processed_leaves_nothing(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    person = Person.create(name="Ann", avatar=ONE)
    swap = Promotion._swap

    def deleted_before(promotion, *arguments):
        fresh(person).delete_instance()
        return swap(promotion, *arguments)

    monkeypatch.setattr(Promotion, "_swap", deleted_before)
    application.work()

    assert application.cached == []
    assert application.stored == []


def test_deleting_a_record_removes_its_files(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    application.work()

    fresh(person).delete_instance()

    assert len(application.stored) == 2
    application.work()
    assert application.stored == []


def test_a_store_that_is_away_for_days_keeps_no_file_of_a_deleted_record(application: Application):
    # Given files whose removal fails again and again
    options = actors.remove_files.options
    pauses_ms = [
        min(options["min_backoff"] * 2**tried, options["max_backoff"])
        for tried in range(options["max_retries"])
    ]

    # I expect it to be tried for longer than anybody needs to mend a bucket, also by a process
    # that gives up on uploads soon
    assert sum(pauses_ms) > 3 * 86_400_000
    application.configure(max_retries=1)
    assert actors.remove_files.options["max_retries"] == len(pauses_ms)


@pytest.mark.parametrize("how", ["deleted", "replaced", "removed"])
def test_an_upload_whose_job_is_dead_leaves_nothing_once_its_record_wants_it_no_more(
    application: Application, how: str
):
    # Given an upload whose store was away for too long
    person = Person.create(name="Ann", avatar=ONE)
    [job] = application.jobs()
    Promotion(*job.arguments).fail(OSError("away"), give_up=False)
    Job.update(failed_at=time.time()).execute()
    [failed] = application.cached

    person = fresh(person)
    assert (person.avatar_state, person.avatar_tmp.key) == ("failed", failed)
    if how == "deleted":
        person.delete_instance()
    elif how == "replaced":
        person.avatar = TWO
        person.save()
    else:
        person.remove_avatar = True
        person.save()
    application.work()

    assert application.cached == []
    assert len(application.stored) == (2 if how == "replaced" else 0)


@store_in_background("logo")
class Short(Base):
    """A model that has no columns for what it does not show."""

    logo = mount_uploader(BackgroundUploader)
    logo_tmp = CacheField()


@store_in_background("logo")
class Plain(Base):
    logo = mount_uploader(BackgroundUploader)
    logo_tmp = CacheField()
    logo_processing = ProcessingField()


@pytest.mark.parametrize("model", [Short, Plain])
def test_also_of_a_model_that_tells_no_states(application: Application, model: Any):
    application.create_tables(model)
    record = model.create(logo=ONE)
    [job] = application.jobs()
    Promotion(*job.arguments).fail(OSError("away"), give_up=False)
    Job.update(failed_at=time.time()).execute()

    fresh(record).delete_instance()
    application.work()

    assert (application.cached, application.stored) == ([], [])


def test_a_deletion_that_is_rolled_back_removes_nothing(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    application.work()

    with pytest.raises(RuntimeError), atomic():
        fresh(person).delete_instance()
        raise RuntimeError

    application.work()
    assert len(application.stored) == 2


def test_a_remove_flag_detaches_the_file(application: Application):
    person = Person.create(name="Ann", avatar=ONE)
    application.work()

    person = fresh(person)
    person.remove_avatar = True
    person.save()
    application.work()

    assert not fresh(person).avatar
    assert fresh(person).avatar_state is None
    assert application.stored == []
