"""The page, mounted in an application of each kind over a database without a broker."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dramatiq.broker
import httpx
import pytest

from gifster import jobs
from tests import databases
from tests.jobs.page.mounted import mounted


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The database of a process without a broker; no connection is open, as between requests."""
    monkeypatch.setattr(dramatiq.broker, "global_broker", None)
    database = databases.connect(f"sqlite:///{tmp_path}/app.db")
    database.bind(jobs.TABLES)
    with database.connection_context():
        jobs.migrate(database)
    yield database
    database.close_all()


@pytest.fixture(params=["wsgi", "asgi"])
def mount(request: pytest.FixtureRequest, database: Any) -> Iterator[Callable[..., httpx.Client]]:
    """Mounts the page in an application of each kind."""
    made = []

    def mount(*arguments: Any, **options: Any) -> httpx.Client:
        made.append(mounted(request.param, *arguments, **options))
        return made[-1]

    yield mount
    for client in made:
        client.close()
