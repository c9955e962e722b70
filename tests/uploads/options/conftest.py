"""For the tests of the options of storages."""

from pathlib import Path

import pytest

from tests.combinations import PLATFORMS
from tests.conftest import Platform, new_platform


@pytest.fixture
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Platform:
    """Folders and SQLite; tests of S3 make a storage of it."""
    return new_platform(PLATFORMS[0], request, tmp_path)
