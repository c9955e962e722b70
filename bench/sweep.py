"""The time and memory of a sweep in libraries of different sizes: `python -m bench.sweep
[COUNT ...]`, by default 1,000, 20,000 and 200,000 files.

Each library is a folder of COUNT files and a SQLite database. Half as many rows name the files; one
row in a thousand is missing, and one in twenty waits for a job. The sweep runs in a separate
process, without repairing. Its memory is its peak, less the memory before the sweep. The benchmark
removes everything at the end.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import peewee
from rich.console import Console
from rich.progress import track
from rich.table import Table

from gifster import jobs, uploads

COUNTS = [1_000, 20_000, 200_000]
db = peewee.DatabaseProxy()


class PictureUploader(uploads.Backgrounder, uploads.Uploader):
    @uploads.version
    def thumb(self, image: uploads.Image) -> uploads.Image:
        return image.fit(220, 220)


@uploads.store_in_background("image")
class Picture(peewee.Model):
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
    insert_job = (
        "INSERT INTO outbox (id, actor, queue, arguments, created_at, send_at, deaths, attempts, "
        "sendings) VALUES (?, 'store_asset', 'carrierwave', ?, 0, 0, 0, 0, 0)"
    )
    rows = range(count // 2)
    with database.atomic():
        for number in track(rows, f"making {count:,} files", console=Console(stderr=True)):
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
                database.execute_sql(insert_job, (str(number), json.dumps(arguments)))
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


def main() -> None:
    if sys.argv[1:2] == ["--sweep"]:
        sweep_one(Path(sys.argv[2]))
        return
    table = Table("files", "s", "MB", "orphans", "missing, stuck")
    for count in [int(text) for text in sys.argv[1:]] or COUNTS:
        folder = Path(tempfile.mkdtemp(prefix="gifster-bench-"))
        try:
            make(folder, count)
            command = [sys.executable, "-m", "bench.sweep", "--sweep", str(folder)]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
        finally:
            shutil.rmtree(folder)
        took, grown, found = json.loads(ran.stdout)
        others = found["missing"] + found["stuck"]
        table.add_row(
            f"{count:,}", f"{took:.2f}", f"{grown:.0f}", f"{found['orphans']}", f"{others}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
