"""Where the tests of the uploads make their versions: most of them in the test's own process. And
what several of their files share."""

from collections.abc import Iterator
from pathlib import Path

import dramatiq
import pytest

from gifster.uploads import mount
from gifster.uploads.config import configure
from gifster.uploads.testing import MemoryStorage, without_sandbox
from tests import images
from tests.combinations import runs_everywhere


@pytest.fixture(autouse=True)
def _where_versions_are_made(request: pytest.FixtureRequest) -> Iterator[None]:
    """The pictures are the tests' own, and a process for each costs more than all the rest of a
    test. Those that run everywhere have them (decision 80)."""
    if runs_everywhere(request.node):
        yield
        return
    with without_sandbox():
        yield


@pytest.fixture(params=["wsgi", "asgi"])
def kind(request: pytest.FixtureRequest) -> str:
    """How a server calls an endpoint."""
    return request.param


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a picture, for the code of the docs, which declares models of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mount, "_models", {})  # other tests have tables of these names
    (tmp_path / "me.gif").write_bytes(images.gif((300, 200)))
    yield
    dramatiq.get_broker().close()


@pytest.fixture
def cache() -> MemoryStorage:
    """A cache in memory, for what needs no record."""
    storage = MemoryStorage()
    configure({"cache": storage}, secret="a secret")
    return storage
