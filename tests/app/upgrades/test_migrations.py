"""The migrations: committed ones never change, and a library that any committed version made comes
to the same schema and takes uploads.

Migration 0001 was changed once after it was committed. `data/migrations` has it as it was, so that
libraries of that time are brought up to date, too.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from playhouse.migrations import Runner

from gifster import jobs
from gifster.app import database, library, lists, settings
from gifster.app.boot import boot
from gifster.app.database import db
from gifster.app.models import Gif
from gifster.uploads.config import storage
from gifster.uploads.testing import keep, run_jobs
from tests.app.gifs import cached
from tests.app.schema import ALL, OF_JOBS, shape
from tests.machine import examples

FOLDER = database.MIGRATIONS
DATA = Path(__file__).parents[1] / "data" / "migrations"
DIGESTS = DATA / "migrations.sha256"
#: The versions that are tested every day: each fifth, from the first one. CI tests all.
OLD = ALL[:: examples(5, of=1)]


def test_committed_migrations_never_change():
    committed = dict(reversed(line.split()) for line in DIGESTS.read_text("utf-8").splitlines())
    present = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in FOLDER.glob("0*.py")}

    changed = sorted(name for name in committed if present.get(name) != committed[name])
    new = sorted(set(present) - set(committed))

    assert not changed, (
        f"{', '.join(changed)}: a committed migration was changed, moved or removed. Some "
        "databases have run it already and never run it again. Restore it, and write one more."
    )
    assert not new, (
        f"{', '.join(new)}: new. Add its digest: "
        f"(cd gifster/app/migrations && sha256sum {' '.join(new)}) "
        f">> tests/app/data/migrations/{DIGESTS.name}"
    )


def test_a_new_migration_is_the_last_one():
    # A database runs them by their numbers, each once
    committed = [line.split()[1] for line in DIGESTS.read_text("utf-8").splitlines()]
    numbers = [int(name[:4]) for name in committed]

    assert numbers == sorted(set(numbers)), "give a new migration the next number after all others"


def test_the_recipe_for_a_column_has_the_next_number():
    recipe = (FOLDER.parent.parent.parent / "CONTRIBUTING.md").read_text("utf-8")

    last = [name for name in ALL if not name.endswith("_credits")][-1]  # somebody may try it
    assert f"`gifster/app/migrations/{int(last[:4]) + 1:04}_credits.py`" in recipe


def tables() -> dict[str, list[tuple]]:
    """The schema: columns, types, NULL or not, indexes and foreign keys of all tables."""
    with db.connection_context():
        return {table: shape(db.obj, table) for table in db.obj.get_tables()}


def migrate_as_of(folder: Path, first: str, step: str) -> None:
    """Run the migrations up to one of them, with the first one as it is or as it was."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    if first == "was":
        shutil.copy(DATA / "0001_first_tables.py", folder)
    with db.connection_context():
        Runner(db.obj, str(folder)).up(step)


def _insert(table: str, **values: object) -> None:
    names, marks = (
        ", ".join(f'"{name}"' for name in values),
        ", ".join([db.obj.param] * len(values)),
    )
    db.execute_sql(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(values.values()))


def rows_of_the_first_version(cached: dict) -> None:
    """What the first version wrote: a user, a stored GIF with a tag, and one that waits with its
    job."""
    stored = {
        "storage": "store", "key": "gifs/stored/a.gif", "filename": "a.gif",
        "content_type": "image/gif", "bytes": 7, "sha256": "5a", "width": 9, "height": 9,
        "frames": 1, "duration_ms": 0, "loop": None,
        "versions": {"thumb": {"key": "gifs/stored/thumb.gif", "content_type": "image/gif",
                               "bytes": 5, "width": 9, "height": 9}},
    }  # fmt: skip
    _insert("user", id="ann", email="ann@example.org", name="Ann", password_hash="x", created_at=1)
    of_both = {"user_id": "ann", "created_at": 1, "image_processing": False}
    _insert("gif", id="stored", title="a", image=json.dumps(stored), image_state="ready", **of_both)
    _insert("gif", id="waiting", title="b", image_tmp=json.dumps(cached), image_state="queued",
            **of_both)  # fmt: skip
    _insert("tag", id=1, name="cats")
    _insert("gif_tag", gif_id="stored", tag_id=1)
    arguments = json.dumps({"args": ["gif", "waiting", "image", cached["key"]]})
    _insert("outbox", id="job", actor="store_asset", queue="carrierwave", arguments=arguments,
            created_at=1.0, send_at=2.0, sendings=0)  # fmt: skip


@pytest.mark.parametrize("first", ["was", "is"])
def test_every_committed_version_migrates_to_the_same_schema(
    database_url: str, tmp_path: Path, first: str
):
    # Given the schema of a new library
    database.connect(database_url)
    database.migrate()
    new = tables()

    for step in OLD:
        # When a library that stopped at one of the migrations is brought up to date
        _empty()
        migrate_as_of(tmp_path / step, first, step)
        database.migrate()

        # I expect no difference
        assert tables() == new, f"from {step}, where 0001 is as it {first}"
        assert database.pending_migrations() == []
    db.obj.close_all()


