"""`deploy/`: the units and the Procfile start existing commands, and systemd takes the units."""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.machine import BIN
from tests.stack import Stack

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
COMMANDS = {"web", "worker", "scheduler"}


def test_the_procfile_and_the_units_start_the_same(tmp_path: Path):
    lines = [line.split(": ") for line in (DEPLOY / "Procfile").read_text().splitlines()]
    assert dict(lines) == {c: f"gifster {c}" for c in COMMANDS}

    started = set()
    for unit in UNITS:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str
        parser.read(unit)
        program, command = parser["Service"]["ExecStart"].split()
        assert program.endswith("/gifster")
        assert Stack(tmp_path, "").run("gifster", command, "--help").returncode == 0
        started.add(command)
    assert started == COMMANDS


def test_systemd_takes_the_units(tmp_path: Path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd is installed")
    (tmp_path / ".venv").symlink_to(BIN.parent)
    for path in DEPLOY.glob("gifster*"):
        text = path.read_text().replace("/srv/gifster", str(tmp_path))
        (tmp_path / path.name).write_text(text.replace("User=gifster", "User=root"))

    paths = [str(path) for path in sorted(tmp_path.glob("gifster*"))]
    result = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False
    )

    said = [line for line in result.stderr.splitlines() if "gifster" in line]
    assert (result.returncode, said) == (0, [])


def test_a_second_load_of_the_nftables_rules_replaces_the_first():
    if os.geteuid() or not shutil.which("nft") or not shutil.which("unshare"):
        pytest.skip("only root can load rules, with nft (on Debian: apt install nftables)")
    # In a network of its own, which ends with the command
    rules = DEPLOY / "nftables.conf"
    load = f"nft -f {rules} && nft list ruleset"
    result = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"{load} && echo ---- && {load}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare failed" in result.stderr:
        pytest.skip("this machine gives no network of its own")

    assert result.returncode == 0, result.stderr
    once, twice = result.stdout.split("----\n")
    assert "ct count over 100" in once
    assert once == twice
