"""Where the tests of the uploads make their versions: most of them in the test's own process."""

from collections.abc import Iterator

import pytest

from gifster.uploads.testing import without_sandbox
from tests.combinations import runs_everywhere
from tests.machine import ALL_EXAMPLES


@pytest.fixture(autouse=True)
def _where_versions_are_made(request: pytest.FixtureRequest) -> Iterator[None]:
    """The pictures are the tests' own, and a process for each costs more than all the rest of a
    test. Of four tests one has them, and with `ALL_EXAMPLES` every test (decision 80)."""
    name = request.node.nodeid.partition("[")[0]
    if ALL_EXAMPLES or runs_everywhere(name):
        yield
        return
    with without_sandbox():
        yield
