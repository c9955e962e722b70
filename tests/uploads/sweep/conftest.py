"""For the tests of the sweep."""

from pathlib import Path

import pytest

from gifster.uploads import mount
from tests.combinations import PLATFORMS
from tests.conftest import Platform, new_platform


@pytest.fixture
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Platform:
    """Folders and SQLite, unless a test asks for both (`scene.on_both`)."""
    return new_platform(getattr(request, "param", PLATFORMS[0]), request, tmp_path)


@pytest.fixture(autouse=True)
def _models_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test knows the models that another test defines."""
    monkeypatch.setattr(mount, "_models", dict(mount._models))
