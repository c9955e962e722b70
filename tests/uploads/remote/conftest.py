"""For the tests of fetching by URL."""

from pathlib import Path

import pytest

from tests.combinations import PLATFORMS
from tests.conftest import Platform, new_platform
from tests.uploads.framework import Application


@pytest.fixture
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Platform:
    """Folders and SQLite: the storage makes no difference here."""
    return new_platform(PLATFORMS[0], request, tmp_path)


@pytest.fixture
def app(application: Application) -> Application:
    """May fetch from this machine, which no real application should."""
    application.configure(private_remotes=True)
    return application