def test_the_library_alone_knows_how_old_the_jobs_of_every_version_are(
    database_url: str, tmp_path: Path
):
    def tables_of_jobs() -> dict[str, list]:
        return {name: shape(db.obj, name) for name in (t._meta.table_name for t in jobs.TABLES)}

    # Given the tables of the jobs in a new database, and in installations that stopped at one of
    # those migrations of Gifster's that change them
    database.connect(database_url)
    with db.connection_context():
        jobs.migrate(db)
        new = tables_of_jobs()

    for step in [name for name in ALL if name[:4] in ("0001", "0003", "0005", "0007", "0010")]:
        # When the library migrates them
        _empty()
        migrate_as_of(tmp_path / step, "was", step)
        with db.connection_context():
            jobs.migrate(db)

            # I expect no difference
            assert tables_of_jobs() == new, f"from {step}"
            assert jobs.pending_migrations(db) == []
    db.obj.close_all()


def _empty() -> None:
    with db.connection_context():
        if not _is_sqlite():
            db.execute_sql("DROP SCHEMA public CASCADE")
            db.execute_sql("CREATE SCHEMA public")
            return
        db.execute_sql("PRAGMA foreign_keys = 0")
        for table in set(db.obj.get_tables()) - {"sqlite_sequence"}:
            db.execute_sql(f'DROP TABLE IF EXISTS "{table}"')  # FTS5 drops its own
        db.execute_sql("PRAGMA foreign_keys = 1")


def test_a_library_of_the_first_version_works_on(
    database_url: str, broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gif: bytes
):
    # Given a library of the very first version, with an upload that waits
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIFSTER_BROKER__URL", broker_url)
    monkeypatch.setenv("GIFSTER_DATABASE__URL", database_url)
    broker = boot(settings.load())
    migrate_as_of(tmp_path / "migrations", "was", ALL[0])
    waiting = cached(gif).dump()
    of_then = ("content_type", "width", "height", "frames", "duration_ms", "loop")
    waiting["info"] = {name: waiting["info"][name] for name in of_then}
    del waiting["position"]
    with db.connection_context():
        rows_of_the_first_version(waiting)
    keep(storage("store"), "gifs/stored/a.gif", b"picture")

    # When it is migrated
    assert database.migrate() == ALL[1:] + OF_JOBS

    # I expect the old upload and a new one to be stored, and the other rows to be there
    from gifster.uploads import actors

    for actor in (actors.store_asset, actors.remove_files):
        broker.declare_actor(actor)
    with db.connection_context():
        added = library.add_gif(cached(gif), title="new", tags=["cats"])
        run_jobs()
        assert {g.id: g.image_state for g in Gif.select()} == dict.fromkeys(
            ("stored", "waiting", added.id), "ready"
        )
        assert Gif.get_by_id("stored").user.email == "ann@example.org"
        assert lists.tags_of([Gif.get_by_id("stored")]) == {"stored": ["cats"]}
        assert jobs.Job.select().count() == 0
    db.obj.close_all()
    broker.close()


def test_an_applications_outbox_of_an_earlier_release_gets_its_missing_columns(
    database_url: str,
):
    # Given the outbox that `gifster install` of the first release made, with a job
    database.connect(database_url)
    with db.connection_context():
        jobs.migrate(db.obj)
        new = {
            table._meta.table_name: shape(db.obj, table._meta.table_name) for table in jobs.TABLES
        }
        db.obj.bind(jobs.TABLES)
        db.obj.drop_tables(jobs.TABLES)
        moment = "REAL" if _is_sqlite() else "DOUBLE PRECISION"
        db.execute_sql(
            'CREATE TABLE "outbox" ("id" VARCHAR(32) NOT NULL PRIMARY KEY, '
            '"actor" VARCHAR(255) NOT NULL, "queue" VARCHAR(255) NOT NULL, '
            f'"arguments" TEXT NOT NULL, "created_at" {moment} NOT NULL, '
            f'"send_at" {moment} NOT NULL, "leased_by" VARCHAR(255), "deaths" INTEGER NOT NULL, '
            f'"sendings" INTEGER NOT NULL, "error" TEXT, "failed_at" {moment})'
        )
        db.execute_sql('CREATE INDEX "outbox_send_at" ON "outbox" ("send_at")')
        _insert("outbox", id="job", actor="a", queue="q", arguments='{"args":[]}', created_at=1.0,
                send_at=2.0, deaths=0, sendings=0)  # fmt: skip

        # When the application asks for the tables once more, by their former name
        with pytest.deprecated_call():
            added = jobs.create_tables(db.obj)

        # I expect today's tables, with the job, and nothing left to migrate
        assert "outbox.attempts" in added
        assert {t: shape(db.obj, t) for t in new} == new
        assert [(job.id, job.attempts) for job in jobs.Job.select()] == [("job", 0)]
        assert jobs.migrate(db.obj) == []
    db.obj.close_all()


def _is_sqlite() -> bool:
    return "Sqlite" in type(db.obj).__name__
