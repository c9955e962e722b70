"""`gifster doctor`: checks the broker, the database, the storages, the mail, the clocks, the
workers, the scheduler and the accounts that are being removed. One line each.

A missing worker or scheduler is a failure only if jobs wait for it. Else it is a warning, as it may
be about to start.
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
from gifster.app import database, installation, mailers, readiness
from gifster.app.accounts import leaving
from gifster.app.accounts.mail_links import address_of
from gifster.app.boot import configure, connect_broker
from gifster.app.database import db
from gifster.app.errors import Unavailable
from gifster.app.models import now
from gifster.app.numbers import counted
from gifster.app.private import is_everybodys, open_to_others
from gifster.app.settings import Settings
from gifster.app.sign_in import extras
from gifster.app.sign_in.oidc import Provider
from gifster.cli.root import taken_queues
from gifster.jobs import Job, clock
from gifster.jobs.database_errors import fault_of, is_database_error
from gifster.jobs.losses import doubts
from gifster.uploads import S3Storage, Storage
from gifster.uploads.config import storage, storage_to_write, why_away
from gifster.uploads.storage.base import clock_of
from gifster.uploads.storage.s3 import PART_BYTES

#: A job that waits for longer needs a worker or a scheduler that is not there (seconds).
PATIENCE_S = 30.0
#: An account that its user left is removed within so long (seconds).
LEAVING_S = 86_400.0
#: How many faults of a damaged database are shown.
SHOWN_FAULTS = 3
#: The sizes of a thumbnail, and of a file that S3 takes in parts: either may fail alone.
SMALL_BYTES, IN_PARTS_BYTES = 1024, PART_BYTES + 1024
CONTENT_TYPE = "image/gif"
FETCH_TIMEOUT_S = 10.0
#: By how much the clock of a storage may differ from the database's (seconds). The sweep goes by
#: each storage's own; S3 refuses requests that are 15 minutes off.
STORAGE_CLOCK_S = 60.0


class Warned(str):
    """What a check says of something that may be wrong, or may be about to start."""


def checks(settings: Settings) -> list[tuple[str, Callable[[], str]]]:
    """The checks: a name, and a function that returns a few words, or raises the fault."""
    configure(settings)
    return [
        ("broker", lambda: _broker(settings)),
        ("database", lambda: _database(settings)),
        ("cache", lambda: _storage(settings, "cache")),
        ("store", lambda: _storage(settings, "store", _fetcher(settings.store.ca_file))),
        ("privacy", lambda: _privacy(settings)),
        ("mail", lambda: _mail(settings)),
        *([("oidc", lambda: _oidc(settings))] if settings.oidc.issuer else []),
        ("clock", lambda: _with_tables(settings, _clock)),
        ("workers", lambda: _with_tables(settings, lambda: _workers(settings))),
        ("scheduler", lambda: _with_tables(settings, _scheduler)),
        ("accounts", lambda: _with_tables(settings, _accounts)),
    ]


def _broker(settings: Settings) -> str:
    """Whether the broker answers and takes messages; and whether it may lose them."""
    broker = connect_broker(settings)
    said = jobs.ping(broker)
    wrong = doubts(broker)
    return Warned("; ".join([said, *wrong])) if wrong else said


def _mail(settings: Settings) -> str:
    """Whether a mail could be delivered now, and where its links lead without an address."""
    said = mailers.transport(settings.mail).check()
    if settings.web.public_url:
        return said
    return f"{said}; links lead to {address_of(settings.web)} (web.public_url is not set)"


def _oidc(settings: Settings) -> str:
    """Whether the sign-in service answers, is the one of the settings, and has keys."""
    extras.require("oidc", f"oidc.issuer is {settings.oidc.issuer}")
    try:
        Provider(settings.oidc).check()
    except Unavailable as error:
        reason = "; ".join(error.__notes__)
        raise RuntimeError(f"{settings.oidc.issuer} cannot be used: {reason}") from error
    return f"{settings.oidc.issuer} answers"


def _privacy(settings: Settings) -> str:
    """Whether other users of this machine can read our files."""
    found = open_to_others(settings)
    said = []
    if closable := [str(path) for path in found if not is_everybodys(path)]:
        said.append(
            f"other users of this machine can read {', '.join(closable)} (run chmod o-rwx "
            f"{shlex.join(closable)}; if a web server must read the store, set store.permissions)"
        )
    if shared := [str(path) for path in found if is_everybodys(path)]:
        said.append(
            f"other users of this machine need {', '.join(shared)}, too (name a folder of "
            "Gifster's own in the settings)"
        )
    if said:
        raise RuntimeError("; ".join(said))
    return "other users of this machine can read no file of Gifster's"


def _database(settings: Settings) -> str:
    """Whether the database is migrated and takes a write; and whether a SQLite file is sound."""
    installation.check(settings)
    try:
        pending = database.pending_migrations()
        with db.connection_context():
            is_sqlite = isinstance(db.obj, peewee.SqliteDatabase)
            read = _sqlite_file() if is_sqlite else _pooler()
            if not pending:
                readiness.check_write()
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        raise RuntimeError(f"the database {fault} ({' '.join(str(error).split())})") from error
    if pending:
        first, last = pending[0], pending[-1]
        named = first if first == last else f"{first} to {last}"
        raise RuntimeError(
            f"{counted(len(pending), 'pending migration')}: {named} (run `gifster migrate`)"
        )
    said = f"{'SQLite' if is_sqlite else 'PostgreSQL'} takes a write{read}"
    return Warned(said) if isinstance(read, Warned) else said


def _pooler() -> str:
    """Whether a pooler is before PostgreSQL, and which limits do not get past it."""
    if not db.obj.is_pooled:
        return ""
    missing = db.obj.missing_limits()
    if not missing:
        return ", behind a pooler"
    return Warned(
        ", behind a pooler that drops our limits of time, so a stopped process can hold locks for "
        f"ever: {'; '.join(f'ALTER ROLE CURRENT_USER SET {limit}' for limit in missing)}"
    )


def _clock() -> str:
    """Whether the clocks of this machine, of the workers' machines and of the storages agree with
    the database's."""
    said = []
    clock.measured(db)
    off = clock.off_s(db)
    if off is not None and abs(off) > clock.OFF_S:
        said.append(clock.wrong(off))
    for worker in jobs.workers():
        if worker.alive and worker.clock_is_wrong:
            said.append(clock.wrong(worker.clock_off_s or 0.0, worker.host))
    for name in ("cache", "store"):
        its_off = clock_of(storage(name)) - jobs.now()
        if abs(its_off) > STORAGE_CLOCK_S:
            said.append(clock.wrong(its_off, f"the {name}"))
    if said:
        return Warned(f"{'; '.join(said)} (set all of them by NTP: timedatectl set-ntp true)")
    return "the clock is this machine's" if off is None else f"{off:+.2f} s from the database's"


