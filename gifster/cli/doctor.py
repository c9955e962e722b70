"""`gifster doctor`: does everything that Gifster leans on answer, and do storages keep what they
are sent? One line each.

No worker, or no scheduler, is no failure where nothing waits for one: they may be about to start.
"""

import secrets
import shlex
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import peewee
import urllib3

from gifster import jobs
from gifster.app import database, mailers, readiness
from gifster.app.boot import configure, connect_broker
from gifster.app.database import db
from gifster.app.faults import fault_of, is_database_error
from gifster.app.private import open_to_others
from gifster.app.settings import Settings
from gifster.jobs import Job
from gifster.uploads import S3Storage, Storage
from gifster.uploads.config import storage
from gifster.uploads.storage.s3 import PART_BYTES

#: How long a job may wait before somebody must be missing (seconds).
PATIENCE_S = 30.0
#: How many faults of a damaged file are shown.
SHOWN_FAULTS = 3
#: A file as small as a thumbnail; S3 takes larger ones in parts, which may go wrong on its own.
SMALL_BYTES, IN_PARTS_BYTES = 1024, PART_BYTES + 1024
CONTENT_TYPE = "image/gif"
FETCH_TIMEOUT_S = 10.0


def checks(settings: Settings) -> list[tuple[str, Callable[[], str]]]:
    """The checks: a name, and a callable that returns a few words, or raises what is wrong."""
    configure(settings)
    return [
        ("broker", lambda: jobs.ping(connect_broker(settings))),
        ("database", _database),
        ("cache", lambda: _keeps_what_it_is_sent("cache")),
        ("store", lambda: _keeps_what_it_is_sent("store", _fetcher(settings.store.ca_file))),
        ("privacy", lambda: _closed(settings)),
        ("mail", lambda: mailers.transport(settings.mail).check()),
        ("workers", lambda: _where_the_database_is(lambda: _workers(settings))),
        ("scheduler", lambda: _where_the_database_is(_scheduler)),
    ]


def _closed(settings: Settings) -> str:
    """Whether other users of this machine can read what is kept here."""
    found = [str(path) for path in open_to_others(settings)]
    if found:
        raise RuntimeError(
            f"other users of this machine can read {', '.join(found)} (chmod o-rwx "
            f"{shlex.join(found)}; for a web server that reads the store: store.permissions)"
        )
    return "other users of this machine can read nothing of it"


def _database() -> str:
    """Whether the database is migrated, takes a write, and, a file of SQLite's, is sound."""
    try:
        pending = database.pending_migrations()
        with db.connection_context():
            read = _sqlite_file() if isinstance(db.obj, peewee.SqliteDatabase) else ""
            if not pending:
                readiness.check_write()
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        raise RuntimeError(f"the database {fault} ({' '.join(str(error).split())})") from error
    if pending:
        raise RuntimeError(f"not migrated: {', '.join(pending)} (run `gifster migrate`)")
    kind = type(db.obj).__name__.removeprefix("Pooled").removesuffix("Database")
    return f"{kind} takes a write{read}"


def _sqlite_file() -> str:
    """Read the whole file as SQLite does. It leaves out only whether the indexes say what the
    tables do, which takes several times as long (https://sqlite.org/pragma.html#pragma_quick_check).
    """
    began = time.monotonic()
    rows = [str(row[0]) for row in db.execute_sql(f"PRAGMA quick_check({SHOWN_FAULTS})").fetchall()]
    if rows != ["ok"]:
        raise RuntimeError(
            f"the database is damaged: {'; '.join(rows)}. Stop Gifster, and restore a backup, or "
            "save what can be read with `sqlite3 FILE .recover`"
        )
    pages, size = (db.execute_sql(f"PRAGMA {n}").fetchone()[0] for n in ("page_count", "page_size"))
    return (
        f", {pages * size / 1e6:,.1f} MB read without a fault in {time.monotonic() - began:.1f} s"
    )


def _workers(settings: Settings) -> str:
    """Who takes jobs; an error where some have waited for long and nobody takes them."""
    found = jobs.workers()
    waiting = [queue for queue in jobs.stats() if queue.oldest_s > PATIENCE_S]
    paused = jobs.paused_queues()
    living = [worker for worker in found if worker.alive]
    taken = {queue for worker in living if not worker.quiet for queue in worker.queues.split()}
    for queue in waiting:
        if queue.queue not in taken | paused:
            raise RuntimeError(
                f"{queue.waiting} jobs wait in {queue.queue}, one for {queue.oldest_s:.0f} s, and "
                "no worker takes them (start one: `gifster worker`)"
            )
    threads = sum(worker.threads for worker in living)
    said = [f"{len(living)} running, with {threads} threads"]
    said += [f"nobody takes from {queue}" for queue in settings.queues if queue not in taken]
    said += [f"{queue} is paused" for queue in sorted(paused)]
    said += [f"{worker.id} is not seen any more" for worker in found if not worker.alive]
    return "; ".join(said)


