"""`gifster doctor`: does everything that Gifster leans on answer? One line each.

No worker, or no scheduler, is no failure where nothing waits for one: they may be about to start.
"""

import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import peewee

from gifster import database, jobs, mailers
from gifster.boot import configure, connect_broker
from gifster.database import db
from gifster.jobs import Job
from gifster.settings import Settings
from gifster.uploads.config import storage

#: How long a job may wait before somebody must be missing (seconds).
PATIENCE_S = 30.0


def checks(settings: Settings) -> list[tuple[str, Callable[[], str]]]:
    """The checks: a name, and a callable that returns a few words, or raises what is wrong."""
    configure(settings)
    return [
        ("broker", lambda: jobs.ping(connect_broker(settings))),
        ("database", _database),
        ("cache", lambda: _round_trip("cache")),
        ("store", lambda: _round_trip("store")),
        ("mail", lambda: mailers.transport(settings.mail).check()),
        ("workers", lambda: _where_the_database_is(lambda: _workers(settings))),
        ("scheduler", lambda: _where_the_database_is(_scheduler)),
    ]


def _database() -> str:
    if pending := database.pending_migrations():
        raise RuntimeError(f"not migrated: {', '.join(pending)} (run `gifster migrate`)")
    return type(db.obj).__name__.removeprefix("Pooled").removesuffix("Database")


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
    except peewee.DatabaseError:
        return "not known, without the database"
    with db.connection_context():
        return check()


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


def _round_trip(name: str) -> str:
    """Keep a file in a storage, read it back, and remove it."""
    content, key = secrets.token_bytes(1024), f"doctor/{secrets.token_hex(8)}"
    kept = storage(name)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe"
        source.write_bytes(content)
        kept.upload(source, key, "application/octet-stream")
    try:
        with kept.open(key) as file:
            if file.read() != content:
                raise RuntimeError("what was written is not what is read back")
    finally:
        kept.delete(key)
    return "written, read back, removed"
