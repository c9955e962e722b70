"""Taking over files of CarrierWave and Shrine, as the two guides say, by the installer that they
name and the script that they show."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests import images
from tests.docs_code import DOCS, blocks

MODELS = """
import peewee
{imports}
db = peewee.SqliteDatabase("app.db", pragmas={{"journal_mode": "wal"}})

{uploader}
class {model}({base}peewee.Model):
    {former} = peewee.TextField(null=True)
{fields}
    class Meta:
        database = db
        table_name = "{table}"
"""
UPLOADER = """
class PictureUploader(uploads.Backgrounder, uploads.Uploader):
    @uploads.version
    def thumb(self, image):
        return image.fit(50, 50)

@uploads.store_in_background("{column}")
"""
FIELDS = """
    {column} = uploads.mount_uploader(PictureUploader)
    {column}_tmp = uploads.CacheField()
    {column}_processing = uploads.ProcessingField()
    {column}_state = uploads.StateField()
    {column}_error = uploads.ErrorField()
"""
WORK = """
import actors
from app.models import {model}
from gifster.uploads.testing import run_jobs
run_jobs()
for record in {model}.select():
    stored = record.{column}.stored
    print(record.id, stored and (stored.filename, stored.width, stored.versions["thumb"].width))
"""


def ran(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_models(folder: Path, model: str, column: str, former: str, *, installed: bool) -> None:
    text = MODELS.format(
        model=model,
        table=f"{model.lower()}s",
        former=former,
        imports="from gifster import uploads" if installed else "",
        base="uploads.HasUploads, " if installed else "",
        uploader=UPLOADER.format(column=column) if installed else "",
        fields=FIELDS.format(column=column) if installed else "",
    )
    (folder / "app" / "models.py").write_text(text)


def taken_over(folder: Path, page: str, model: str, column: str, former: str) -> tuple[str, str]:
    """Follow a guide in a folder with the table and the files that Ruby left.

    Returns:
      what the script prints, and each record with its file once the workers have run.
    """
    (folder / "app").mkdir()
    (folder / "app" / "__init__.py").touch()
    write_models(folder, model, column, former, installed=False)
    ran(folder, "-m", "gifster.uploads", "install", f"app.models:{model}", column)
    settings = folder / "settings.toml"
    settings.write_text(settings.read_text().replace("redis://127.0.0.1:6379/0", "stub://"))
    write_models(folder, model, column, former, installed=True)
    ran(folder, "-m", "playhouse.migrations", "app.models.db", "up")
    (script,) = [
        code for _, label, code in blocks((DOCS / page).read_text()) if label == "file=take_over.py"
    ]
    (folder / "take_over.py").write_text(script)
    said = ran(folder, "take_over.py")
    again = ran(folder, "take_over.py")
    assert again == said  # it takes no file twice, and names those again that are left
    return said, ran(folder, "-c", WORK.format(model=model, column=column))


def test_files_of_carrierwave_are_taken_over(tmp_path: Path):
    # Given two users of a Ruby application with avatars, one whose file is no picture, one whose
    # file is lost, and one without
    names = ["me.png", "ö_(1).gif", "notes.png", "lost.png", None]
    uploads = tmp_path / "public" / "uploads" / "user" / "avatar"
    for number, content in enumerate(
        [images.still("PNG", (60, 40)), images.gif((90, 30)), b"no picture"]
    ):
        (uploads / str(number + 1)).mkdir(parents=True)
        (uploads / str(number + 1) / str(names[number])).write_bytes(content)
    page = (DOCS / "coming-from-carrierwave.md").read_text().replace("\n    ", "\n")
    (renaming,) = [code for language, _, code in blocks(page) if language == "sql"]
    with closing(sqlite3.connect(tmp_path / "app.db")) as db, db:
        db.execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, avatar VARCHAR, avatar_tmp VARCHAR, "
            "avatar_processing BOOLEAN)"
        )
        db.executemany("INSERT INTO users (avatar) VALUES (?)", [(name,) for name in names])
        db.executescript(renaming)

    said, found = taken_over(
        tmp_path, "coming-from-carrierwave.md", "User", "avatar", "avatar_name"
    )

    refused, lost = said.splitlines()
    assert refused.startswith("user 3: notes.png: The file must be")
    assert lost.startswith("user 4: lost.png: [Errno 2]")
    assert found.splitlines() == [
        "1 ('me.png', 60, 50)",
        "2 ('ö_(1).gif', 90, 50)",
        "3 None",
        "4 None",
        "5 None",
    ]


def test_files_of_shrine_are_taken_over(tmp_path: Path):
    # Given three photos of a Ruby application: one whose name is known, one whose name is not and
    # whose file is lost, and one without a file
    uploads = tmp_path / "public" / "uploads" / "store" / "photo" / "1" / "image"
    uploads.mkdir(parents=True)
    (uploads / "5b.png").write_bytes(images.still("PNG", (60, 40)))
    metadata = {"filename": "me.png", "size": 100, "mime_type": "image/png"}
    kept = {"id": "photo/1/image/5b.png", "storage": "store", "metadata": metadata}
    lost = {"id": "photo/2/image/7c.png", "storage": "store", "metadata": {"filename": None}}
    with closing(sqlite3.connect(tmp_path / "app.db")) as db, db:
        db.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, image_data TEXT)")
        rows = [(json.dumps(kept),), (json.dumps(lost),), (None,)]
        db.executemany("INSERT INTO photos (image_data) VALUES (?)", rows)

    said, found = taken_over(tmp_path, "coming-from-shrine.md", "Photo", "image", "image_data")

    assert said.startswith("photo 2: photo/2/image/7c.png: ")
    assert found.splitlines() == ["1 ('me.png', 60, 50)", "2 None", "3 None"]
