"""The rounds of a benchmark: how one is measured, and what is kept of it in var/bench/NAME.json.

In a round, all sides take turns, so that figures of one round can be compared. The page is made
from all rounds that are kept.
"""

import json
import os
import platform
import re
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

KEPT = Path("var/bench")
#: What `present_code()` looks at; the page itself changes with each benchmark.
CODE = ("gifster", "bench")
CPUINFO = Path("/proc/cpuinfo")
WORDS = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"]


class Unavailable(Exception):
    """A benchmark cannot run here; the message says what is missing."""


class Options(NamedTuple):
    """How a round is measured.

    Parameters:
      number: of the round, from 0. The sides take turns in another order in every second one.
      quick: take less than a minute, whatever that costs in accuracy.
      only: the sides to measure; none means all.
      folder: take the pictures of this folder.
    """

    number: int = 0
    quick: bool = False
    only: tuple[str, ...] = ()
    folder: Path | None = None

    def chosen(self, sides: list[str]) -> list[str]:
        """The sides to measure, in the order of this round.

        Raises:
          SystemExit: none of them was named.
        """
        chosen = [side for side in sides if not self.only or side in self.only]
        if not chosen:
            raise SystemExit(f"bench: none of {', '.join(self.only)} is one of {', '.join(sides)}")
        return chosen[::-1] if self.number % 2 else chosen


class Round(NamedTuple):
    """A round that was measured.

    Parameters:
      date: as YYYY-MM-DD.
      machine: in words.
      load: of the last minute before the round.
      found: what the benchmark's `measure()` returned; only what JSON can hold.
      code: the commit that was measured, as `present_code()` names it.
    """

    date: str
    machine: str
    load: float
    found: Any
    code: str = ""


def begin() -> Round:
    """A round that begins now, and has found nothing yet."""
    busy = round(os.getloadavg()[0], 1)
    return Round(time.strftime("%Y-%m-%d"), _machine(), busy, None, present_code())


def present_code() -> str:
    """The commit that is checked out, with a `+` if the code has been changed since; empty without
    Git."""
    try:
        commit, changed = (
            subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", *CODE])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.strip() + ("+" if changed else "")


def load(name: str, folder: Path = KEPT) -> list[Round]:
    """The rounds that are kept of a benchmark."""
    path = folder / f"{name}.json"
    return [Round(**each) for each in json.loads(path.read_text("utf-8"))] if path.exists() else []


def save(name: str, rounds: list[Round], folder: Path = KEPT) -> None:
    """Keep these rounds of a benchmark, and forget its others."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([each._asdict() for each in rounds], indent=1)
    (folder / f"{name}.json").write_text(text, "utf-8")


def described(rounds: list[Round]) -> str:
    """How often, when and where these rounds were measured, in a sentence.

    Sides that were measured one at a time (`Options.only`) have a round together.
    """
    often = max(Counter(side for each in rounds for side in each.found).values())
    count = WORDS[often] if often < len(WORDS) else str(often)
    dates = sorted({each.date for each in rounds})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    machines = "; ".join(dict.fromkeys(each.machine for each in rounds))
    loads = sorted({f"{each.load:.1f}" for each in rounds}, key=float)
    busy = loads[0] if len(loads) == 1 else f"{loads[0]} to {loads[-1]}"
    plural = "" if often == 1 else "s"
    return f"{count} round{plural}, {when}, on {machines}; the load before was {busy}."


def _machine() -> str:
    """Such as `2 cores (AMD EPYC), Python 3.11.2`."""
    text = CPUINFO.read_text("utf-8") if CPUINFO.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    processor = model[1].strip() if model else platform.machine()
    return f"{os.cpu_count()} cores ({processor}), Python {platform.python_version()}"
