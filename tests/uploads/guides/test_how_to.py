"""The Python blocks of the how-tos, run as they are."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gifster import jobs
from tests.combinations import on_s3, only_in_ci
from tests.conftest import Platform
from tests.docs_code import DOCS, ROOT, python_blocks

FILE = re.compile(r"^```python file=(\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run(page: str, **changes: str) -> dict[str, Any]:
    """Run the blocks of a page, with other values for some of its texts."""
    names: dict[str, Any] = {"__name__": "how_to"}
    for number, block in enumerate(python_blocks((DOCS / page).read_text("utf-8"))):
        code = block
        for old, new in changes.items():
            code = code.replace(old, new)
        exec(compile(code, f"block {number + 1} of {page}", "exec"), names)
    return names


@pytest.mark.parametrize(
    ("part", "passed"),
    [
        (0, "4 passed"),
        pytest.param(1, "1 passed", marks=only_in_ci("1.3 s; the example has tests of its own")),
    ],
)
def test_the_tests_of_the_how_to_pass(in_a_folder: None, tmp_path: Path, part: int, passed: str):
    # Given the files of the page: those of a module of one's own, or of the recipe for Flask
    if part == 1:
        shutil.copytree(ROOT / "examples" / "profiles", tmp_path, dirs_exist_ok=True)
    parts = (DOCS / "testing.md").read_text("utf-8").split("\n## Through the web application\n")
    for name, text in FILE.findall(parts[part]):
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=180,
        # without the plugins of these tests, which take longer to start than the page's tests
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert passed in done.stdout


@on_s3
def test_the_how_to_of_postgresql_works(platform: Platform, in_a_folder: None):
    from playhouse.db_url import parse

    made = parse(platform.database_url)
    names = run("postgresql.md", **{
        '"app",\n    host="127.0.0.1",\n    user="app",': f'**{made!r},',
    })  # fmt: skip

    assert jobs.Job.table_exists()
    names["db"].close_all()
