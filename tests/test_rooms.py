"""What tests import. Those of the libraries know nothing of the application, as the libraries do
not: whoever takes a library elsewhere takes its tests along. Helpers are in modules of their own,
and the imports point down, as those of the code do."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: The folders of the libraries' tests, and the modules that all tests share.
ROOMS = ["jobs", "uploads", "imaging"]
SHARED = [
    "conftest", "combinations", "machine", "databases", "docs_code", "images", "logs", "s3",
    "rabbitmq", "threads",
]  # fmt: skip
MODULES = sorted(
    [path for room in ROOMS for path in (TESTS / room).rglob("*.py")]
    + [TESTS / f"{name}.py" for name in SHARED]
)
APPLICATION = [
    "gifster.actors",
    "gifster.api",
    "gifster.app",
    "gifster.cli",
    "gifster.scheduler",
    "tests.api",
    "tests.app",
    "tests.cli",
    "tests.stack",
]
#: The rooms whose helpers the tests of a room may use.
LIBRARIES = {"uploads", "imaging", "jobs"}
BELOW = {
    "api": {"app", *LIBRARIES},
    "cli": {"app", *LIBRARIES},
    "app": LIBRARIES,
    "examples": LIBRARIES,
    "uploads": {"imaging", "jobs"},
    "imaging": set(),
    "jobs": set(),
}
#: The rooms whose tests are all in rooms of theirs, so that one of them is soon run alone.
DIVIDED = ["api", "app", "imaging", "jobs", "uploads"]
#: The pages that name test files, such as `api/limits/test_places`, and how. Recipes for new code
#: name those that somebody will write, so CONTRIBUTING.md is not one of the pages.
PAGES = sorted((TESTS.parent / "docs").rglob("*.md"))
NAMED = rf"\b((?:{'|'.join(BELOW)})/(?:\w+/)*test_\w+)"


def imported(source: str, package: str) -> Iterator[tuple[int, str]]:
    """The lines and full names of all imports in a module of a package, within functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            # What is imported from a package may be a module of it.
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def of_the_application(name: str) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in APPLICATION)


@functools.cache
def imports_of(path: Path) -> list[tuple[str, str]]:
    """The places and full names of all imports in a module of the tests."""
    package = ".".join(["tests", *path.relative_to(TESTS).parts[:-1]])
    return [
        (f"{path.relative_to(TESTS.parent)}:{line}", name)
        for line, name in imported(path.read_text(), package)
    ]


def of_a_test_file(name: str) -> bool:
    return re.match(r"tests\.(\w+\.)*test_\w+", name) is not None


def of_a_room_not_below(room: str, name: str) -> bool:
    """Whether a name belongs to a room whose helpers the tests of `room` may not use."""
    top, _, rest = name.partition(".")
    other = rest.partition(".")[0]
    return top == "tests" and other in BELOW and other != room and other not in BELOW[room]


def test_the_tests_of_a_library_import_nothing_of_the_application():
    found = [
        f"{place} imports {name}"
        for path in MODULES
        for place, name in imports_of(path)
        if of_the_application(name)
    ]

    assert not found, (
        "\n".join(found)
        + "\nThese tests must run without the application. Move a test that needs it to tests/app "
        "(or api, cli); for the others use the fixtures `outbox` (tests/jobs/conftest.py) and "
        "`application` (tests/conftest.py), and put shared helpers into tests/machine.py."
    )


def test_no_module_imports_from_a_test_file():
    found = [
        f"{place} imports {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for place, name in imports_of(path)
        if of_a_test_file(name)
    ]

    assert not found, (
        "\n".join(found) + "\nMove what several files share into a module of its own beside them, "
        "named by what it has (tests/jobs/relay/backlog.py); fixtures go into conftest.py."
    )


def test_a_room_uses_only_the_helpers_of_rooms_below_it():
    found = [
        f"{place} imports {name}"
        for room in BELOW
        for path in sorted((TESTS / room).rglob("*.py"))
        for place, name in imports_of(path)
        if of_a_room_not_below(room, name)
    ]

    assert not found, (
        "\n".join(found) + "\nMove the helper into the lowest room that needs it, or beside "
        "tests/machine.py if all do."
    )


def test_each_room_has_its_place():
    rooms = {path.parent.name for path in TESTS.glob("*/__init__.py")}

    assert rooms == set(BELOW), "add a new room to BELOW"


@pytest.mark.parametrize("room", DIVIDED)
def test_each_test_of_a_divided_room_is_in_a_room_of_it(room: str):
    flat = [path.name for path in (TESTS / room).glob("test_*.py")]

    assert not flat, (
        f"{flat}\nAll of tests/{room} takes much longer than one room of it. Move the file into "
        "the room that has its topic, or into a new one."
    )


def test_each_test_file_that_a_page_names_is_there():
    named = {(page.name, name) for page in PAGES for name in re.findall(NAMED, page.read_text())}

    assert named
    assert [each for each in sorted(named) if not (TESTS / f"{each[1]}.py").exists()] == []


@pytest.mark.parametrize(
    "source",
    [
        "from tests.jobs.relay.test_relay import backlog",
        "from tests.jobs.relay import backlog, test_relay",
        "import tests.jobs.page.test_page",
        "from .test_relay import backlog",
        "from tests import test_rooms",
    ],
)
def test_each_import_from_a_test_file_is_seen(source: str):
    assert [name for _, name in imported(source, "tests.jobs") if of_a_test_file(name)]
    assert not of_a_test_file("tests.jobs.testing.test")


def test_each_import_of_a_room_above_is_seen():
    assert of_a_room_not_below("app", "tests.api.clients.Client")
    assert of_a_room_not_below("jobs", "tests.uploads")
    assert not of_a_room_not_below("app", "tests.app.gifs.cached")
    assert not of_a_room_not_below("api", "tests.imaging.carriers")
    assert not of_a_room_not_below("jobs", "tests.machine.eventually")


@pytest.mark.parametrize(
    "source",
    [
        "import gifster.app.settings",
        "from gifster import jobs, scheduler",
        "from gifster.app import database as d",
        "def f():\n    from gifster.app.boot import boot",
        "if True:\n    from tests.stack import Stack",
        "from tests import stack",
        "from ..app.fixtures import booted",
        "from .. import stack",
    ],
)
def test_each_way_to_import_is_seen(source: str):
    assert [name for _, name in imported(source, "tests.jobs") if of_the_application(name)]


@pytest.mark.parametrize(
    "source",
    [
        "from gifster import jobs, uploads",
        "import gifster.apparatus",
        "from .conftest import Outbox",
        "CODE = 'from gifster.app import database'",
    ],
)
def test_nothing_else_is_taken_for_the_application(source: str):
    assert not [name for _, name in imported(source, "tests.jobs") if of_the_application(name)]