def _where_the_database_is(check: Callable[[], str]) -> str:
    """A check that needs its tables; where they are not there, the database's line says so."""
    try:
        if database.pending_migrations():
            return "not known, without the database"
        with db.connection_context():
            return check()
    except Exception as error:
        if not is_database_error(error):
            raise
        return "not known, without the database"


def _scheduler() -> str:
    """Whether what is due is sent."""
    overdue = Job.failed_at.is_null() & (Job.send_at < time.time() - PATIENCE_S)
    count = Job.select().where(overdue).count()
    recurring = jobs.recurring_jobs()
    if count:
        raise RuntimeError(
            f"{count} jobs should have been sent again or are due, and nobody sends them "
            "(start one: `gifster scheduler`)"
        )
    late = [job.name for job in recurring if job.next_at < time.time() - PATIENCE_S]
    if late:
        raise RuntimeError(f"not enqueued: {', '.join(late)} (start one: `gifster scheduler`)")
    return "nothing is overdue" if recurring else "none has run yet"


Fetch = Callable[[str], urllib3.BaseHTTPResponse]


def _keeps_what_it_is_sent(name: str, fetch: Fetch | None = None) -> str:
    """Keep files in a storage, read them back, fetch one as browsers do, and remove them.

    Parameters:
      fetch: what gets the answer to a URL; None where browsers do not go.
    """
    kept = storage(name)
    sizes = (SMALL_BYTES, IN_PARTS_BYTES) if isinstance(kept, S3Storage) else (SMALL_BYTES,)
    fetched = ""
    for size in sizes:
        content, key = secrets.token_bytes(size), f"doctor/{secrets.token_hex(8)}.gif"
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe"
            source.write_bytes(content)
            kept.upload(source, key, CONTENT_TYPE)
        try:
            with kept.open(key) as file:
                _refuse_difference(content, file.read(), "is read back")
            if fetch and size == SMALL_BYTES:
                fetched = _as_browsers_see_it(kept, key, content, fetch)
        finally:
            kept.delete(key)
        if kept.exists(key):
            raise RuntimeError("what was removed is still there")
    in_parts = ", also in parts" if len(sizes) > 1 else ""
    return f"written, read back, {fetched}removed{in_parts}"


def _refuse_difference(sent: bytes, found: bytes, how: str) -> None:
    if sent == found:
        return
    if len(sent) != len(found):
        what = f"{len(sent):,} bytes were written, {len(found):,} are there"
    else:
        pairs = enumerate(zip(sent, found, strict=True), 1)
        what = f"byte {next(at for at, (a, b) in pairs if a != b):,} is the first that differs"
    raise RuntimeError(f"what was written is not what {how}: {what}")


def _fetcher(ca_file: str) -> Fetch:
    pool = urllib3.PoolManager(ca_certs=ca_file or None, timeout=FETCH_TIMEOUT_S)
    once = urllib3.Retry(connect=0, read=0, redirect=3)
    return lambda url: pool.request("GET", url, retries=once)


def _as_browsers_see_it(kept: Storage, key: str, content: bytes, fetch: Fetch) -> str:
    """Whether a file's URL leads to it. A server that cannot be reached from here is no failure:
    browsers may be elsewhere."""
    parts = urlsplit(kept.url(key))
    if not parts.netloc:
        return ""
    origin = f"{parts.scheme}://{parts.netloc}"  # the rest of it may be a signature
    try:
        answer = fetch(parts.geturl())
    except urllib3.exceptions.HTTPError as error:
        return f"not fetched from {origin} ({getattr(error, 'reason', None) or error}), "
    if answer.status != 200:
        raise RuntimeError(
            f"{origin} answers {answer.status} to the URL of a file that is there (are base_url, "
            "prefix and the rights on the bucket as they should be?)"
        )
    _refuse_difference(content, answer.data, f"{origin} serves")
    if (served := answer.headers.get("Content-Type")) != CONTENT_TYPE:
        raise RuntimeError(f"{origin} serves {served} for what was written as {CONTENT_TYPE}")
    return f"fetched from {origin}, "
