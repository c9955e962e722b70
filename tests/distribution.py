"""The wheel of this checkout, and environments that have only what is installed into them."""

import json
import re
import resource
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKS = ("constraints.txt", "constraints-dev.txt", "constraints-docs.txt")
#: What the build reads.
SOURCES = ("gifster", "LICENSE", "README.md", "pyproject.toml")
#: A line of a lock, as uv writes it: a name, a version, perhaps a marker.
LOCKED = re.compile(r"^([a-z0-9.-]+)==([^ ;\\\n]+)(?: ; ([^\\\n]+?))?(?: \\)?$", re.MULTILINE)
#: Prints the packages of an environment as JSON. No package of the environment helps.
LIST = """
import importlib.metadata as m, json
print(json.dumps({d.metadata["Name"].lower(): d.version for d in m.distributions()}))
"""


class NoIndex(Exception):
    """The package index cannot be reached; the message says what pip said."""


def locked(name: str) -> list[tuple[str, str, str]]:
    """The packages of a lock: name, version, marker (empty if there is none)."""
    return LOCKED.findall((ROOT / name).read_text("utf-8"))


def pip(*arguments: str | Path) -> None:
    """Run this environment's pip.

    Raises:
      NoIndex
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode and (reason := re.search("connection broken by (.*)", said)):
        raise NoIndex(reason[1])
    assert done.returncode == 0, said


def build_wheel(folder: Path) -> Path:
    """Build the wheel, from a copy: the build leaves files beside the sources."""
    for name in SOURCES:
        source, target = ROOT / name, folder / "source" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    # What pip asks of a build backend in the end (PEP 517). It starts four processes for it.
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, folder.absolute()],
        cwd=folder / "source", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(folder / "source")
    (wheel,) = folder.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment without pip, and without the packages of any other.

    Parameters:
      folder: where it is; `make()` makes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def make(self, wheel: Path, extras: str = "") -> None:
        """Install a wheel of ours, with the locked versions of all that it needs.

        Raises:
          NoIndex
        """
        venv.create(self.folder, with_pip=False)
        versions = self.folder / "versions.txt"
        pins = [pin for name in LOCKS for pin in locked(name)]
        versions.write_text("\n".join(f"{name}=={version}" for name, version, _ in pins))
        what = f"gifster{extras} @ {wheel.as_uri()}"
        options = ("--quiet", "--retries", "1", "--constraint", versions)
        pip("--python", self.python, "install", *options, what)

    def packages(self) -> dict[str, str]:
        """The names and versions of all that is installed."""
        found: dict[str, str] = json.loads(self.run(LIST))
        return found

    def megabytes(self) -> float:
        """How much all of it takes, with the bytecode that pip compiles (10^6 bytes)."""
        (lib,) = self.folder.glob("lib/*/site-packages")
        return sum(path.lstat().st_size for path in lib.rglob("*") if path.is_file()) / 1e6

    def run(self, code: str, **options: Any) -> str:
        """Run Python code in an empty folder, and return what it printed."""
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        command = [self.python, "-P", "-c", code]
        done = subprocess.run(
            command, cwd=work, capture_output=True, text=True, check=False, **options
        )
        assert done.returncode == 0, (code, done.stderr)
        return done.stdout

    def cpu_s(self, code: str) -> float:
        """The CPU time of a new Python that runs this, in user and system mode (seconds)."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.run(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
