"""Several saves of one record in one transaction: the last one counts, and no file is left over."""

from typing import Any

import pytest

from gifster.uploads import CacheListField, mount_uploaders, store_in_background
from tests.uploads.framework import Application, AvatarUploader, Base, Company, LogoUploader, fresh
from tests.uploads.records import BOTH, ONE, THREE, TWO, atomic, fail, is_clean, width, widths


class Shelf(Base):
    """`save()` stores its files."""

    photos = mount_uploaders(LogoUploader)


@store_in_background("photos")
class LaterShelf(Base):
    photos = mount_uploaders(AvatarUploader)
    photos_tmp = CacheListField()


SHELVES = pytest.mark.parametrize("shelf", [Shelf, LaterShelf])


def remove(record: Any, column: str) -> None:
    setattr(record, f"remove_{column}", True)
    record.save()


@BOTH
def test_the_last_of_several_saves_is_what_was_committed(
    application: Application, model: Any, column: str
):
    with atomic():
        record = model.create(name="Ann", **{column: ONE})
        setattr(record, column, TWO)
        record.save()
    assert record._pk is not None
    assert not getattr(record, column).changed
    record.save()
    application.work()

    assert model.select().count() == 1
    assert width(record, column) == 90
    assert is_clean(application, getattr(fresh(record), column))


@BOTH
@pytest.mark.parametrize("given", ["a new row", "a row", "a row and no upload"])
def test_what_was_removed_stays_removed(
    application: Application, model: Any, column: str, given: str
):
    record = model(name="Ann") if given == "a new row" else model.create(name="Ann")
    with atomic():
        if given != "a row and no upload":
            setattr(record, column, ONE)
            record.save()
        remove(record, column)
    assert record._pk is not None
    assert not getattr(record, column).changed
    application.work()

    assert not getattr(fresh(record), column)
    assert application.stored == application.cached == []


@BOTH
def test_several_saves_in_a_savepoint_are_undone_together(
    application: Application, model: Any, column: str
):
    record = model.create(name="Ann", **{column: ONE})
    application.work()
    record = fresh(record)

    def again() -> None:
        setattr(record, column, THREE)
        record.save()

    with atomic():
        setattr(record, column, TWO)
        fail(record.save, again)
        record.save()
    application.work()

    assert width(record, column) == 100
    assert is_clean(application, getattr(fresh(record), column))


@BOTH
def test_a_record_saved_as_a_second_row_leaves_the_first_row_its_file(
    application: Application, model: Any, column: str
):
    with atomic():
        record = model.create(name="Ann", **{column: ONE})
        first = record._pk
        record.id = None
        record.save()
    application.work()

    rows = [model.get_by_id(pk) for pk in (first, record._pk)]
    assert [getattr(row, column).stored.width for row in rows] == [80, 80]
    assert is_clean(application, *(getattr(row, column) for row in rows))


@BOTH
def test_a_row_inserted_and_deleted_in_one_transaction_leaves_nothing(
    application: Application, model: Any, column: str
):
    record = model(name="Ann", **{column: ONE})
    fail(record.save, record.delete_instance)
    with atomic():
        record.save()
        record.delete_instance()
    application.work()

    assert application.stored == application.cached == []


@SHELVES
def test_the_last_of_several_saves_of_a_list_is_what_was_committed(
    application: Application, shelf: Any
):
    application.create_tables(shelf)
    with atomic():
        record = shelf.create(photos=[ONE])
        record.photos.append(TWO)
        record.save()
        record.photos.remove(record.photos[0])
        record.save()
    assert record._pk is not None
    assert not record.photos.changed
    application.work()

    assert widths(record) == [90]
    assert is_clean(application, *fresh(record).photos)


@SHELVES
def test_several_saves_of_a_list_in_a_savepoint_are_undone_together(
    application: Application, shelf: Any
):
    application.create_tables(shelf)
    record = shelf.create(photos=[ONE])
    application.work()
    record = fresh(record)

    def again() -> None:
        record.photos.append(THREE)
        record.save()

    with atomic():
        record.photos.append(TWO)
        fail(record.save, again)
        record.save()
    application.work()

    assert widths(record) == [80, 90, 100]
    assert is_clean(application, *fresh(record).photos)


def test_each_of_many_saves_needs_two_queries(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    application.create_tables(LaterShelf)
    with atomic():  # the first file of an empty folder asks whether its disk is away
        LaterShelf.create(photos=[ONE])
    execute, asked = application.database.execute_sql, []
    monkeypatch.setattr(
        application.database,
        "execute_sql",
        lambda sql, *rest: (asked.append(sql), execute(sql, *rest))[1],
    )

    def selects() -> int:
        queries = [sql for sql in asked if sql.startswith("SELECT")]
        once = ("outbox_identity", "clock_timestamp")  # asked once in all, and every ten seconds
        return sum(not any(name in sql for name in once) for sql in queries)

    # Records without uploads need no query
    with atomic():
        for _ in range(5):
            Company.create(name="Ann")
    assert selects() == 0
    with atomic():
        shelf = LaterShelf.create()
        for _ in range(5):
            shelf.photos.append(ONE)
            shelf.save()
    # Each save locks the row and checks the earlier saves; the end of the transaction is one more
    assert selects() <= 5 * 2 + 1
