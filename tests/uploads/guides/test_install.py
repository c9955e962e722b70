"""`python -m gifster.uploads install` in another project, which then runs for real."""

import importlib
import os
import pty
import sqlite3
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import peewee
import pytest
from playhouse.migrations import Runner

from gifster import jobs
from gifster.uploads.command import main
from tests import databases, images
from tests.combinations import only_in_ci
from tests.machine import eventually, files_below

MODELS = """
import peewee
{uploader}
db = peewee.SqliteDatabase("shop.db", pragmas={{"journal_mode": "wal"}})

{decorator}
class User({base}peewee.Model):
    name = peewee.CharField()
{fields}
    class Meta:
        database = db
        legacy_table_names = False
"""
BEFORE = MODELS.format(uploader="", decorator="", base="", fields="")
AFTER = MODELS.format(
    uploader="""
from gifster import uploads

class AvatarUploader(uploads.Backgrounder, uploads.Uploader):
    @uploads.version
    def thumb(self, image):
        return image.fit(50, 50)
""",
    decorator='@uploads.store_in_background("avatar")',
    base="uploads.HasUploads, ",
    fields="""
    avatar = uploads.mount_uploader(AvatarUploader)
    avatar_tmp = uploads.CacheField()
    avatar_processing = uploads.ProcessingField()
    avatar_state = uploads.StateField()
    avatar_error = uploads.ErrorField()
""",
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "project"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "models.py").write_text(BEFORE)
    monkeypatch.chdir(folder)
    yield folder
    for name in ("shop", "shop.models"):
        sys.modules.pop(name, None)


