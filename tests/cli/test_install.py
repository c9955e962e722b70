"""`gifster install` in another project, which then runs for real."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests import images
from tests.machine import BIN, files_below

MODELS = """
import peewee
{uploader}
db = peewee.SqliteDatabase("shop.db", pragmas={{"journal_mode": "wal"}})

{decorator}
class User(peewee.Model):
    name = peewee.CharField()
{fields}
    class Meta:
        database = db
        legacy_table_names = False
"""
BEFORE = MODELS.format(uploader="", decorator="", fields="")
AFTER = MODELS.format(
    uploader="""
from gifster import uploads

class AvatarUploader(uploads.Backgrounder, uploads.Uploader):
    @uploads.version
    def thumb(self, image):
        return image.fit(50, 50)
""",
    decorator='@uploads.store_in_background("avatar")',
    fields="""
    avatar = uploads.mount_uploader(AvatarUploader)
    avatar_tmp = uploads.CacheField()
    avatar_processing = uploads.ProcessingField()
""",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "models.py").write_text(BEFORE)
    run(folder, "from shop.models import *; db.create_tables([User]); User.create(name='Ann')")
    return folder


def run(folder: Path, script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "gifster"), "install", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    names = [n for n in files_below(folder) if n.endswith((".py", ".toml"))]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.long
def test_a_project_with_an_installed_column_works(project: Path, tmp_path: Path, broker_url: str):
    # When I follow the instructions
    done = install(project, "shop.models:User", "avatar")
    assert done.returncode == 0, done.stderr
    assert "created    migrations/0001_add_avatar_to_user.py" in done.stdout
    (project / "shop" / "models.py").write_text(AFTER)
    settings = project / "settings.toml"
    settings.write_text(settings.read_text().replace("redis://127.0.0.1:6379/0", broker_url))
    migrate = "from shop.models import db; from playhouse.migrations import run; run(db)"
    run(project, migrate)

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
        [str(BIN / "dramatiq"), "actors", "--queues", "default", "carrierwave", "-p", "1"],
        cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait = """
import actors, time
from shop.models import User, db
db.connect()
deadline = time.time() + 20
while not (ann := User.get(name="Ann")).avatar and time.time() < deadline:
    time.sleep(0.05)
print(ann.avatar.url("thumb"), ann.avatar_processing)
"""
        said = run(project, wait)
    finally:
        worker.terminate()
        worker.wait(15)
    assert said.startswith("/files/user/avatar/1/")
    assert said.endswith("/thumb.gif False\n")

    # And the migration can be undone
    run(project, "from shop.models import db\nfrom playhouse.migrations import Runner\n"
                 "Runner(db, 'migrations').down()")  # fmt: skip


def test_a_second_run_changes_nothing(project: Path):
    install(project, "shop.models:User", "avatar")
    before = contents(project)

    again = install(project, "shop.models:User", "avatar")

    assert again.returncode == 0
    assert again.stdout.count("unchanged") == 3
    assert contents(project) == before


def test_existing_files_are_kept(project: Path):
    (project / "settings.toml").write_text("[web]\nport = 1\n")
    (project / "actors.py").write_text("# mine\n")
    (project / "migrations").mkdir()
    (project / "migrations" / "0007_mine.py").write_text("# mine\n")

    done = install(project, "shop.models:User", "photos", "--many")

    assert "extended   settings.toml" in done.stdout
    assert (project / "settings.toml").read_text().startswith("[web]\nport = 1\n\n[attachments]")
    assert "created    migrations/0008_add_photos_to_user.py" in done.stdout
    assert "kept       actors.py" in done.stdout
    assert (project / "actors.py").read_text() == "# mine\n"
    assert "photos_tmp = uploads.CacheListField()" in done.stdout
    assert "replaced   actors.py" in install(project, "shop.models:User", "photos", "--yes").stdout


def test_processing_only_needs_no_cache_column(project: Path):
    done = install(project, "shop.models:User", "cover", "--process")

    assert "process_in_background" in done.stdout
    assert "cover_tmp" not in (project / "migrations" / "0001_add_cover_to_user.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shop.models:Nobody", "avatar"), "no model shop.models:Nobody here"),
        (("nowhere:User", "avatar"), "no model nowhere:User here"),
        (("User", "avatar"), "name it as package.module:Model"),
        (("shop.models:db", "avatar"), "shop.models:db is not a Peewee model"),
        (("shop.models:User", "my avatar"), "'my avatar' is not a name for a column"),
    ],
)
def test_a_wrong_wish_is_refused_and_writes_nothing(
    project: Path, arguments: tuple[str, ...], said: str
):
    before = contents(project)

    refused = install(project, *arguments)

    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert contents(project) == before


@pytest.mark.parametrize(("answer", "overwritten"), [("n", False), ("y", True)])
def test_a_person_at_a_terminal_is_asked(project: Path, answer: str, overwritten: bool):
    (project / "actors.py").write_text("# mine\n")
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())

    done = subprocess.run(
        [str(BIN / "gifster"), "install", "shop.models:User", "avatar"],
        cwd=project, stdin=theirs, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip

    assert "actors.py has other content. Overwrite it? [y/N]" in done.stdout
    assert ((project / "actors.py").read_text() != "# mine\n") is overwritten
