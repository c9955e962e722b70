"""The tests of the libraries know nothing of the application, as the libraries do not: whoever
takes a library elsewhere takes its tests along."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: The folders of the libraries' tests, and the modules that all tests share.
ROOMS = ["jobs", "uploads", "imaging"]
SHARED = ["conftest", "combinations", "machine", "databases", "images", "s3", "rabbitmq"]
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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TESTS)))
def test_the_tests_of_a_library_import_nothing_of_the_application(path: Path):
    package = ".".join(["tests", *path.relative_to(TESTS).parts[:-1]])

    found = [
        f"{path.relative_to(TESTS.parent)}:{line} imports {name}"
        for line, name in imported(path.read_text(), package)
        if of_the_application(name)
    ]

    assert not found, (
        "\n".join(found)
        + "\nThese tests must run without the application. Move a test that needs it to tests/app "
        "(or api, cli); for the others use the fixtures `outbox` (tests/jobs/conftest.py) and "
        "`application` (tests/conftest.py), and put shared helpers into tests/machine.py."
    )


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
