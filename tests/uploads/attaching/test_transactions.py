"""All ways in which a transaction with uploads can end."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast

import peewee
import pytest

from gifster.jobs import transaction
from gifster.jobs.transactions import Piece, Transaction
from gifster.uploads import mount_uploader
from gifster.uploads.columns.record import uploads_of
from tests.combinations import on_s3
from tests.uploads.framework import Application, Base, LogoUploader, fresh
from tests.uploads.records import BOTH, ONE, THREE, TWO, RolledBack, atomic, fail, is_clean, width


@BOTH
def test_a_session_that_is_rolled_back_and_one_that_commits(
    application: Application, model: Any, column: str
):
    database = application.database
    record = model(name="Ann", **{column: ONE})
    database.session_start()
    record.save()
    database.session_rollback()
    assert record._pk is None

    database.session_start()
    record.save()
    database.session_commit()
    application.work()

    assert width(record, column) == 80
    assert is_clean(application, getattr(fresh(record), column))


@BOTH
def test_commits_and_rollbacks_inside_a_block(application: Application, model: Any, column: str):
    one, two = (model(name="Ann", **{column: ONE}) for _ in range(2))
    with application.database.transaction() as transaction:
        one.save()
        transaction.commit()
        two.save()
        transaction.rollback()
        two.save()
        transaction.commit()
        setattr(one, column, TWO)
        one.save()
        transaction.rollback()
    application.work()
    assert width(one, column) == width(two, column) == 80

    one.save()
    application.work()
    assert width(one, column) == 90
    assert is_clean(application, *(getattr(fresh(record), column) for record in (one, two)))


@BOTH
def test_records_without_uploads_are_saved_in_manual_commit(
    application: Application, model: Any, column: str
):
    with application.database.manual_commit():
        application.database.begin()
        model.create(name="Ann")
        application.database.commit()

    assert model.get().name == "Ann"


@BOTH
def test_a_callback_that_saves_the_record_again(application: Application, model: Any, column: str):
    record = model(name="Ann", **{column: ONE})

    def again() -> None:
        with atomic():
            setattr(record, column, TWO)
            record.save()
        assert uploads_of(record).open == []

    with atomic():
        record.save()
        application.database.after_commit(again)
    application.work()

    assert width(record, column) == 90
    assert is_clean(application, getattr(fresh(record), column))


@BOTH
def test_a_failed_callback_whose_traceback_is_kept(
    application: Application, model: Any, column: str
):
    def broken() -> None:
        raise RolledBack

    record = model(name="Ann", **{column: ONE})
    with pytest.raises((RolledBack, peewee.OperationalError)) as kept, atomic():
        application.database.after_commit(broken)
        record.save()
    # The transaction has committed all the same
    setattr(record, column, TWO)
    fail(record.save)
    record.save()
    application.work()
    del kept
    gc.collect()
    record.save()
    application.work()

    assert model.select().count() == 1
    assert width(record, column) == 90
    assert is_clean(application, getattr(fresh(record), column))


@on_s3
def test_a_connection_lost_during_a_save(application: Application):
    database = application.database
    lost: list[bool] = []

    class Losing(LogoUploader):
        def after_store(self, stored: Any) -> None:
            if not lost:
                lost.append(True)
                database.execute_sql("select pg_terminate_backend(pg_backend_pid())")

    class Own(Base):
        logo = mount_uploader(Losing)

    application.create_tables(Own)
    record = Own(logo=ONE)

    def attempts() -> None:
        database.connect()
        with pytest.raises(peewee.PeeweeException):
            record.save()
        database._state.reset()  # as playhouse's ReconnectMixin does
        database.connect()
        record.save()
        database.close()

    with ThreadPoolExecutor(1) as thread_with_its_own_connection:
        thread_with_its_own_connection.submit(attempts).result()
    application.work()

    assert width(record, "logo") == 80
    assert is_clean(application, fresh(record).logo)


@BOTH
def test_a_thread_cannot_save_a_record_of_another_threads_open_transaction(
    application: Application, model: Any, column: str
):
    record = model(name="Ann", **{column: ONE})
    saved, tried = threading.Event(), threading.Event()

    def save_in_a_transaction() -> None:
        with application.database.connection_context(), atomic():
            record.save()
            saved.set()
            assert tried.wait(60)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(save_in_a_transaction)
        assert saved.wait(60)
        try:
            with pytest.raises(RuntimeError, match="load the record in each"):
                record.save()
        finally:
            tried.set()
        first.result()
    record.save()
    application.work()

    assert model.select().count() == 1
    assert width(record, column) == 80
    assert is_clean(application, getattr(fresh(record), column))


@BOTH
def test_records_are_freed_when_the_transaction_has_ended(
    application: Application, model: Any, column: str
):
    made: list[weakref.ref[Any]] = []

    def make() -> None:
        made.append(weakref.ref(model.create(name="Ann", **{column: ONE})))

    gc.disable()
    try:
        with atomic():
            make()
        fail(make)
        assert [reference() for reference in made] == [None, None]
    finally:
        gc.enable()


# Transactions that PostgreSQL aborts.


def in_two_threads(application: Application, prepare: Any) -> str:
    """Run two transactions at the same time, and retry each when it fails.

    Parameters:
      prepare: returns the two steps of a transaction. Each thread waits for the other between them.

    Returns:
      the messages of the failures.
    """
    failures: list[str] = []
    both = threading.Barrier(2)

    def attempts(number: int) -> None:
        with application.database.connection_context():
            first, second = prepare(number)
            for attempt in range(5):
                try:
                    with atomic():
                        first()
                        if attempt == 0:
                            both.wait(60)
                        second()
                except peewee.OperationalError as error:
                    failures.append(str(error))
                else:
                    return
            raise AssertionError(failures)

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(attempts, number) for number in range(2)]:
            done.result()
    return "".join(failures)


@BOTH
@on_s3
def test_a_deadlock_loses_no_upload(application: Application, model: Any, column: str):
    ids = [model.create(name=name, **{column: ONE})._pk for name in ("Ann", "Bob")]
    application.work()

    def prepare(number: int) -> Any:
        records = [model.get_by_id(pk) for pk in (ids if number else reversed(ids))]
        for record in records:
            setattr(record, column, [TWO, THREE][number])
        return [record.save for record in records]

    assert "deadlock" in in_two_threads(application, prepare)
    application.work()

    records = [model.get_by_id(pk) for pk in ids]
    # The aborted transaction was retried, so it committed last
    assert width(records[0], column) == width(records[1], column) != 80
    assert is_clean(application, *(getattr(record, column) for record in records))


@BOTH
@on_s3
def test_a_serialization_failure_loses_no_upload(application: Application, model: Any, column: str):
    pk = model.create(name="Ann", **{column: ONE})._pk
    application.work()

    def prepare(number: int) -> Any:
        file = [TWO, THREE][number]
        old, new = model.get_by_id(pk), model(name="new", **{column: file})
        setattr(old, column, file)

        def first() -> None:
            application.database.execute_sql("set transaction isolation level serializable")
            new.save()

        return first, old.save

    assert "serialize" in in_two_threads(application, prepare)
    application.work()

    new = list(model.select().where(model.name == "new"))
    assert sorted(width(record, column) for record in new) == [90, 100]
    assert width(model.get_by_id(pk), column) in {90, 100}
    assert is_clean(application, *(getattr(record, column) for record in model.select()))


@BOTH
def test_saves_that_share_a_transaction_need_no_query_after_it(
    application: Application, model: Any, column: str, monkeypatch: pytest.MonkeyPatch
):
    # Given two pieces of work that share a transaction
    run, seen = application.database.execute_sql, list[str]()

    def noted(sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return run(sql, *rest)

    monkeypatch.setattr(application.database, "execute_sql", noted)
    ann, bob, cid = (model(name=name, **{column: ONE}) for name in ("Ann", "Bob", "Cid"))
    with transaction(application.database) as outermost:
        for record in (ann, cid):
            with Piece(cast("Transaction", outermost)):
                record.save(force_insert=True)
        seen.clear()

    # Then no row is read after the commit
    table = f'"{model._meta.table_name}"'
    assert [sql for sql in seen if table in sql] == []

    # And a piece that fails is noticed: the next save writes the upload
    with transaction(application.database) as outermost:
        with suppress(RolledBack), Piece(cast("Transaction", outermost)):
            bob.save(force_insert=True)
            raise RolledBack
    bob.save(force_insert=True)
    application.work()
    assert [width(fresh(record), column) for record in (ann, bob, cid)] == [80, 80, 80]
