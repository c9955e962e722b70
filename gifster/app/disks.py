"""How large the database is, and how much room there is on the disks of this machine."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import peewee

from gifster.app.database import db
from gifster.app.settings import Settings


class Disk(NamedTuple):
    """The disk of a folder.

    Attributes:
      name: whose folder: `cache`, `store`, `database`.
      free_bytes: what we may still write.
    """

    name: str
    free_bytes: int
    size_bytes: int


def disks(settings: Settings) -> Iterator[Disk]:
    """The disks of those folders that are on this machine, and are there."""
    storages = {"cache": settings.cache, "store": settings.store}
    folders = {name: its.root for name, its in storages.items() if its.kind == "local"}
    if settings.database.file is not None:
        folders["database"] = settings.database.file.parent
    for name, folder in folders.items():
        with suppress(OSError):  # nothing is stored yet
            found = os.statvfs(folder)
            yield Disk(name, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def database_bytes() -> int:
    """The size of the database: of SQLite's files, or what PostgreSQL says."""
    database = db.obj
    if isinstance(database, peewee.SqliteDatabase):
        files = (Path(f"{database.database}{end}") for end in ("", "-wal"))
        return sum(path.stat().st_size for path in files if path.exists())
    ((size,),) = db.execute_sql("SELECT pg_database_size(current_database())").fetchall()
    return int(size)
