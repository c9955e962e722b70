"""Clocks that are wrong or that somebody sets: of one node of two, and of the machine of
PostgreSQL. A row for each.

A node is a worker and a scheduler; the web server is a row of its own. The files' times stay right,
as on S3. The clock of a Python process is set by `clock/sitecustomize.py`: with libfaketime 0.9.10,
sleeping and waiting for a lock fail now and then (EINVAL). PostgreSQL's is set by libfaketime.
"""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from chaos import scenarios
from chaos.databases import NotHere, postgresql_server
from chaos.site import Site
from chaos.verdict import Verdict, events
from tests.machine import eventually

ROLES = {"web": 1, "worker": 2, "scheduler": 2}
YEARS_S = 3 * 365 * 86_400
HOUR_S = 3600
ID_LENGTH = 32
#: Which processes have the wrong clock, and how far it is ahead at the start (seconds); None for a
#: clock that is set by up to two hours every few seconds.
ROWS: dict[str, tuple[list[str], int | None]] = {
    "a worker and a scheduler an hour ahead": (["worker-1", "scheduler-1"], HOUR_S),
    "a worker and a scheduler an hour behind": (["worker-1", "scheduler-1"], -HOUR_S),
    "a worker and a scheduler three years ahead": (["worker-1", "scheduler-1"], YEARS_S),
    "the web server an hour ahead": (["web-0"], HOUR_S),
    "the web server an hour behind": (["web-0"], -HOUR_S),
    "the clock of a worker and a scheduler set by up to 2 h": (["worker-1", "scheduler-1"], None),
    "the clock of PostgreSQL set by up to 2 h": ([], None),
}


def clocks(folder: Path, uploads: int, seed: int, part: str = "") -> Iterator[Verdict]:
    """The rows whose name has `part` in it.

    Raises:
      NotHere: libfaketime or PostgreSQL is not installed.
    """
    folder.mkdir(parents=True)
    chosen = [name for name in ROWS if part in name]
    for number, name in enumerate(chosen):
        whose, ahead = ROWS[name]
        row = _row(folder / str(number), name, whose, ahead, uploads // len(chosen), seed)
        yield row


def _row(
    folder: Path, name: str, whose: list[str], ahead: int | None, uploads: int, seed: int
) -> Verdict:
    folder.mkdir()
    chance = random.Random(seed)
    with TemporaryDirectory(prefix="gifster-clock-") as place, postgresql_server() as server:
        Path(place).chmod(0o755)  # PostgreSQL runs as another user
        offset = Path(place) / "offset"
        _set(offset, ahead or 0)
        wrong = {"PYTHONPATH": str(Path(__file__).parent / "clock"), "CHAOS_CLOCK": str(offset)}
        if not whose:
            _restart(server, _by_faketime(offset))
        server.psql("CREATE DATABASE chaos")
        site = Site(
            folder / "site",
            ROLES,
            dict.fromkeys(whose, wrong),
            GIFSTER_DATABASE__URL=server.get_uri("chaos"),
        )

        def trouble(calm: threading.Event) -> None:
            while not calm.wait(chance.uniform(2, 5)):
                if ahead is None:
                    _set(offset, chance.randint(-2 * HOUR_S, 2 * HOUR_S))
                site.blows += 1

        verdict = scenarios.run(name, site, uploads, seed, trouble, per_s=10.0)
        verdict.recovery_s = None  # the logs use those clocks
        # A recurring job, whose id is its name, runs again if the clock shows its time again.
        lines = Counter((what, job) for _, _, what, job in events(site) if len(job) == ID_LENGTH)
        skipped = sum(count for (what, _), count in lines.items() if what == "skip")
        again = sum(
            max(0, count - lines["skip", job] - 1)
            for (what, job), count in lines.items()
            if what == "start"
        )
        logs = site.log("worker") + site.log("scheduler")
        died, steps = (logs.count(text) for text in ("a worker died job=", "the clock was set "))
        verdict.notes.append(
            f"{again} jobs ran again, {skipped} messages were skipped, {died} deaths were counted, "
            f"the relays noticed {steps} steps"
        )
        return verdict


def _by_faketime(offset: Path) -> dict[str, str]:
    """The variables that give a process a wrong clock; its monotonic clock, and the times of files,
    stay right. Raises `NotHere`."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise NotHere("no libfaketime: apt-get install faketime")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",  # its processes must agree
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def _set(offset: Path, seconds: int) -> None:
    there = offset.with_suffix(".new")
    there.write_text(f"{seconds:+d}\n")
    there.chmod(0o644)
    there.replace(offset)


def _restart(server: Any, variables: dict[str, str]) -> None:
    """Restart a PostgreSQL server with these variables in its environment."""
    pid = server.get_pid()
    os.kill(pid, signal.SIGQUIT)
    eventually(lambda: not psutil.pid_exists(pid))
    os.environ.update(variables)
    try:
        server.ensure_postgres_running()
    finally:
        for name in variables:
            del os.environ[name]
