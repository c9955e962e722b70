"""For the tests of fetching by URL."""

from pathlib import Path

import pytest

from tests.conftest import Platform
from tests.uploads.framework import Application


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """Folders and SQLite: the storage makes no difference here."""
    return Platform(f"sqlite:///{tmp_path}/gifster.db", None)


@pytest.fixture
def app(application: Application) -> Application:
    """May fetch from this machine, which no real application should."""
    application.configure(private_remotes=True)
    return application
