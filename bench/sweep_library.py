"""The libraries that `bench.sweep` sweeps.

    python -m bench.sweep_library FOLDER COUNT

makes one of so many files; without COUNT it sweeps it, and prints what that took and found.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import peewee

from gifster import jobs, uploads

db = peewee.DatabaseProxy()


class PictureUploader(uploads.Backgrounder, uploads.Uploader):
    @uploads.version
    def thumb(self, image: uploads.Image) -> uploads.Image:
        return image.fit(220, 220)


@uploads.store_in_background("image")
class Picture(uploads.HasUploads, peewee.Model):
    image = uploads.mount_uploader(PictureUploader)
    image_tmp = uploads.CacheField()
    image_state = uploads.StateField()

    class Meta:
        database = db


def connect(folder: Path) -> peewee.SqliteDatabase:
    database = peewee.SqliteDatabase(folder / "library.db", pragmas={"journal_mode": "wal"})
    db.initialize(database)
    database.bind(jobs.TABLES)
    storages = {name: uploads.LocalStorage(folder / name) for name in ("cache", "store")}
    uploads.configure(storages)
    return database


def stored(number: int) -> dict[str, Any]:
    """The value of a row's `image`, as a worker writes it."""
    beginning = f"picture/image/{number}/{number:016x}"
    file = {"storage": "store", "content_type": "image/gif", "bytes": 1, "width": 9, "height": 9}
    thumb = file | {"key": f"{beginning}/thumb.gif"}
    facts = {"filename": "a.gif", "sha256": "0" * 64, "frames": 9, "duration_ms": 900, "loop": 0}
    looks = {"color": "#000000", "thumbhash": "A" * 28, "dhash": "0" * 16, "source": "0" * 35}
    original = {"key": f"{beginning}/original.gif", "versions": {"thumb": thumb}}
    return file | facts | looks | original


def waiting(number: int) -> dict[str, Any]:
    info = {"content_type": "image/gif", "width": 9, "height": 9, "frames": 1, "duration_ms": 0,
            "loop": None, "bytes": 1}  # fmt: skip
    key = f"ab/ab{number:030x}"
    return {"storage": "cache", "key": key, "filename": "a", "bytes": 1, "sha256": "", "info": info}


def make(folder: Path, count: int) -> None:
    database = connect(folder)
    database.create_tables([Picture, *jobs.TABLES])
    insert_row = "INSERT INTO picture (id, image, image_tmp) VALUES (?, ?, ?)"
    rows = range(count // 2)
    with database.atomic():
        for number in rows:
            file = stored(number)
            for key in (file["key"], file["versions"]["thumb"]["key"]):
                path = folder / "store" / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            cached = None if number % 20 else waiting(number)
            if number % 1000 != 999:
                texts = (json.dumps(value) if value else None for value in (file, cached))
                database.execute_sql(insert_row, (number, *texts))
            if cached:
                path = folder / "cache" / cached["key"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                arguments = {"args": ["picture", number, "image", cached["key"]]}
                jobs.Job.create(
                    actor="store_asset", queue="carrierwave", arguments=arguments, send_at=0
                )
    database.close()


def sweep_one(folder: Path) -> None:
    """Sweep, and print the seconds, the megabytes and the findings. Runs in its own process."""
    connect(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found = uploads.sweep(repair=False, min_age_s=-60)
    took = time.perf_counter() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([took, grown / 1024, found.counts()]))


if __name__ == "__main__":
    if sys.argv[2:]:
        make(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        sweep_one(Path(sys.argv[1]))
