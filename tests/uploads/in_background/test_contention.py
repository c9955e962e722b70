"""Transactions that want one row at the same time, on PostgreSQL: each gets it in turn."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import peewee
import pytest

from gifster.uploads import mount_uploader
from tests.combinations import on_s3
from tests.machine import eventually
from tests.uploads.framework import Application, Base, LogoUploader, Person, fresh
from tests.uploads.records import ONE, RolledBack, atomic

WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s
"""


def save(person: Any) -> None:
    person.avatar = ONE
    person.save()


def delete(person: Any) -> None:
    person.delete_instance()


def delete_by_query(person: Any) -> None:
    Person.delete().where(Person.id == person.id).execute()


def recreate(person: Any) -> None:
    person.avatar.update_versions()


@on_s3
@pytest.mark.parametrize("change", [save, delete, delete_by_query, recreate])
def test_what_a_savepoint_has_undone_can_be_done_again_while_others_want_the_row(
    application: Application, change: Callable[[Any], None]
):
    person = Person.create(name="Ann", avatar=ONE)
    application.work()
    database = application.database
    done, undo, undone, go_on = (threading.Event() for _ in range(4))
    pids: dict[str, int] = {}

    def connected(name: str) -> Any:
        [pids[name]] = database.execute_sql("SELECT pg_backend_pid()").fetchone()

    def change_twice() -> None:
        with database.connection_context(), atomic():
            connected("changes")
            with suppress(RolledBack), atomic():
                change(fresh(person))
                done.set()
                assert undo.wait(60)
                raise RolledBack
            undone.set()
            assert go_on.wait(60)
            change(fresh(person))

    def rename() -> None:
        with database.connection_context():
            connected("renames")
            Person.update(name="Bob").where(Person.id == person.id).execute()

    def waits(name: str) -> bool:
        return name in pids and database.execute_sql(WAITING, (pids[name],)).fetchone() == (1,)

    with ThreadPoolExecutor(2) as threads:
        # Given a change of a row in a savepoint, and somebody who waits for the row
        changed: Future[None] = threads.submit(change_twice)
        assert done.wait(60)
        renamed = threads.submit(rename)
        eventually(lambda: waits("renames"))
        # When the savepoint is undone, a third one gets the row, and the change comes again
        undo.set()
        assert undone.wait(60)
        with atomic():
            query = Person.select().where(Person.id == person.id)
            query.for_update("FOR NO KEY UPDATE").get()
            go_on.set()
            eventually(lambda: changed.done() or waits("changes"))
        # Then everybody gets the row in turn
        changed.result(60)
        renamed.result(60)


class Sender(Base):
    """Has a file. Of `Person` other tests have references, whose tables are not in this test."""

    name = peewee.CharField(default="")
    stamp = mount_uploader(LogoUploader)


class Postcard(Base):
    """Refers to its sender."""

    sender = peewee.ForeignKeyField(Sender)


class Team(Base):
    """Has no files of its own."""

    name = peewee.CharField(default="")


class Player(Base):
    """Has a file, and belongs to a team; the database deletes it with the team."""

    team = peewee.ForeignKeyField(Team, on_delete="CASCADE")
    badge = mount_uploader(LogoUploader)


@on_s3
def test_a_deletion_waits_for_whoever_has_just_referred_to_the_row(application: Application):
    application.create_tables(Sender, Postcard)
    sender = Sender.create(name="Ann", stamp=ONE)
    database, pids = application.database, list[int]()

    def delete_all() -> None:
        with database.connection_context():
            pids.extend(database.execute_sql("SELECT pg_backend_pid()").fetchone())
            fresh(sender).delete_instance(recursive=True)

    def waits() -> bool:
        return bool(pids) and database.execute_sql(WAITING, (pids[0],)).fetchone() == (1,)

    with ThreadPoolExecutor(1) as threads:
        # Given somebody who has written of a row, and another one who deletes it
        with atomic():
            Postcard.create(sender=sender)
            deleted = threads.submit(delete_all)
            eventually(waits)
            # When the former changes the row, too, I expect nobody to be in the other's way
            Sender.update(name="Bob").where(Sender.id == sender.id).execute()
        deleted.result(60)

    assert (Sender.select().count(), Postcard.select().count()) == (0, 0)
    application.work()
    assert application.stored == []


@on_s3
def test_nobody_refers_to_a_row_whose_deletion_has_begun(application: Application):
    # Given a team whose players are being deleted with it
    application.create_tables(Team, Player)
    team = Team.create()
    Player.create(team=team, badge=ONE)
    database, pids = application.database, list[int]()

    def join() -> None:
        with database.connection_context():
            pids.extend(database.execute_sql("SELECT pg_backend_pid()").fetchone())
            Player.create(team=team, badge=ONE)

    def waits() -> bool:
        return bool(pids) and database.execute_sql(WAITING, (pids[0],)).fetchone() == (1,)

    with ThreadPoolExecutor(1) as threads:
        joined: list[Future[None]] = []

        class Slow(LogoUploader):
            def before_remove(self, stored: Any) -> None:
                joined.append(threads.submit(join))
                eventually(lambda: waits() or joined[0].done())

        # When another one joins meanwhile, I expect its file not to be lost with the row
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Player.badge, "uploader", Slow)
            team.delete_instance(recursive=True)
        with pytest.raises(peewee.IntegrityError):
            joined[0].result(20)

    application.work()
    assert Player.select().count() == 0
    assert application.stored == []


@on_s3
def test_a_query_with_a_common_table_expression_deletes_in_a_transaction(application: Application):
    Person.create(name="Ann", avatar=ONE)
    bob = Person.create(name="Bob", avatar=ONE)
    application.work()
    named = Person.select(Person.id).where(Person.name == "Ann").cte("named", columns=["id"])
    query = Person.delete().with_cte(named)

    with atomic():
        assert query.where(Person.id.in_(peewee.Select([named], [named.c.id]))).execute() == 1

    assert [person.id for person in Person.select()] == [bob.id]
