"""Which combinations of a test run every day, and that CI runs all."""

import pytest

from tests import combinations

pytest_plugins = "pytester"

HOOKS = """
import pytest
from tests.combinations import leave_to_ci, pytest_terminal_summary

@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config, items):
    yield
    leave_to_ci(config, items)

@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    return request.param
"""
TESTS = "import pytest\n" + "".join(
    f"@pytest.mark.parametrize('size', [1, 2])\ndef test_{number}(database_url, size): pass\n"
    for number in range(20)
)
ONE_PLACE = """
import pytest

@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_on_postgresql(database_url): pass

@pytest.mark.parametrize("answer", [1, 2])
def test_anywhere(answer): pass

@pytest.mark.parametrize(("user", "status"), [("ann", 1), ("bob", 2), ("eve", 3)])
@pytest.mark.parametrize("way", ["a", "b", "c"])
def test_each_value(user, status, way): pass
"""


@pytest.fixture
def ran(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs the tests with arguments, and returns the names of those that ran, and the output."""
    pytester.makeconftest(HOOKS)
    pytester.makepyfile(test_many=TESTS, test_few=ONE_PLACE)

    def ran(*arguments: str, everything: bool = False) -> tuple[set[str], str]:
        monkeypatch.setattr(combinations, "ALL_EXAMPLES", everything)
        result = pytester.runpytest_inprocess("-v", "-p", "no:cacheprovider", *arguments)
        passed = [line.split(" ")[0] for line in result.outlines if " PASSED" in line]
        return {line.partition("::")[2] for line in passed}, result.stdout.str()

    return ran


def test_every_day_each_test_runs_in_one_place_and_some_in_all(ran):
    names, output = ran()

    # Each test, with each of its other parameters
    sizes = {f"test_{number}[sqlite-{size}]" for number in range(20) for size in (1, 2)}
    assert sizes < names
    assert {"test_on_postgresql[postgresql]", "test_anywhere[1]", "test_anywhere[2]"} <= names
    # … and some on the other database, with the first of their sizes
    other = [name for name in names if name.startswith("test_") and "[postgresql-" in name]
    assert 0 < len(other) < 20
    assert {name[-2] for name in other} == {"1"}
    # … and each value of a parameter beside the first of the others
    beside = {name.partition("[")[2] for name in names if name.startswith("test_each_value")}
    assert beside == {"a-ann-1]", "b-ann-1]", "c-ann-1]", "a-bob-2]", "a-eve-3]"}
    left = 40 - len(other) + 4
    assert f"{left} combinations: tests that ran here in one place, or with one par" in output
    assert f"{left} deselected" in output


def test_ci_runs_all_combinations(ran):
    names, output = ran(everything=True)

    assert len(names) == 20 * 2 * 2 + 3 + 9
    assert "left to CI" not in output


def test_whoever_asks_for_a_place_gets_it(ran):
    names, _ = ran("-k", "postgresql")

    assert len(names) == 20 * 2 + 1
