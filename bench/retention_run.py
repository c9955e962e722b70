"""One installation through which uploads go, for `bench.retention`.

    python -m bench.retention_run DATABASE BROKER FOLDER ROUNDS UPLOADS

prints a line of JSON after each round.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dramatiq
import redis
from limits import parse
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from bench.library_rows import gif_id, insert
from bench.servers import memory
from gifster import jobs
from gifster.app import database, disks, kept_uploads, library, retention, settings, tokens, trash
from gifster.app.boot import boot
from gifster.app.database import db
from gifster.app.models import Gif, User
from gifster.app.search import index, popularity, upkeep
from gifster.app.search.tables import marks, run
from gifster.jobs.stats import forget_old as forget_old_stats
from gifster.jobs.worker_rows import Worker
from gifster.uploads.sweep import sweep
from tests.machine import eventually

DAY_S = 86_400
#: Of each round: GIFs that stay, that are in the trash for too long, that failed long ago, and that
#: their people delete one by one. People delete all others, too: in bulk, here.
STAY, TRASHED, FAILED, DELETED = 250, 100, 50, 50
DEAD, SESSIONS, KEPT, QUERIES, MAILS, MESSAGES, WORKERS = 600, 2_000, 100, 5_000, 500, 1_000, 50
TABLES = ("gif", "tag", "gif_tag", "search_entry", "search_term", "search_query", "token",
          "kept_upload", "outbox", "tally", "worker")  # fmt: skip


def image_of(key: str) -> str:
    version = {"storage": "store", "content_type": "image/gif", "width": 9, "height": 9, "bytes": 3}
    facts = {"filename": "a.gif", "sha256": "0" * 64, "frames": 9, "duration_ms": 900, "loop": 0}
    return json.dumps(version | facts | {"key": key, "versions": {}})


class Installation:
    """One installation, with what comes from outside made in bulk."""

    def __init__(self, broker_url: str) -> None:
        self.client = redis.Redis.from_url(broker_url)
        self.limits = SlidingWindowCounterRateLimiter(RedisStorage(broker_url, key_prefix="limits"))
        self.user = User.create(email="ann@example.org", name="Ann", password_hash="x")
        self.uploads = itertools.count()
        self.mails = Path("var/mail")

    def round(self, uploads: int) -> None:
        """Uploads, and all that comes with them, as if it were months ago."""
        first = next(self.uploads)
        numbers = range(first * uploads, (first + 1) * uploads)
        self.gifs(numbers)
        self.jobs(numbers)
        self.people(first)
        self.messages()

    def gifs(self, numbers: range) -> None:
        old = int((time.time() - 200 * DAY_S) * 1e6)
        states = [("stay", STAY), ("trash", TRASHED), ("failed", FAILED), ("delete", DELETED)]
        kinds = [kind for kind, count in states for _ in range(count)]
        kinds += ["gone"] * (len(numbers) - len(kinds))
        rows, tags, tagged = [], [], []
        for number, kind in zip(numbers, kinds, strict=True):
            gif, key = gif_id(number), f"gifs/{gif_id(number)}/{number:032x}/original.gif"
            image = None if kind == "failed" else image_of(key)
            state = "failed" if kind == "failed" else "ready"
            trashed = old if kind == "trash" else None
            rows.append((gif, self.user.id, f"Trip {number}", "", "g", "public", old + number, 3,
                         f"{number:064x}", image, state, trashed))  # fmt: skip
            tags.append((number + 1, f"trip {number}"))
            tagged.append((gif, number + 1))
            if kind == "stay":
                path = Path("var/store") / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"GIF")
        with db.atomic():
            insert("gif", ("id", "user_id", "title", "alt_text", "rating", "visibility",
                           "created_at", "bytes", "sha256", "image", "image_state", "trashed_at"),
                   rows)  # fmt: skip
            insert("tag", ("id", "name"), tags)
            insert("gif_tag", ("gif_id", "tag_id"), tagged)
        ids = dict(zip((row[0] for row in rows), kinds, strict=True))
        for kind in ("stay", "delete"):
            for gif in [gif for gif, its in ids.items() if its == kind]:
                with db.atomic():
                    index.put(Gif.get_by_id(gif))
        for gif in [gif for gif, its in ids.items() if its == "delete"]:
            library.delete(Gif.get_by_id(gif))
        # Without the jobs that remove their files: they have none.
        for some in _batches([gif for gif, its in ids.items() if its == "gone"]):
            delete_rows("gif", "id", some)

    def jobs(self, numbers: range) -> None:
        """A row in the outbox for each upload, which is done, and some that died."""
        now_s = time.time()
        for some in _batches(list(numbers)):
            rows = [(f"{n:032x}", "store_asset", "carrierwave", '{"args":[]}', now_s, now_s, 0, 0,
                     False, 0, None) for n in some]  # fmt: skip
            self._outbox(rows)
            delete_rows("outbox", "id", [row[0] for row in rows])
        ages = [300 if n % 2 else 10 for n in range(DEAD)]
        self._outbox([
            (f"d{numbers.start + n:031x}", "store_asset", "carrierwave", '{"args":[]}', now_s,
             now_s, 0, 8, False, 0, now_s - age * DAY_S - n)
            for n, age in enumerate(ages)
        ])  # fmt: skip
        minutes = [(60, int(now_s) // 60 * 60 - 60 * (numbers.start // 25 + n) - 3 * DAY_S,
                    "carrierwave", "store_asset", 25, 0, 900) for n in range(2_000)]  # fmt: skip
        insert("tally", ("span_s", "begin", "queue", "actor", "done", "failed", "ms"), minutes)

    def _outbox(self, rows: list[tuple[Any, ...]]) -> None:
        insert("outbox", ("id", "actor", "queue", "arguments", "created_at", "send_at", "deaths",
                          "attempts", "held", "sendings", "failed_at"), rows)  # fmt: skip

    def people(self, number: int) -> None:
        """Sessions that ended, files of forms, searches, mails, clients, workers that died."""
        ended = int((time.time() - DAY_S) * 1e6)
        names = [f"{number:06}{n:06}" for n in range(max(SESSIONS, QUERIES, KEPT, MAILS))]
        insert("token", ("digest", "id", "user_id", "kind", "name", "scope", "created_at",
                         "expires_at"), [
            (f"{name:>064}", name, self.user.id, "session", "", "admin", ended, ended)
            for name in names[:SESSIONS]
        ])  # fmt: skip
        for name in names[:KEPT]:
            path = Path("var/cache") / name[:2] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"GIF")
        insert("kept_upload", ("key", "storage", "user_id", "bytes", "kept_at"), [
            (f"{name[:2]}/{name}", "cache", self.user.id, 3, ended) for name in names[:KEPT]
        ])  # fmt: skip
        at = popularity.now()
        insert("search_query", ("words", "heat"), [
            (f"search {name}", at - int(name) % 97 / 97) for name in names[:QUERIES]
        ])  # fmt: skip
        self.mails.mkdir(exist_ok=True)
        for name in names[:MAILS]:
            path = self.mails / f"welcome.{name}.eml"
            path.write_text(f"Message-ID: <welcome.{name}@localhost>\n\nHello")
            os.utime(path, (0, time.time() - 40 * DAY_S))
        for name in names[:SESSIONS]:
            self.limits.hit(parse("600/hour"), "upload", name)
        insert("worker", ("id", "host", "pid", "threads", "queues", "started_at", "seen_at",
                          "memory_bytes", "quiet"), [
            (f"host:{name}", "host", 1, 4, "default", 0.0, time.time() - 1_000, 0, False)
            for name in names[:WORKERS]
        ])  # fmt: skip

    def done(self) -> None:
        """The jobs that remove the files of deleted GIFs are done: they have none."""
        jobs.Job.delete().where(jobs.Job.actor == "remove_files").execute()

    def messages(self) -> None:
        """Messages through the broker, done by a real worker."""
        done = itertools.count()
        broker = dramatiq.get_broker()
        broker.actors.pop("nothing", None)

        @dramatiq.actor
        def nothing(number: int) -> None:
            next(done)

        worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
        worker.start()
        jobs.send_bulk(nothing, [(n,) for n in range(MESSAGES)])
        eventually(lambda: not self.client.exists("dramatiq:default.msgs"), within=120)
        worker.stop()


def delete_rows(table: str, key: str, values: list[Any]) -> None:
    """Delete the rows with these keys, as their people or workers would one by one."""
    run(f'DELETE FROM "{table}" WHERE "{key}" IN ({marks(len(values))})', *values)


def _batches(values: list[Any], size: int = 500) -> Iterator[list[Any]]:
    for at in range(0, len(values), size):
        yield values[at : at + size]


def recurring(loaded: settings.Settings, took: dict[str, float]) -> None:
    """What `clean_up`, `tend_search` and the heartbeat of a worker do, and the seconds of each."""

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        took[f"{what}, s"] = time.perf_counter() - began

    work: dict[str, Callable[[], object]] = {
        "empty_old": lambda: trash.empty_old(loaded.library.trash_days),
        "forget_old": lambda: retention.forget_old(loaded),
        "expired": lambda: (kept_uploads.forget_expired(), tokens.forget_expired_tokens()),
        "sweep": lambda: sweep(repair=True, min_age_s=-60),
        "tend_search": lambda: (upkeep.add_left_out(), popularity.put_on_shelf(),
                                popularity.forget_queries()),
        "heartbeat": lambda: (Worker.delete().where(Worker.seen_at < time.time() - 600).execute(),
                              forget_old_stats()),
    }  # fmt: skip
    for what, do in work.items():
        with timed(what):
            do()


def seen(installation: Installation, uploads: int, took: dict[str, float]) -> dict[str, float]:
    """What there is now."""
    client = installation.client
    keys = list(client.scan_iter(count=10_000))
    endless = [key for key in keys if client.ttl(key) < 0]
    rows = {
        f"`{table}`": db.execute_sql(f'SELECT count(*) FROM "{table}"').fetchone()[0]
        for table in TABLES
    }
    return {
        "uploads": uploads,
        **rows,
        "database, MB": disks.database_bytes() / 1e6,
        "files in `var/cache`": _files("cache"),
        "folders in `var/cache`": _folders("cache"),
        "files in `var/store`": _files("store"),
        "files in `var/mail`": _files("mail"),
        "keys in Valkey without an end": len(endless),
        "memory of the process, MB": memory(os.getpid()) / 1e6,
        **took,
    }  # fmt: skip


def _files(name: str) -> int:
    return sum(path.is_file() for path in (Path("var") / name).rglob("*"))


def _folders(name: str) -> int:
    return sum(path.is_dir() for path in (Path("var") / name).rglob("*"))


def main(database_url: str, broker_url: str, folder: str, rounds: str, uploads: str) -> None:
    os.chdir(folder)
    os.environ |= {"GIFSTER_DATABASE__URL": database_url, "GIFSTER_BROKER__URL": broker_url,
                   "GIFSTER_DURABILITY": "os"}  # fmt: skip
    loaded = settings.load()
    boot(loaded)
    database.migrate()
    with db.connection_context():
        installation = Installation(broker_url)
        for number in range(1, int(rounds) + 1):
            installation.round(int(uploads))
            took: dict[str, float] = {}
            recurring(loaded, took)
            installation.done()
            print(json.dumps(seen(installation, number * int(uploads), took)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
