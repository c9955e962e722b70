"""Clocks that are wrong or that somebody sets, by libfaketime: of one node of two, and of the
machine of PostgreSQL. A row for each.

A node is a worker and a scheduler; the web server is a row of its own. The files' times stay right,
as on S3.
"""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from chaos import scenarios
from chaos.databases import NotHere, postgresql_server
from chaos.site import Site
from chaos.verdict import Verdict, events
from tests.machine import eventually, faketime

ROLES = {"web": 1, "worker": 2, "scheduler": 2}
YEARS_S = 3 * 365 * 86_400
HOUR_S = 3600
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
    if faketime(folder) is None:
        raise NotHere("no libfaketime: apt-get install faketime")
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
    chance, offset = random.Random(seed), folder / "offset"
    _set(offset, ahead or 0)
    wrong = faketime(offset) or {}
    with postgresql_server() as server, _its_clock(server, {} if whose else wrong):
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
        begun = Counter(job for _, _, what, job in events(site) if what == "start")
        again = sum(count - 1 for count in begun.values())
        died = (site.log("worker") + site.log("scheduler")).count("a worker died job=")
        if again or died:
            verdict.notes.append(f"{again} jobs were begun again, {died} deaths were counted")
        return verdict


def _set(offset: Path, seconds: int) -> None:
    there = offset.with_suffix(".new")
    there.write_text(f"{seconds:+d}\n")
    there.replace(offset)


@contextmanager
def _its_clock(server: Any, wrong: dict[str, str]) -> Iterator[None]:
    """Restart a PostgreSQL server with a wrong clock."""
    if wrong:
        pid = server.get_pid()
        os.kill(pid, signal.SIGQUIT)
        eventually(lambda: not psutil.pid_exists(pid))
        os.environ.update(wrong)
        try:
            server.ensure_postgres_running()
        finally:
            for name in wrong:
                del os.environ[name]
    yield
