"""Several pieces of work share a transaction (`gifster.jobs.transactions.Piece`)."""

from contextlib import suppress
from typing import Any

import pytest

from gifster import jobs
from gifster.jobs.transactions import HalfDone, Piece
from tests.jobs.conftest import Outbox


def actors() -> set[str]:
    return {job.actor for job in jobs.Job.select()}


@pytest.fixture
def statements(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    run, seen = outbox.database.execute_sql, list[str]()

    def noted(sql: str, *rest: Any) -> Any:
        seen.append(sql.split(maxsplit=1)[0])
        return run(sql, *rest)

    monkeypatch.setattr(outbox.database, "execute_sql", noted)
    return seen


def test_the_transactions_of_a_piece_share_its_savepoint(outbox: Outbox, statements: list[str]):
    with jobs.transaction(outbox.database) as outermost:
        with Piece(outermost):
            with jobs.transaction(outbox.database), jobs.transaction(outbox.database):
                jobs.enqueue("one")
        with jobs.transaction(outbox.database):  # after it, savepoints are savepoints again
            jobs.enqueue("other")

    assert actors() == {"one", "other"}
    assert outbox.queued() == 2
    # Those of the piece, and afterwards that of the transaction and of `enqueue()`
    assert [word for word in statements if word == "SAVEPOINT"] == ["SAVEPOINT"] * 3


def test_a_piece_that_fails_takes_no_other_along(outbox: Outbox):
    with jobs.transaction(outbox.database) as outermost:
        with Piece(outermost):
            jobs.enqueue("before")
        with suppress(LookupError), Piece(outermost), jobs.transaction(outbox.database):
            jobs.enqueue("it")
            raise LookupError
        with Piece(outermost):
            jobs.enqueue("after")

    assert actors() == {"before", "after"}


def test_a_piece_that_goes_on_after_a_failure_in_it_is_undone(outbox: Outbox):
    with jobs.transaction(outbox.database) as outermost:
        with pytest.raises(HalfDone), Piece(outermost):
            with suppress(LookupError), jobs.transaction(outbox.database):
                jobs.enqueue("a part")
                raise LookupError
            jobs.enqueue("the rest")

    assert actors() == set()