def _sqlite_file() -> str:
    """Have SQLite check its whole file, except that the indexes match the tables: that takes
    several times as long (https://sqlite.org/pragma.html#pragma_quick_check).
    """
    began = time.monotonic()
    rows = [str(row[0]) for row in db.execute_sql(f"PRAGMA quick_check({SHOWN_FAULTS})").fetchall()]
    if rows != ["ok"]:
        raise RuntimeError(
            f"the database is damaged: {'; '.join(rows)}. Stop Gifster, and restore a backup, or "
            "save the readable rows with `sqlite3 FILE .recover`"
        )
    pages, size = (db.execute_sql(f"PRAGMA {n}").fetchone()[0] for n in ("page_count", "page_size"))
    return (
        f", {pages * size / 1e6:,.1f} MB read without a fault in {time.monotonic() - began:.1f} s"
    )


def _workers(settings: Settings) -> str:
    """The running workers; an error if jobs have waited for long and no worker takes them."""
    found = jobs.workers()
    waiting = [queue for queue in jobs.stats() if queue.oldest_s > PATIENCE_S]
    paused = jobs.paused_queues()
    living = [worker for worker in found if worker.alive]
    taken = taken_queues()
    for queue in waiting:
        if queue.queue not in taken | paused:
            raise RuntimeError(
                f"{counted(queue.waiting, 'job waits', 'jobs wait')} in {queue.queue}, the oldest "
                f"for {queue.oldest_s:.0f} s, and no worker takes jobs from it (start one: "
                "`gifster worker`)"
            )
    threads = sum(worker.threads for worker in living)
    said = [
        f"{len(living)} running, with {counted(threads, 'thread')}" if living else "none is running"
    ]
    said += [
        f"no worker takes jobs from {queue}" for queue in settings.queues if queue not in taken
    ]
    is_whole = len(said) == 1 and bool(living)
    said += [f"{queue} is paused" for queue in sorted(paused)]
    said += [f"{worker.id} has no heartbeat any more" for worker in found if not worker.alive]
    return "; ".join(said) if is_whole else Warned("; ".join(said))


