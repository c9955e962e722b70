"""The Python blocks of the how-tos, run as they are."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from gifster import jobs
from gifster.uploads import mount
from tests import images
from tests.conftest import PLATFORMS, Platform

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^```python file=(\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run(page: str, **changes: str) -> dict[str, Any]:
    """Run the blocks of a page, with other values for some of its texts."""
    names: dict[str, Any] = {"__name__": "how_to"}
    for number, block in enumerate(BLOCK.findall((DOCS / page).read_text("utf-8"))):
        code = block
        for old, new in changes.items():
            code = code.replace(old, new)
        exec(compile(code, f"block {number + 1} of {page}", "exec"), names)
    return names


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mount, "_models", {})  # other tests have tables of these names
    (tmp_path / "me.gif").write_bytes(images.gif((300, 200)))
    yield
    dramatiq.get_broker().close()


@pytest.mark.parametrize(("part", "passed"), [(0, "4 passed"), (1, "1 passed")])
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


@pytest.mark.parametrize("platform", PLATFORMS[1:], indirect=True)
def test_the_how_to_of_postgresql_works(platform: Platform, in_a_folder: None):
    from playhouse.db_url import parse

    made = parse(platform.database_url)
    names = run("postgresql.md", **{
        '"app",\n    host="127.0.0.1",\n    user="app",': f'**{made!r},',
    })  # fmt: skip

    assert jobs.Job.table_exists()
    names["db"].close_all()
