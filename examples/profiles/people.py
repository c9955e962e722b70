"""People with an avatar: the models and the work of both web applications, and of the workers:

python -m gifster.jobs run people
"""

import os
import secrets
from pathlib import Path
from typing import Any

import peewee
from playhouse.db_url import connect

from gifster import jobs, uploads

VAR = Path(os.environ.get("PROFILES_VAR", "var/profiles")).absolute()
VAR.mkdir(parents=True, exist_ok=True)
DATABASE = os.environ.get("PROFILES_DATABASE", f"sqlite:///{VAR}/app.db")
SQLITE = {"pragmas": {"journal_mode": "wal"}, "timeout": 15}
#: Signs sessions and cache ids. Several web processes need the same one, from your environment.
SECRET = os.environ.get("PROFILES_SECRET") or secrets.token_urlsafe()

db = connect(DATABASE, **SQLITE if DATABASE.startswith("sqlite") else {"prefer_psycopg3": True})
db.bind(jobs.TABLES)
jobs.connect(os.environ.get("PROFILES_BROKER", "redis://127.0.0.1:6379/0"))
uploads.configure(
    {
        "cache": uploads.LocalStorage(VAR / "cache"),
        "store": uploads.LocalStorage(VAR / "store", "/files"),
    },
    secret=SECRET,
)


class AvatarUploader(uploads.Backgrounder, uploads.Uploader):
    max_bytes = 5 * 1024 * 1024

    @uploads.version
    def thumb(self, image: uploads.Image) -> uploads.Image:
        return image.fill(96, 96)


@uploads.store_in_background("avatar")
class Person(uploads.HasUploads, peewee.Model):
    id = peewee.AutoField()
    name = peewee.CharField(100)
    avatar = uploads.mount_uploader(AvatarUploader)
    avatar_tmp = uploads.CacheField()
    avatar_state = uploads.StateField()
    avatar_cache = uploads.CacheId()  # no column; declared, type checkers know it

    class Meta:
        database = db


import gifster.uploads.actors  # noqa: E402, F401 after connect() and configure()

with db.connection_context():
    db.create_tables([Person])
    jobs.migrate(db)


def fill(person: Person, name: str, kept: str, upload: Any) -> list[str]:
    """Write a form into a person, and return what is wrong with it.

    Parameters:
      kept: the form's hidden field, with the cache id of a file that it was sent with before.
      upload: of the file field. If no file was chosen, it changes nothing.
    """
    person.name = name.strip()
    problems = [] if 0 < len(person.name) <= 100 else ["Enter a name of 1 to 100 characters."]
    try:
        if upload is not None:
            person.avatar = upload
        person.avatar_cache = kept  # does nothing beside a new file
    except uploads.UploadError as error:
        problems.append(str(error))
    return problems