def run(folder: Path, script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(*arguments: str) -> tuple[int, str, str]:
    """Run the command in this process. Returns its exit status and what it printed."""
    importlib.invalidate_caches()
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        status = main(["install", *arguments])
    return status, out.getvalue(), err.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    names = [n for n in files_below(folder) if n.endswith((".py", ".toml"))]
    return {name: (folder / name).read_bytes() for name in names}


@only_in_ci("ten processes; the others do each step daily, and test_example.py starts a worker")
@pytest.mark.long
def test_a_project_with_an_installed_column_works(project: Path, tmp_path: Path, broker_url: str):
    # Given a project with a user
    run(project, "from shop.models import *; db.create_tables([User]); User.create(name='Ann')")

    # When I follow the instructions
    done = subprocess.run(
        [sys.executable, "-m", "gifster.uploads", "install", "shop.models:User", "avatar"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "created    migrations/0001_add_avatar_to_user.py" in done.stdout
    (project / "shop" / "models.py").write_text(AFTER)
    settings = project / "settings.toml"
    settings.write_text(settings.read_text().replace("redis://127.0.0.1:6379/0", broker_url))
    subprocess.run(
        [sys.executable, "-m", "playhouse.migrations", "shop.models.db", "up"],
        cwd=project, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip

    # I expect an old user to get an avatar, from a worker started as the file says
    (tmp_path / "me.gif").write_bytes(images.gif((300, 200)))
    upload = f"""
import actors
from pathlib import Path
from shop.models import User, db
db.connect()
ann = User.get(name="Ann")
ann.avatar = Path({str(tmp_path / "me.gif")!r})
ann.save()
print(User.get(name="Ann").avatar_processing)
"""
    assert run(project, upload) == "True\n"
    worker = subprocess.Popen(
        [sys.executable, "-m", "gifster.jobs", "run", "actors"],
        cwd=project, stdout=(tmp_path / "run.log").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        with closing(sqlite3.connect(project / "shop.db", timeout=15)) as rows:
            stored = "SELECT 1 FROM user WHERE avatar IS NOT NULL AND NOT avatar_processing"
            eventually(lambda: rows.execute(stored).fetchone())
    finally:
        worker.terminate()
        worker.wait(60)
    assert "Traceback" not in (tmp_path / "run.log").read_text()
    # … and the sweep to recur, and that the migration can be undone
    said = run(project, """
import actors
from gifster import jobs
from playhouse.migrations import Runner
from shop.models import User, db
db.connect()
ann = User.get(name="Ann")
print(ann.avatar.url("thumb"), ann.avatar_processing, [j.name for j in jobs.recurring_jobs()])
Runner(db, "migrations").down()
""")  # fmt: skip
    assert said.startswith("/files/user/avatar/1/")
    assert said.endswith("/thumb.gif False ['sweep_uploads']\n")


def test_a_form_of_an_installed_project_keeps_its_file(project: Path, tmp_path: Path):
    install("shop.models:User", "avatar")
    (project / "shop" / "models.py").write_text(AFTER)
    (tmp_path / "me.gif").write_bytes(images.gif((300, 200)))

    kept = run(project, f"""
import actors
from pathlib import Path
from shop.models import User
first, second = User(avatar=Path({str(tmp_path / "me.gif")!r})), User()
second.avatar_cache = first.avatar_cache
print(second.avatar.file.filename)
""")  # fmt: skip

    assert kept == "me.gif\n"


def test_each_project_has_a_secret_of_its_own(project: Path):
    secrets = set()
    for _ in range(2):
        (project / "settings.toml").unlink(missing_ok=True)
        install("shop.models:User", "avatar")
        settings = tomllib.loads((project / "settings.toml").read_text())
        secrets.add(settings["attachments"]["secret"])

    assert len(secrets) == 2
    assert min(map(len, secrets)) >= 32


def test_settings_of_an_earlier_release_have_no_secret(project: Path):
    (project / "settings.toml").write_text(
        '[attachments]\nbroker = "redis://127.0.0.1:6379/0"\nqueue = "carrierwave"\n'
        'cache = "var/cache"\nstore = "var/store"\nbase_url = "/files"\n'
    )

    install("shop.models:User", "avatar")

    assert run(project, "import actors; print('it starts')") == "it starts\n"


def test_a_second_run_changes_nothing(project: Path):
    install("shop.models:User", "avatar")
    before = contents(project)

    status, said, _ = install("shop.models:User", "avatar")

    assert status == 0
    assert said.count("unchanged") == 3
    assert contents(project) == before


def test_existing_files_are_kept(project: Path):
    (project / "settings.toml").write_text("[web]\nport = 1\n")
    (project / "actors.py").write_text("# mine\n")
    (project / "migrations").mkdir()
    (project / "migrations" / "0007_mine.py").write_text("# mine\n")

    _, said, _ = install("shop.models:User", "photos", "--many")

    assert "extended   settings.toml" in said
    assert (project / "settings.toml").read_text().startswith("[web]\nport = 1\n\n[attachments]")
    assert "created    migrations/0008_add_photos_to_user.py" in said
    assert "kept       actors.py" in said
    assert (project / "actors.py").read_text() == "# mine\n"
    assert "photos_tmp = uploads.CacheListField()" in said
    assert "replaced   actors.py" in install("shop.models:User", "photos", "--yes")[1]


def schema(database: peewee.Database) -> tuple[list[tuple[Any, ...]], list[list[str]]]:
    """The columns of the table `user` with their types, and the columns that have an index."""
    columns = database.get_columns("user")
    told = [(column.name, column.data_type.lower(), column.null) for column in columns]
    return sorted(told), sorted(index.columns for index in database.get_indexes("user"))


@pytest.mark.parametrize(
    ("options", "companions"),
    [
        ((), {"avatar_tmp", "avatar_processing", "avatar_state", "avatar_error"}),
        (("--no-state",), {"avatar_tmp", "avatar_processing"}),
        (("--process",), {"avatar_processing", "avatar_state", "avatar_error"}),
        (("--many", "--no-state"), {"avatar_tmp", "avatar_processing"}),
    ],
)
def test_the_migration_makes_what_the_model_declares(
    project: Path, database_url: str, options: tuple[str, ...], companions: set[str]
):
    db = databases.connect(database_url)

    class Base(peewee.Model):
        name = peewee.CharField()

        class Meta:
            database = db
            table_name = "user"

    def model_of(advice: str) -> Any:
        """The model as the command says to write it."""
        code = textwrap.dedent(advice[advice.index("    from") : advice.index("and run the mig")])
        scope: dict[str, Any] = {"Base": Base}
        exec(code.replace("HasUploads, ...)", "HasUploads, Base)"), scope)
        return scope["User"]

    with db.connection_context(), db.bind_ctx(jobs.TABLES):
        Base.create_table()
        Base.create(name="Ann")
        before = schema(db)

        # When I install a column, and run the migration
        _, said, _ = install("shop.models:User", "avatar", *options)
        runner = Runner(db, str(project / "migrations"))
        runner.up()

        # I expect the columns of the model, for the rows that are there, too
        model, migrated = model_of(said), schema(db)
        assert {name for name, *_ in migrated[0]} == {"id", "name", "avatar"} | companions
        ann = model.get()
        assert (ann.name, ann.avatar_processing, bool(ann.avatar)) == ("Ann", False, False)

        # and that it can be undone, and did what Peewee does for a new table
        runner.down()
        assert schema(db) == before
        db.drop_tables([Base])
        model.create_table()
        assert schema(db) == migrated
    db.close_all()


def test_processing_only_needs_no_cache_column(project: Path):
    _, said, _ = install("shop.models:User", "cover", "--process")

    assert "process_in_background" in said
    assert "cover_tmp" not in (project / "migrations" / "0001_add_cover_to_user.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shop.models:Nobody", "avatar"), "no model shop.models:Nobody here"),
        (("nowhere:User", "avatar"), "no model nowhere:User here"),
        (("User", "avatar"), "name it as package.module:Model"),
        (("shop.models:db", "avatar"), "shop.models:db is not a Peewee model"),
        (("shop.models:User", "my avatar"), "'my avatar' is not a name for a column"),
        (("shop.models:User", "class"), "'class' is not a name for a column"),
        (("shop.models:User", "name"), "User.name is a CharField already: use another name, or"),
        (("shop.models:User", "save"), "User.save is something else already"),
    ],
)
def test_a_wrong_wish_is_refused_and_writes_nothing(
    project: Path, arguments: tuple[str, ...], said: str
):
    before = contents(project)

    status, _, error = install(*arguments)

    assert status == 1
    assert said in error
    assert "Traceback" not in error
    assert contents(project) == before


def test_a_model_with_a_schema_gets_no_migration_for_another_table(project: Path):
    models = project / "shop" / "models.py"
    models.write_text(BEFORE.replace("legacy_table_names = False", 'schema = "tenant"'))

    status, _, error = install("shop.models:User", "avatar")

    assert (status, (project / "migrations").exists()) == (1, False)
    assert "User is in the schema 'tenant'" in error


def test_a_table_may_have_any_name(project: Path):
    models = project / "shop" / "models.py"
    models.write_text(BEFORE.replace("legacy_table_names = False", "table_name = 'a/user of us'"))

    assert install("shop.models:User", "avatar")[0] == 0

    with closing(peewee.SqliteDatabase(str(project / "odd.db"))) as db, db.bind_ctx(jobs.TABLES):
        db.execute_sql('CREATE TABLE "a/user of us" (id INTEGER PRIMARY KEY)')
        runner = Runner(db, str(project / "migrations"))
        runner.up()
        assert "avatar_error" in {column.name for column in db.get_columns("a/user of us")}
        runner.down()
        assert [column.name for column in db.get_columns("a/user of us")] == ["id"]


def test_the_migration_of_an_earlier_release_is_found(project: Path):
    # Given a table whose name is no word, and a migration that is named by it
    models = project / "shop" / "models.py"
    models.write_text(BEFORE.replace("legacy_table_names = False", "table_name = 'my-users'"))
    (project / "migrations").mkdir()
    (project / "migrations" / "0001_add_avatar_to_my-users.py").write_text("# it\n")

    status, said, _ = install("shop.models:User", "avatar")

    assert status == 0
    assert "unchanged  migrations/0001_add_avatar_to_my-users.py" in said
    assert len(list((project / "migrations").iterdir())) == 1


def test_a_companion_that_is_taken_is_refused(project: Path):
    models = project / "shop" / "models.py"
    models.write_text(BEFORE.replace("name = ", "avatar_state = "))

    status, _, error = install("shop.models:User", "avatar")

    assert (status, (project / "migrations").exists()) == (1, False)
    assert "User.avatar_state is something else already" in error


@pytest.mark.parametrize("column", ["avatar", "avatar_tmp"])
def test_a_column_of_another_field_is_not_added_again(project: Path, column: str):
    models = project / "shop" / "models.py"
    former = f"former = peewee.TextField(column_name={column!r})"
    models.write_text(BEFORE.replace("name = ", f"{former}\n    name = "))

    status, _, error = install("shop.models:User", "avatar")

    assert (status, (project / "migrations").exists()) == (1, False)
    assert f"has the column {column!r} already, of User.former: use another name" in error


@pytest.mark.parametrize(("answer", "overwritten"), [("n", False), ("y", True)])
def test_a_person_at_a_terminal_is_asked(project: Path, answer: str, overwritten: bool):
    (project / "actors.py").write_text("# mine\n")
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())

    done = subprocess.run(
        [sys.executable, "-m", "gifster.uploads", "install", "shop.models:User", "avatar"],
        cwd=project, stdin=theirs, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip

    assert "actors.py has other content. Overwrite it? [y/N]" in done.stdout
    assert ((project / "actors.py").read_text() != "# mine\n") is overwritten
