"""Gifster behind PgBouncer, which gives each transaction another connection of the server."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest

from gifster.app import database
from gifster.app.database import db
from gifster.jobs import transaction
from tests import images
from tests.conftest import own_postgresql
from tests.pgbouncer import PgBouncer, pgbouncer
from tests.stack import Stack


@pytest.fixture
def pooler(request: pytest.FixtureRequest) -> Iterator[PgBouncer]:
    with pgbouncer(own_postgresql(request), size=2) as running:
        yield running


def test_no_statement_relies_on_a_connection_of_its_own(pooler: PgBouncer):
    # Given more threads than PgBouncer has connections of the server
    database.connect(pooler.url)
    with db.connection_context():
        db.execute_sql("CREATE TABLE counted (number int)")
    errors: list[Exception] = []

    def count(thread: int) -> None:
        try:
            with db.connection_context():
                for number in range(20):  # the driver would prepare the sixth of its own accord
                    with transaction(db):
                        db.execute_sql("INSERT INTO counted VALUES (%s)", (thread * 100 + number,))
                    db.execute_sql("SELECT count(*) FROM counted")
        except Exception as error:  # noqa: BLE001 the test shows it
            errors.append(error)

    # When they all run the same statements, each often
    threads = [threading.Thread(target=count, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # I expect all of them to succeed
    assert errors == []
    with db.connection_context():
        assert db.execute_sql("SELECT count(*) FROM counted").fetchone() == (120,)
    assert db.is_pooled
    db.close_all()


def test_options_that_cannot_be_set_are_refused(pooler: PgBouncer):
    database.connect(f"{pooler.url}?options=-c%20search_path%3Dgifs")

    with pytest.raises(peewee.OperationalError, match=r"search_path=gifs.*ALTER ROLE"):
        db.connect()


def test_uploads_are_stored_also_if_pgbouncer_dies(
    pooler: PgBouncer, new_stack: Callable[..., Stack]
):
    # Given a Gifster whose processes reach the database through PgBouncer
    stack = new_stack(GIFSTER_DATABASE__URL=pooler.url)
    stack.start_worker()
    stack.start("gifster", "scheduler")
    stack.start_web()
    added = [stack.upload(images.gif(size=(20 + n, 20))).json()["id"] for n in range(3)]

    # When PgBouncer is killed while jobs run, and starts again
    pooler.kill()
    assert stack.upload(images.gif(size=(30, 20))).json()["code"] == "database_unavailable"
    pooler.start()
    added += [accepted(stack, images.gif(size=(40 + n, 20))) for n in range(3)]

    # I expect all accepted uploads to be stored, and the doctor to know of it
    assert [stack.finished(gif_id)["state"] for gif_id in added] == ["ready"] * 6
    assert "behind a pooler" in " ".join(stack.run("gifster", "doctor").stdout.split())


def accepted(stack: Stack, content: bytes) -> Any:
    answer = stack.upload(content)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]
