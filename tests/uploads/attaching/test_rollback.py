"""Transactions that fail and are retried, as applications on PostgreSQL must do: the retry saves
what was assigned.
"""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import peewee
import pytest

from gifster.jobs import Job
from gifster.uploads import mount_uploaders, store_in_background
from gifster.uploads.columns.fields import CacheListField
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.sweep import sweep
from tests.combinations import on_s3
from tests.uploads.form_parts import OneWay
from tests.uploads.framework import Application, AvatarUploader, Base, Person, fresh
from tests.uploads.records import BOTH, ONE, THREE, TWO, RolledBack, atomic, fail, is_clean, width


@BOTH
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_new_record_is_saved_by_the_next_attempt(
    application: Application, model: Any, column: str, attempts: int
):
    record = model(name="Ann", **{column: ONE})
    for _ in range(attempts):
        fail(record.save)
    assert record._pk is None
    assert not getattr(record, column)
    assert getattr(record, column).assigned is not None

    with atomic():
        record.save()
    application.work()

    assert width(record, column) == 80
    assert fresh(record).name == "Ann"
    assert is_clean(application, getattr(fresh(record), column))


@BOTH
def test_an_existing_record_is_saved_by_the_next_attempt(
    application: Application, model: Any, column: str
):
    record = model.create(name="Ann", **{column: ONE})
    application.work()
    record = fresh(record)

    setattr(record, column, TWO)
    fail(record.save)

    # The record has the columns of the row, and the upload for the next attempt
    row = fresh(record)
    assert {k: v for k, v in record.__data__.items() if k.startswith(column)} == {
        k: v for k, v in row.__data__.items() if k.startswith(column)
    }
    assert getattr(record, column).stored.width == 80
    assert getattr(record, column).assigned is not None
    with atomic():
        record.save()
    application.work()
    assert width(record, column) == 90
    assert is_clean(application, getattr(fresh(record), column))


@BOTH
def test_a_record_with_a_key_of_its_own_is_inserted_by_the_next_attempt(
    application: Application, model: Any, column: str
):
    record = model(id=77, name="Ann", **{column: ONE})
    fail(lambda: record.save(force_insert=True))

    with atomic():
        record.save(force_insert=True)
    application.work()

    assert width(record, column) == 80
    assert is_clean(application, getattr(fresh(record), column))


@BOTH
def test_a_savepoint_that_is_retried_in_its_transaction(
    application: Application, model: Any, column: str
):
    new, old = model(name="Ann", **{column: ONE}), model.create(name="Bob")
    setattr(old, column, TWO)

    with atomic():
        for _ in range(2):
            fail(new.save, old.save)
        with atomic():
            new.save()
            old.save()
    application.work()

    assert (width(new, column), width(old, column)) == (80, 90)
    assert is_clean(application, getattr(fresh(new), column), getattr(fresh(old), column))


@BOTH
def test_a_savepoint_whose_id_another_row_gets(application: Application, model: Any, column: str):
    lost = model(name="lost", **{column: ONE})
    with atomic():
        fail(lost.save)
        kept = model.create(name="kept", **{column: TWO})
    lost.save()
    application.work()

    assert kept._pk != lost._pk
    assert (width(kept, column), width(lost, column)) == (90, 80)
    assert is_clean(application, getattr(fresh(kept), column), getattr(fresh(lost), column))


@BOTH
def test_several_saves_in_one_transaction_are_undone_together(
    application: Application, model: Any, column: str
):
    record = model.create(name="Ann")

    def again() -> None:
        setattr(record, column, TWO)
        record.save()

    setattr(record, column, ONE)
    fail(record.save, again)
    assert getattr(record, column).assigned.bytes == len(TWO)
    record.save()
    application.work()

    assert width(record, column) == 90


@BOTH
def test_a_file_assigned_after_the_rollback_wins(application: Application, model: Any, column: str):
    record = model(name="Ann", **{column: ONE})
    fail(record.save)

    setattr(record, column, TWO)
    record.save()
    application.work()

    assert width(record, column) == 90


@BOTH
def test_a_removal_is_done_by_the_next_attempt(application: Application, model: Any, column: str):
    record = model.create(name="Ann", **{column: ONE})
    application.work()
    record = fresh(record)
    setattr(record, f"remove_{column}", True)
    fail(record.save)
    assert width(record, column) == 80

    record.save()
    application.work()

    assert not getattr(fresh(record), column)
    assert application.stored == application.cached == []


