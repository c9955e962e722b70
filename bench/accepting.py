"""How many uploads a second a web process accepts, beside the least that a server must do
(`bench.floor`): both in turn in one run, with the sender on the same machine.

Each upload is another file. The web process has the settings as shipped, but takes uploads of
anybody without a limit. No worker runs.
"""

import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from tests import images
from tests.machine import eventually, free_port
from tests.stack import Stack

CONNECTIONS = (1, 8, 40)
#: The size of a file (MB): width and height of its frames, and how many there are.
SIZES = {0.1: (270, 1), 1.1: (515, 3), 5: (492, 15)}
MARK = b"a mark of this upload: 0123456789abcdef"


@dataclass
class Server:
    """A server under test, and what was measured of it."""

    name: str
    port: int
    #: The processes that serve.
    pids: list[int]
    #: Requests a second of each slice, by size and connections.
    rates: dict[tuple[float, int], list[float]] = field(default_factory=dict)
    #: Milliseconds of each request, and of the processes' CPU a request.
    times: dict[tuple[float, int], list[float]] = field(default_factory=dict)
    cpu: dict[tuple[float, int], list[float]] = field(default_factory=dict)

    def slice(self, size: float, connections: int, seconds: float) -> None:
        """Send uploads for some seconds."""
        sender = Sender(self.port, upload_of(size), connections)
        before = sum(map(cpu_s, self.pids))
        times, took = sender.run(seconds)
        spent = sum(map(cpu_s, self.pids)) - before
        key = size, connections
        self.rates.setdefault(key, []).append(len(times) / took)
        self.times.setdefault(key, []).extend(seconds * 1000 for seconds in times)
        self.cpu.setdefault(key, []).append(spent * 1000 / len(times))


def gif_of(size: float) -> bytes:
    """A GIF of about that many MB, with a comment in which each upload has a mark of its own."""
    side, frames = SIZES[size]
    gif = images.noisy_gif((side, side), frames)
    comment = b"\x21\xfe" + bytes([len(MARK)]) + MARK + b"\0"
    at = gif.index(b"\x21\xf9")
    return gif[:at] + comment + gif[at:]


def upload_of(size: float) -> bytes:
    """A whole request that uploads such a GIF."""
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n'
    body = head + b"Content-Type: image/gif\r\n\r\n" + gif_of(size) + b"\r\n--b--\r\n"
    return (
        b"POST /api/gifs HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" % len(body)
    ) + body


class Sender:
    """Sends the same request over some connections, each time with another mark."""

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        self._port, self._request = port, request
        self._at = request.find(MARK)
        self._connections = connections
        self._times: list[float] = []
        self.failed: list[str] = []

    def run(self, seconds: float) -> tuple[list[float], float]:
        """Send for some seconds, and at least once over each connection.

        Returns:
          the seconds of each request, and of all.
        """
        started = time.perf_counter()
        threads = [
            threading.Thread(target=self._send, args=(started + seconds,))
            for _ in range(self._connections)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.failed, self.failed[0]
        return self._times, time.perf_counter() - started

    def _send(self, until: float) -> None:
        request = bytearray(self._request)
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                began = time.perf_counter()
                if self._at >= 0:
                    request[self._at : self._at + 16] = secrets.token_hex(8).encode()
                connection.sendall(request)
                answer = read_answer(connection)
                self._times.append(time.perf_counter() - began)
                if answer.split(b" ", 2)[1] not in (b"200", b"202"):
                    self.failed.append(answer.decode())
                if self.failed or time.perf_counter() >= until:
                    return


def read_answer(connection: socket.socket) -> bytes:
    """One answer, with its body."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(65536)
        assert piece, f"the server hung up after {answer!r}"
        answer += piece
    head = answer[: answer.index(b"\r\n\r\n")].lower()
    at = head.index(b"content-length:") + len(b"content-length:")
    whole = len(head) + 4 + int(head[at:].split(b"\r\n", 1)[0])
    while len(answer) < whole:
        answer += connection.recv(whole - len(answer))
    return answer


@contextmanager
def peak(pid: int) -> Iterator[Callable[[], int]]:
    """The peak growth of a process's memory (bytes), sampled every 5 ms."""
    before = memory(pid)
    highest = before
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: highest - before
    finally:
        done.set()
        thread.join()


def memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(pid)


def cpu_s(pid: int) -> float:
    """The CPU time of a process, in user and system mode (seconds)."""
    facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def floor(folder: Path, database_url: str) -> Iterator[Server]:
    """The floor, served from a folder."""
    folder.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "bench.floor", str(port), str(folder), database_url]
    process = subprocess.Popen(command)

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/").status_code == 202
        except httpx.TransportError:
            return False

    try:
        eventually(answers)
        yield Server("the least", port, children(process.pid))
    finally:
        for child in children(process.pid):
            os.kill(child, 9)
        process.kill()
        process.wait()


