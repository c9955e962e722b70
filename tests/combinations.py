"""What a test runs on every day: one database, broker and storage at least. One of six tests
runs on all of them, with the first values of their other parameters. Each value of a parameter is
tried, beside the first values of the others. Where it matters (`machine.ALL_EXAMPLES`) every test
runs with all combinations (decision 80)."""

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
#: For tests of what does not depend on it.
on_one_platform = pytest.mark.parametrize("platform", PLATFORMS[:1], indirect=True)
#: Of so many tests, one runs everywhere each day.
ONE_OF = 6
#: Whether a test runs everywhere, and how many combinations were left out.
EVERYWHERE, LEFT = pytest.StashKey[bool](), pytest.StashKey[int]()


def only_in_ci(why: str) -> pytest.MarkDecorator:
    """Skip a test every day: it costs seconds of processor time, and others try its parts.

    Parameters:
      why: what it costs, or what tries the same every day.
    """
    return pytest.mark.skipif(not ALL_EXAMPLES, reason=f"{why} (with CI=true only)")


def leave_to_ci(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take those combinations of the tests out of the list that only CI runs, and mark the tests
    that run everywhere."""
    left = []
    for combinations in combinations_of_tests(items):
        first = combinations[0][0]
        for number, in_places in enumerate(combinations):
            everywhere = ALL_EXAMPLES or (number == 0 and is_chosen(name_of(first)))
            for item in in_places:
                item.stash[EVERYWHERE] = everywhere
            if not everywhere:
                left += in_places[0 if are_crossed(in_places[0], first) else 1 :]
    if left:
        away = set(left)
        items[:] = [item for item in items if item not in away]
        config.hook.pytest_deselected(items=left)
    config.stash[LEFT] = len(left)
    getattr(config, "workeroutput", {})["left_to_ci"] = len(left)


def runs_everywhere(item: pytest.Item) -> bool:
    """Whether a test is one of those that this run has everywhere."""
    return item.stash.get(EVERYWHERE, False)


def is_chosen(name: str) -> bool:
    """Whether a test is of those that run everywhere each day, by its id without parameters."""
    return zlib.crc32(name.encode()) % ONE_OF == 0


def are_crossed(item: pytest.Item, first: pytest.Item) -> bool:
    """Whether several parameters of a test have other values than in its first combination."""
    before, now = parameters(first), parameters(item)
    return sum(values != before.get(names) for names, values in now.items()) > 1


def parameters(item: pytest.Item) -> dict[tuple[str, ...], list[int]]:
    """Which values the parameters of a test have that are no place. Those that are declared
    together are one, as their values change together."""
    together = {name: tuple(names) for names in declared_together(item) for name in names}
    found: dict[tuple[str, ...], list[int]] = {}
    for name, value in all_parameters(item).items():
        if not is_place(value):
            # The object counts: not all values are hashable
            found.setdefault(together.get(name, (name,)), []).append(id(value))
    return found


def all_parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def declared_together(item: pytest.Item) -> Iterable[list[str]]:
    """The names of the parameters of each `parametrize`."""
    for mark in item.iter_markers("parametrize"):
        names = mark.kwargs.get("argnames") or mark.args[0]
        yield [each.strip() for each in names.split(",")] if isinstance(names, str) else [*names]


def is_place(value: object) -> bool:
    return isinstance(value, str) and value in PLACES


def name_of(item: pytest.Item) -> str:
    """The id of a test without its parameters."""
    return item.nodeid.partition("[")[0]


def combinations_of_tests(items: Iterable[pytest.Item]) -> Iterable[list[list[pytest.Item]]]:
    """For each test the combinations of those of its parameters that are no place. Each is a list
    of the places in which the test runs with it."""
    found: dict[str, dict[str, list[pytest.Item]]] = {}
    for item in items:
        has_place = any(map(is_place, all_parameters(item).values()))
        key = str(parameters(item)) if has_place else item.nodeid
        found.setdefault(name_of(item), {}).setdefault(key, []).append(item)
    return [list(each.values()) for each in found.values()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a test process of xdist's has counted. All of them find the same tests."""
    node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left_to_ci", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how much this run has left out, and how to run it."""
    if left := config.stash.get(LEFT, 0):
        terminalreporter.write_sep("-", "left to CI")
        terminalreporter.write_line(
            f"{left} combinations: tests that ran here in one place, or with one parameter changed."
        )
        terminalreporter.write_line(
            '`make test-all` runs them too; `make test-all ARGS="tests/cli"` those of one room.'
        )
