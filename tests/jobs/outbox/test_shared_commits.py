"""Changes of several threads that share a commit on SQLite (`shared_commits.py`)."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee
import pytest

from gifster.jobs.shared_commits import SharedCommits
from tests.machine import eventually

THREADS = 6


class Note(peewee.Model):
    text = peewee.CharField(unique=True)


class Watched(peewee.SqliteDatabase):
    """Counts what ends a transaction."""

    commits = 0

    def commit(self) -> Any:
        self.commits += 1
        return super().commit()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path / "notes.db", pragmas={"journal_mode": "wal"})
    with made.bind_ctx([Note]), made.connection_context():
        made.create_tables([Note])
        yield made


def together(
    database: Watched,
    commits: SharedCommits,
    changes: list[Callable[[], Any]],
    then: Callable[[Any], Any] = lambda result: result,
) -> list[Any]:
    """Have the first change wait until the others wait, too; return what became of each: what
    `then()` makes of it on the same thread, or the error."""
    first, gate = threading.Event(), threading.Event()

    def run(change: Callable[[], Any]) -> Any:
        with database.connection_context():
            try:
                return then(commits.run(database, change))
            except peewee.PeeweeException as error:
                return error

    def slow() -> Any:
        first.set()
        gate.wait(60)
        return changes[0]()

    with ThreadPoolExecutor(len(changes)) as pool:
        futures = [pool.submit(run, slow)]
        assert first.wait(60)
        futures += [pool.submit(run, change) for change in changes[1:]]
        eventually(lambda: len(commits._waiting) == len(changes) - 1)
        gate.set()
        return [future.result(60) for future in futures]


def add(text: str) -> Callable[[], int]:
    return lambda: int(Note.insert(text=text).execute())


def test_changes_that_wait_share_a_commit(database: Watched):
    found = together(database, SharedCommits(), [add(str(n)) for n in range(THREADS)])

    assert sorted(found) == sorted(note.id for note in Note.select())
    assert len(found) == THREADS
    assert database.commits == 1  # the first one needs no transaction


def test_a_change_that_fails_takes_no_other_along(database: Watched):
    texts = ["first", "a", "b", "a", "c"]

    found = together(database, SharedCommits(), [add(text) for text in texts])

    assert sum(isinstance(each, peewee.IntegrityError) for each in found) == 1
    assert {note.text for note in Note.select()} == {"first", "a", "b", "c"}


def test_nobody_goes_on_before_the_commit_that_has_its_change(database: Watched, tmp_path: Path):
    def seen(number: int) -> bool:
        with closing(sqlite3.connect(tmp_path / "notes.db")) as other:
            return bool(other.execute("SELECT 1 FROM note WHERE id = ?", [number]).fetchone())

    changes: list[Callable[[], Any]] = [add(str(n)) for n in range(THREADS)]
    assert together(database, SharedCommits(), changes, then=seen) == [True] * THREADS


def test_a_change_within_a_transaction_belongs_to_it(database: Watched):
    commits = SharedCommits()
    with pytest.raises(ZeroDivisionError), database.atomic():
        commits.run(database, add("a"))
        raise ZeroDivisionError

    assert not Note.select().exists()
