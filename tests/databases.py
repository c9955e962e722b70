"""Databases for the tests of the libraries: pooled, and set up as `docs/uploads.md` recommends."""

from pathlib import Path
from typing import Any

from playhouse.db_url import connect as connect_url

_SQLITE: dict[str, Any] = {
    "check_same_thread": False,
    "timeout": 15,
    "pragmas": {"journal_mode": "wal", "busy_timeout": 15_000, "foreign_keys": 1},
}
#: Peewee itself prefers psycopg2.
prefer_psycopg3 = True


def connect(url: str) -> Any:
    """The database of a URL. No connection is opened yet."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        Path(rest.removeprefix("/")).parent.mkdir(parents=True, exist_ok=True)
    postgresql = {"prefer_psycopg3": prefer_psycopg3, "timeout": 15}
    options = _SQLITE if scheme == "sqlite" else postgresql
    return connect_url(f"{scheme}+pool://{rest}", max_connections=64, **options)