def _with_tables(settings: Settings, check: Callable[[], str]) -> str:
    """A check that needs the database's tables. Without them, the database's line says why."""
    unknown = "not known, without the database"
    try:
        installation.check(settings)  # or SQLite would make a file that is missing
        if database.pending_migrations():
            return unknown
        with db.connection_context():
            return check()
    except (installation.NoInstallation, database.NewerDatabase):
        return unknown
    except Exception as error:
        if not is_database_error(error):
            raise
        return unknown


def _scheduler() -> str:
    """Whether jobs are sent when they are due."""
    # The release before gave throttled jobs a moment, at which nobody sends them.
    overdue = Job.failed_at.is_null() & ~Job.held & (Job.send_at < jobs.now() - PATIENCE_S)
    count = Job.select().where(overdue).count()
    recurring = jobs.recurring_jobs()
    if count:
        raise RuntimeError(
            f"{counted(count, 'job is due', 'jobs are due')}, and no scheduler sends them (start "
            "one: `gifster scheduler`)"
        )
    late = [job.name for job in recurring if job.next_at < jobs.now() - PATIENCE_S]
    if late:
        raise RuntimeError(
            f"recurring jobs are due: {', '.join(late)}, and no scheduler enqueues them "
            "(start one: `gifster scheduler`)"
        )
    return "nothing is overdue" if recurring else Warned("no scheduler has run yet")


def _accounts() -> str:
    """Whether the accounts are removed that their users left."""
    count, since = leaving.waiting()
    if since is None:
        return "nobody waits for the end of their account"
    seconds = (now() - since).total_seconds()
    one, many = "account waits, which its user has left,", "accounts wait, which their users left,"
    said = f"{counted(count, one, many)} to be removed, since {since:%Y-%m-%d %H:%M} UTC"
    if seconds > LEAVING_S:
        raise RuntimeError(f"{said} (`gifster jobs list` says why remove_account fails)")
    return Warned(said) if seconds > PATIENCE_S else said


Fetch = Callable[[str], urllib3.BaseHTTPResponse]


def _storage(settings: Settings, name: str, fetch: Fetch | None = None) -> str:
    """Whether a storage keeps files. In one that is not there, nothing is written before the
    database has told that no row names a file in it.

    Parameters:
      fetch: gets the answer to a URL; None for a storage that browsers do not reach.
    """
    if why_away(name):
        return _with_tables(settings, lambda: _probed(storage_to_write(name), fetch))
    return _probed(storage(name), fetch)


def _probed(kept: Storage, fetch: Fetch | None) -> str:
    """Write files into a storage, read them back, fetch one as browsers do, and remove them."""
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
            raise RuntimeError(
                f"the removed file {key} is still there (does the bucket lock files?)"
            )
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
    """Whether browsers get a file from its URL. A server that this machine cannot reach is not a
    failure: browsers may be elsewhere."""
    parts = urlsplit(kept.url(key))
    if not parts.netloc:
        return ""
    origin = f"{parts.scheme}://{parts.netloc}"  # the query may be a signature
    try:
        answer = fetch(parts.geturl())
    except urllib3.exceptions.HTTPError as error:
        return f"not fetched from {origin} ({getattr(error, 'reason', None) or error}), "
    if answer.status != 200:
        raise RuntimeError(
            f"{origin} answers {answer.status} to the URL of a file that is there (check base_url, "
            "prefix and the rights on the bucket)"
        )
    _refuse_difference(content, answer.data, f"{origin} serves")
    if (served := answer.headers.get("Content-Type")) != CONTENT_TYPE:
        raise RuntimeError(f"{origin} serves {served} for what was written as {CONTENT_TYPE}")
    return f"fetched from {origin}, "