@BOTH
def test_other_dirty_fields_are_saved_by_the_next_attempt(
    application: Application, monkeypatch: pytest.MonkeyPatch, model: Any, column: str
):
    monkeypatch.setattr(model._meta, "only_save_dirty", True)
    record = model.create(name="Ann")
    record.name = "Bob"
    setattr(record, column, ONE)
    fail(record.save)

    record.save()
    application.work()

    assert (fresh(record).name, width(record, column)) == ("Bob", 80)


def test_a_list_is_saved_by_the_next_attempt(application: Application):
    @store_in_background("photos")
    class Album(Base):
        photos = mount_uploaders(AvatarUploader)
        photos_tmp = CacheListField()

    application.create_tables(Album)
    album = Album(photos=[ONE, TWO])
    fail(album.save)
    album.save()
    application.work()

    album = fresh(album)
    album.photos = [THREE, album.photos[1]]
    fail(album.save)
    assert [photo.stored.width for photo in fresh(album).photos] == [80, 90]
    album.photos.append(ONE)
    album.save()
    application.work()

    assert [photo.stored.width for photo in fresh(album).photos] == [100, 90, 80]
    assert is_clean(application, *fresh(album).photos)


class Form:
    """A form part as a WSGI server passes it on: it can be read only once."""

    def __init__(self, content: bytes) -> None:
        self.filename, self.stream = "me.gif", OneWay(content)


@pytest.mark.parametrize("kind", ["part", "file", "part with a file"])
def test_a_source_that_the_first_attempt_has_read(application: Application, kind: str):
    source: Any = io.BytesIO(ONE) if kind == "file" else Form(ONE)
    if kind == "part with a file":
        source.stream = io.BytesIO(ONE)
    made: list[Person] = []

    def attempt() -> None:
        made.append(Person(name="Ann", avatar=source))
        made[-1].save()

    fail(attempt)
    made.clear()
    fail(attempt)
    with atomic():
        attempt()
    application.work()

    assert width(made[-1], "avatar") == 80


def test_a_cached_file_that_the_first_attempt_has_assigned(application: Application):
    cached = cache_upload(AvatarUploader, ONE)

    def attempt() -> Person:
        return Person.create(avatar=cached)

    fail(attempt)
    with atomic():
        person = attempt()
    application.work()

    assert width(person, "avatar") == 80
    assert is_clean(application, fresh(person).avatar)


@BOTH
def test_a_callback_that_fails_after_the_commit_loses_nothing(
    application: Application, model: Any, column: str
):
    database = Person._meta.database

    def broken() -> None:
        raise RolledBack

    # Given a callback of the application, before ours or after ours
    for first in (True, False):
        record = model(name="Ann", **{column: ONE})
        # (On SQLite, Peewee then fails to roll back a transaction that has committed.)
        with pytest.raises((RolledBack, peewee.OperationalError)), atomic():
            if first:
                database.after_commit(broken)
            record.save()
            if not first:
                database.after_commit(broken)

        # The transaction has committed all the same
        application.work()
        assert width(record, column) == 80
        record.save()
        application.work()
        assert width(record, column) == 80
    sweep(repair=True, min_age_s=-60)
    assert is_clean(application, *(getattr(one, column) for one in model.select()))


@BOTH
@on_s3
def test_a_connection_lost_before_the_commit(application: Application, model: Any, column: str):
    database = application.database
    record = model(name="Ann", **{column: ONE})

    def attempts() -> None:
        database.connect()
        with pytest.raises(peewee.PeeweeException), atomic():
            record.save()
            database.execute_sql("select pg_terminate_backend(pg_backend_pid())")
        database._state.reset()  # as playhouse's ReconnectMixin does
        database.connect()
        record.save()
        database.close()

    with ThreadPoolExecutor(1) as thread_with_its_own_connection:
        thread_with_its_own_connection.submit(attempts).result()
    application.work()

    assert width(record, column) == 80


def test_the_cached_file_of_a_record_that_nobody_holds_is_deleted(application: Application):
    fail(lambda: Person(avatar=ONE).save())
    assert application.cached == []

    person = Person(avatar=ONE)
    fail(person.save)
    assert len(application.cached) == 1  # It is kept for the next attempt.
    assert Job.select().count() == 0
