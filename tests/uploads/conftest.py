"""Where the tests of the uploads make their versions: most of them in the test's own process. And
what several of their files share."""

from collections.abc import Iterator

import pytest

from gifster.uploads.testing import without_sandbox
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
