"""All rows in a database of the other kind, and back."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest

from gifster import jobs
from gifster.app import collections, database, favourites, library, lists
from gifster.app.access import Viewer
from gifster.app.backup import BackupError, tables
from gifster.app.backup.moving import copy_database
from gifster.app.backup.targets import opened
from gifster.app.database import db
from gifster.app.models import Gif, User, WriteProbe
from gifster.app.search.tables import SearchEntry
from gifster.app.settings import Settings
from gifster.jobs.worker_rows import Worker
from tests import images
from tests.app.gifs import added, cached
from tests.combinations import on_sqlite
from tests.conftest import own_postgresql

#: A NUL is no text, and a lone surrogate neither: no column can have them.
ODD = "Zoë's 🐈 “\t\n\\N,;\u202e{}%s%%$1?:x"


def filled() -> Gif:
    """A library with rows in many tables, and values that are written otherwise in each kind."""
    ann = User.create(email="ann@example.org", name=ODD, password_hash="x", is_admin=True)
    file = cached(images.gif((40, 30)), f"{ODD}.gif")
    gif = library.add_gif(file, title="A cat, asleep", tags=["cats", "zzz"], user=ann)
    favourites.add(ann, gif.id, Viewer(ann.id))
    made = collections.create(ann, "Cats")
    collections.add(made.id, gif.id, Viewer(ann.id))
    WriteProbe.create(id=1, content=os.urandom(1000) + b"\0\\x")
    SearchEntry.update(ratio=4 / 3, heat=1e300 / 3).execute()
    jobs.enqueue("nobody", [ODD, None, 1.5, {"a": True}], in_s=3600)
    jobs.pause("carrierwave")
    return gif


@pytest.fixture
def other(request: pytest.FixtureRequest, booted: Settings, tmp_path: Path) -> str:
    """An empty database of the kind that `booted` is not."""
    if booted.database.file is None:
        return f"sqlite:///{tmp_path}/other/gifster.db"
    return own_postgresql(request)


def copied(source: str, target: str) -> int:
    return copy_database(source, target, lambda *_: None)


def rows(url: str) -> dict[str, set]:
    with opened(url) as found:
        return {each.name: set(each.rows(found)) for each in tables.common_tables(found, found)}


@pytest.fixture
def connected(booted: Settings) -> Iterator[Callable[[str], None]]:
    """Makes this process one with another database."""
    original = db.obj

    def connect(url: str) -> None:
        database.connect(url)
        db.bind(jobs.TABLES)

    yield connect
    if db.obj is not original:
        db.obj.close_all()
        db.initialize(original)


def test_all_rows_go_there_and_back(
    booted: Settings, other: str, tmp_path: Path, connected: Callable[[str], None]
):
    gif = filled()
    source = booted.database.url

    # When they are copied into a database of the other kind
    count = copied(source, other)

    # I expect the same rows, and a library that works on
    assert count == sum(len(found) for found in rows(source).values()) > 15
    before = {n: {tuple(map(_rough, row)) for row in r} for n, r in rows(source).items()}
    after = {n: {tuple(map(_rough, row)) for row in r} for n, r in rows(other).items()}
    assert after == before
    highest = SearchEntry.select(peewee.fn.MAX(SearchEntry.id)).scalar()
    connected(other)
    with db.connection_context():
        assert Gif.get_by_id(gif.id).user.name == ODD
        assert Gif.get_by_id(gif.id).user.is_admin is True
        [found], _ = lists.list_gifs(q="cats asleep")
        assert found.id == gif.id
        again = filled_again()
        entry = SearchEntry.get(SearchEntry.gif == again.id)
        assert entry.id > highest

    # And back, into a new one of the first kind
    file = f"sqlite:///{tmp_path}/back/gifster.db"
    copied(other, file)
    assert {n: len(r) for n, r in rows(file).items()} == {n: len(r) for n, r in rows(other).items()}
    with opened(file) as back:
        assert back.execute_sql("PRAGMA foreign_key_check").fetchall() == []
        assert back.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]


def _rough(value: Any) -> Any:
    """SQLite's REAL has more digits than PostgreSQL's."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def filled_again() -> Gif:
    return added(images.gif((40, 30), [40] * 7), title="b")


def test_a_target_with_rows_is_refused(booted: Settings, other: str, tmp_path: Path):
    filled()
    copied(booted.database.url, other)

    with pytest.raises(BackupError, match=r"already: all rows go into a database that is empty"):
        copied(booted.database.url, other)


def test_a_running_worker_and_a_source_that_is_not_up_to_date_are_refused(
    booted: Settings, other: str
):
    worker = {"id": "w", "host": "shop", "pid": 7, "threads": 1, "queues": "default"}
    Worker.create(**worker, started_at=1, seen_at=time.time())
    with pytest.raises(BackupError, match=r"process 7 on shop.*stop web processes, workers"):
        copied(booted.database.url, other)
    Worker.delete().execute()

    db.execute_sql('DROP TABLE "paused_queue"')
    with pytest.raises(BackupError, match=r"1 pending migration\): run gifster migrate"):
        copied(booted.database.url, other)
    database.migrate()

    db.execute_sql(
        f"INSERT INTO {database.APPLIED} (name, applied) VALUES ('9999_x', '2030-01-01')"
    )
    with pytest.raises(database.NewerDatabase, match="9999_x"):
        copied(booted.database.url, other)
    if other.startswith("sqlite"):
        assert not Path(other.removeprefix("sqlite:///")).exists()


def test_what_is_no_database_of_gifsters_is_refused(booted: Settings, other: str, tmp_path: Path):
    with pytest.raises(BackupError, match="there is no database in"):
        copied(f"sqlite:///{tmp_path}/nowhere.db", other)
    assert not (tmp_path / "nowhere.db").exists()

    strange = f"sqlite:///{tmp_path}/strange.db"
    with opened(strange) as made:
        made.execute_sql("CREATE TABLE letters (a TEXT)")
    with pytest.raises(BackupError, match="no database of Gifster's"):
        copied(strange, other)


def test_a_row_that_does_not_fit_leaves_the_target_empty(
    booted: Settings, other: str, tmp_path: Path
):
    if booted.database.file is None:
        pytest.skip("SQLite takes texts of any length")
    filled()
    db.execute_sql("UPDATE gif SET title = ?", ("x" * 201,))

    with pytest.raises(BackupError, match=r"the table gif cannot be copied: value too long"):
        copied(booted.database.url, other)

    assert not any(rows(other).values())
    db.execute_sql("UPDATE gif SET title = 'x'")
    copied(booted.database.url, other)


@on_sqlite
def test_text_that_is_no_utf8_is_not_copied_as_another_one(booted: Settings, other: str):
    filled()
    db.execute_sql("UPDATE gif SET title = CAST(x'ff41' AS TEXT)")

    with pytest.raises(BackupError, match=r"the table gif cannot be copied: a row has text that"):
        copied(booted.database.url, other)

    assert not any(rows(other).values())


def test_nobody_writes_while_rows_are_copied(booted: Settings, other: str):
    filled()
    refused = []

    def write(table: str, _: int) -> None:
        if table != "gif":
            return
        with opened(booted.database.url) as beside:
            if isinstance(beside, peewee.SqliteDatabase):
                beside.execute_sql("PRAGMA busy_timeout = 1")
            else:
                beside.execute_sql("SET lock_timeout = '1ms'")
            try:
                beside.execute_sql("UPDATE gif SET title = 'lost'")
            except peewee.OperationalError as error:
                refused.append(str(error))

    copy_database(booted.database.url, other, write)

    assert len(refused) == 1
    assert "lock" in refused[0]
