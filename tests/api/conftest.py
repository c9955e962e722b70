"""What the tests of the API and the pages share."""

import socket
from collections.abc import Iterator

import pytest

from gifster.api import limits
from tests.api import quick_router  # noqa: F401 it changes Falcon
from tests.api.library_of_ann import library_of_ann  # noqa: F401 a fixture
from tests.api.site import make_site, site  # noqa: F401 fixtures
from tests.app.accounts.conftest import ann  # noqa: F401 a fixture
from tests.app.fixtures import *  # noqa: F403 fixtures
from tests.passwords import cheap_passwords  # noqa: F401 a fixture
from tests.stack import Stack


@pytest.fixture(scope="module", autouse=True)
def _forked_commands() -> Iterator[None]:
    """These tests talk to commands, and others try how commands start: they are forked in CI, too,
    which saves it some minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stack, "fresh", False)
        yield


@pytest.fixture(autouse=True)
def _patient_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has no answer in half a second counts for itself, and a busy machine may take
    longer."""
    monkeypatch.setattr(limits, "ANSWER_S", 60.0)


@pytest.fixture
def connection(web: Stack) -> Iterator[socket.socket]:
    """A connection to the web server, which says nothing yet."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as connection:
        yield connection
