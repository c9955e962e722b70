"""`gifster install`: writes the same files as `python -m gifster.uploads install`."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import BIN, files_below

MODEL = "import peewee\n\n\nclass User(peewee.Model):\n    pass\n"


def install(folder: Path, *command: str, **options: object) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "shop.py").write_text(MODEL)
    return subprocess.run(
        [*command, "install", "shop:User", "avatar", "--many"],
        cwd=folder, capture_output=True, text=True, check=True, timeout=120, **options,
    ).stdout  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    names = [n for n in files_below(folder) if n.endswith((".py", ".toml"))]
    return {name: (folder / name).read_text() for name in names}


def test_it_writes_and_says_what_the_library_does(tmp_path: Path):
    ours = install(tmp_path / "ours", str(BIN / "gifster"), stdin=subprocess.DEVNULL)
    theirs = install(
        tmp_path / "theirs", sys.executable, "-m", "gifster.uploads", stdin=subprocess.DEVNULL
    )

    assert ours == theirs
    assert len(contents(tmp_path / "ours")) == 4
    ours, theirs = contents(tmp_path / "ours"), contents(tmp_path / "theirs")
    settings = [each.pop("settings.toml").partition('secret = "') for each in (ours, theirs)]
    assert settings[0][0] == settings[1][0]
    assert settings[0][2] != settings[1][2]  # each has a secret of its own
    assert ours == theirs


@pytest.mark.parametrize(("answer", "overwritten"), [("n", False), ("y", True)])
def test_a_person_at_a_terminal_is_asked(tmp_path: Path, answer: str, overwritten: bool):
    (tmp_path / "actors.py").write_text("# mine\n")
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())

    said = install(tmp_path, str(BIN / "gifster"), stdin=theirs)

    assert "actors.py has other content. Overwrite it? [y/N]" in said
    assert ((tmp_path / "actors.py").read_text() != "# mine\n") is overwritten


def test_a_wrong_model_is_refused(tmp_path: Path):
    refused = subprocess.run(
        [str(BIN / "gifster"), "install", "nowhere:User", "avatar"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert refused.returncode == 1
    assert "no model nowhere:User here" in refused.stderr
    assert "Traceback" not in refused.stderr
