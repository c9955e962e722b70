"""The tutorials, followed as a newcomer would: every block is run, in order, in a fresh folder.

A fence's first word is its language, the second what is done with it: `file=` writes a file,
`another` is a terminal that stays open, `background` one that replaces the last but the first,
`skip` is not run. A `text` block is what the block
before it prints; `…` stands for anything.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.combinations import only_in_ci
from tests.docs_code import DOCS, blocks
from tests.machine import BIN, eventually, examples, free_port, signal_group


class Terminals:
    """A newcomer's terminals, all in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",  # into a file Python would keep what it says
        }
        self.open: list[subprocess.Popen[bytes]] = []

    def run(self, commands: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", commands],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return done.stdout + done.stderr

    def start(self, command: str, *, replaces: bool) -> None:
        for process in self.open[1:] if replaces else ():
            self._stop(process)
        log = (self.folder / f"terminal-{len(self.open)}.log").open("ab")
        process = subprocess.Popen(
            f"exec {command}",
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.open.append(process)
        eventually(lambda: re.search(r"ready for action|PING|[Ss]tarted|[Rr]unning", self.log()))

    def said(self) -> int:
        """How much all terminals that stay open have printed."""
        return sum(log.stat().st_size for log in self.folder.glob("terminal-*.log"))

    def say_more(self, *, than: int) -> None:
        eventually(lambda: self.said() > than)

    def log(self) -> str:
        return (self.folder / f"terminal-{len(self.open) - 1}.log").read_text()

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        signal_group(process, signal.SIGTERM)
        process.wait(60)

    def close(self) -> None:
        for process in reversed(self.open):
            self._stop(process)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    made = Terminals(tmp_path)
    yield made
    made.close()


@only_in_ci("a whole installation; cli/test_dev.py runs one daily")
@pytest.mark.long
@pytest.mark.parametrize("page", ["avatar.md", "tutorial.md"][: examples(1, of=2)])
def test_the_tutorial_works_as_it_is_written(terminals: Terminals, page: str):
    text = (DOCS / page).read_text("utf-8")
    for port in ("6399", "5099"):
        text = text.replace(port, str(free_port()))
    found = blocks(text)
    assert len(found) > 15

    commands, output, said = "", "", 0
    for language, what, content in found:
        if language == "python":
            (terminals.folder / what.removeprefix("file=")).write_text(content)
        elif language == "sh" and what in ("background", "another"):
            terminals.start(content.strip(), replaces=what == "background")
        elif language == "sh" and not what:
            said = terminals.said()
            commands, output = content, terminals.run(content)
            assert "Traceback" not in output, output
        elif language == "text":
            expected = re.compile(re.escape(content.strip()).replace("…", "[^ ]+"))
            # What a worker does takes a moment: a newcomer would look again when it says more.
            last = commands.strip().splitlines()[-1]
            while not expected.search(output):
                terminals.say_more(than=said)
                said, output = terminals.said(), terminals.run(last)
