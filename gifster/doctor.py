"""`gifster doctor`: does everything that Gifster leans on answer? One line each."""

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from gifster import database, jobs, mailers
from gifster.boot import configure, connect_broker
from gifster.database import db
from gifster.settings import Settings
from gifster.uploads.config import storage


def checks(settings: Settings) -> list[tuple[str, Callable[[], str]]]:
    """The checks: a name, and a callable that returns a few words, or raises what is wrong."""
    configure(settings)
    return [
        ("broker", lambda: jobs.ping(connect_broker(settings))),
        ("database", _database),
        ("cache", lambda: _round_trip("cache")),
        ("store", lambda: _round_trip("store")),
        ("mail", lambda: mailers.transport(settings.mail).check()),
    ]


def _database() -> str:
    if pending := database.pending_migrations():
        raise RuntimeError(f"not migrated: {', '.join(pending)} (run `gifster migrate`)")
    return type(db.obj).__name__.removeprefix("Pooled").removesuffix("Database")


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
