"""What a test runs on every day: one database, broker and storage at least. A fourth of the tests
run on all of them, and where it matters (`machine.ALL_EXAMPLES`) every test does (decision 80)."""

import zlib
from collections.abc import Iterable
from typing import Any

import pytest

from tests.machine import ALL_EXAMPLES

PLATFORMS = ["folders and SQLite", "S3 and PostgreSQL"]
#: The values of parameters that say which server a test runs on.
SERVERS = {"postgresql", "redis", "rabbitmq", PLATFORMS[1]}
#: Those that say what a test runs on, with a server or without.
PLACES = SERVERS | {"sqlite", PLATFORMS[0]}
#: For tests of what one of them alone has. A test that skips itself elsewhere would run nowhere.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
on_s3 = pytest.mark.parametrize("platform", [PLATFORMS[1]], indirect=True)
#: Of so many tests, one runs everywhere each day.
EVERYWHERE = 4
LEFT = pytest.StashKey[int]()


def leave_to_ci(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take those combinations of the tests out of the list that only CI runs."""
    left = [] if ALL_EXAMPLES else left_to_ci(items)
    if left:
        away = set(left)
        items[:] = [item for item in items if item not in away]
        config.hook.pytest_deselected(items=left)
    config.stash[LEFT] = len(left)
    getattr(config, "workeroutput", {})["left_to_ci"] = len(left)


def runs_everywhere(name: str) -> bool:
    """Whether a test is one of those that run everywhere each day, by its id without parameters."""
    return zlib.crc32(name.encode()) % EVERYWHERE == 0


def left_to_ci(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests that also run in another place, unless they are of those that run everywhere."""
    found: dict[Any, list[pytest.Item]] = {}
    for item in items:
        values = item.callspec.params if hasattr(item, "callspec") else {}
        # A place is one of our words. Of other values the object counts: not all are hashable
        others = {
            (name, id(value))
            for name, value in values.items()
            if not (isinstance(value, str) and value in PLACES)
        }
        if len(others) < len(values):
            found.setdefault((item.nodeid.partition("[")[0], frozenset(others)), []).append(item)
    return [
        item
        for (name, _), in_places in found.items()
        if not runs_everywhere(name)
        for item in in_places[1:]
    ]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a test process of xdist's has counted. All of them find the same tests."""
    node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left_to_ci", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how much this run has left out, and how to run it."""
    if left := config.stash.get(LEFT, 0):
        terminalreporter.write_sep("-", "left to CI")
        terminalreporter.write_line(
            f"{left} combinations: tests that ran here on one database, broker and storage."
        )
        terminalreporter.write_line(
            'Run them, too, by `make test-all`, or by `make test-all ARGS="tests/app"`.'
        )