@contextmanager
def gifster(folder: Path, broker_url: str, **settings: str) -> Iterator[tuple[Stack, Server]]:
    """Gifster's web server, in a folder of its own."""
    folder.mkdir()
    stack = Stack(folder, broker_url, **settings)
    try:
        stack.migrate()
        web = stack.start_web()
        yield stack, Server("Gifster", stack.port, children(web.pid))
    finally:
        stack.stop()


def compare(
    servers: list[Server], sizes: list[float], connections: list[int], rounds: int, seconds: float
) -> None:
    """Measure all servers in turn, in each of the rounds at each size and number of connections."""
    for server in servers:
        for size in sizes:
            server.slice(size, 8, 0.3)  # warm
        server.rates.clear(), server.times.clear(), server.cpu.clear()
    for number in range(rounds):
        for size in sizes:
            for many in connections:
                for server in servers if number % 2 else servers[::-1]:
                    server.slice(size, many, seconds)


def table_of(ours: Server, least: Server, title: str) -> Table:
    """Rates and their ratio: median (least to most), and what an upload costs."""
    table = Table(
        "MB", "connections", "Gifster /s", "the least /s", "ratio", "p50 ms", "p95 ms", "CPU ms",
        "the least's CPU", title=title, title_justify="left",
    )  # fmt: skip
    for key, rates in ours.rates.items():
        floor_rates = least.rates[key]
        ratios = [one / other for one, other in zip(rates, floor_rates, strict=True)]
        times = sorted(ours.times[key])
        table.add_row(
            f"{key[0]:g}", str(key[1]), _spread(rates, "{:.0f}"), _spread(floor_rates, "{:.0f}"),
            _spread(ratios, "{:.2f}"), f"{statistics.median(times):.1f}",
            f"{times[int(len(times) * 0.95)]:.1f}", _spread(ours.cpu[key], "{:.2f}"),
            f"{statistics.median(least.cpu[key]):.2f}",
        )  # fmt: skip
    return table


def _spread(values: list[float], form: str) -> str:
    median = form.format(statistics.median(values))
    return f"{median} ({form.format(min(values))} to {form.format(max(values))})"


def at_once(server: Server, quick: bool) -> Table:
    """By how much the web processes grow while many send one upload each at the same time."""
    table = Table("at once", "MB each", "memory MB", "took s", title="Memory", title_justify="left")
    for many, size in [(160, 1.1), (400, 5)][: 1 if quick else 2]:
        with ExitStack() as watched:
            peaks = [watched.enter_context(peak(pid)) for pid in server.pids]
            _, took = Sender(server.port, upload_of(size), many).run(0)
            grown = sum(growth() for growth in peaks)
        table.add_row(str(many), f"{size:g}", f"{grown / 1e6:+.0f}", f"{took:.1f}")
    return table


def reading(stack: Stack, server: Server, seconds: float) -> Table:
    """What lists cost: 30 stored GIFs as JSON and as a page, over one connection."""
    table = Table("request", "p50 ms", "CPU ms", title="Reading", title_justify="left")
    _store(stack, 40)
    for path in ("/api/gifs?limit=30", "/"):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode()
        Sender(server.port, request, 1).run(0.5)
        before = sum(map(cpu_s, server.pids))
        times, _ = Sender(server.port, request, 1).run(seconds)
        spent = (sum(map(cpu_s, server.pids)) - before) * 1000 / len(times)
        table.add_row(f"GET {path}", f"{statistics.median(times) * 1000:.1f}", f"{spent:.2f}")
    return table


def _store(stack: Stack, count: int) -> None:
    """Have some small GIFs stored, with their versions."""
    small = images.gif((120, 90))
    for number in range(count):
        answer = stack.upload(small + str(number).encode(), title=f"GIF {number}", tags="cat, dog")
        assert answer.status_code == 202, answer.text
    worker = stack.start_worker()
    scheduler = stack.start("gifster", "scheduler")
    eventually(lambda: _states(stack) == {"ready"}, within=60)
    for process in (worker, scheduler):
        os.killpg(process.pid, 9)
        process.wait()


def _states(stack: Stack) -> set[str]:
    listed = json.loads(stack.client.get("/api/gifs?limit=30").content)
    return {gif["state"] for gif in listed["items"]}


def report(*tables: Table) -> None:
    console = Console(width=130)
    for table in tables:
        console.print(table)
