"""Attacks on connections rather than requests: heads of all lengths, heads that never end, bodies
that stop in the middle, clients that send nothing or do not read, thousands of event streams.

Meanwhile another client lists the library. It must get its answers within the time that `Siege`
states, and the web process may grow only by a limited amount.
"""

import contextlib
import http.client
import itertools
import resource
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from chaos import bodies
from chaos.site import Site
from gifster.app.settings import Web

MB = 1_000_000
MOST_GROWTH = 150 * MB
#: How long another request may take (s): while the server reads heads; while thousands of requests
#: arrive at once; until the server gives connections up.
QUICK_S, BURST_S, PATIENT_S = 1.0, 3.0, Web().head_timeout_s + 5
#: How many open files this process needs besides connections.
OWN_FILES = 300
HEADERS = [
    "Accept", "Accept-Language", "Authorization", "Content-Type", "Content-Length", "Cookie",
    "Expect", "Forwarded", "Host", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
    "Origin", "Range", "Referer", "Sec-Fetch-Site", "Transfer-Encoding", "User-Agent",
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Of-Nobody",
]  # fmt: skip
FILLERS = ['a/b;"' + ";" * 50, "a=b;", 'for="', "1.2.3.4,", '"a",', '\\"', "bytes=1-,", "a "]
LENGTHS = [2_000, 8_000, 30_000, 400_000]
TARGETS = ["GET /nope", "GET /api/gifs", "POST /api/gifs", "POST /login"]


@dataclass
class Siege:
    """The result of one attack: the answers by status, how long other requests took and may take
    (s), and how much the web process grew (bytes)."""

    kind: str
    limit_s: float
    count: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    growth: int = 0

    @property
    def slowest_s(self) -> float:
        return max(self.waits)

    @property
    def p95_s(self) -> float:
        return sorted(self.waits)[int(0.95 * (len(self.waits) - 1))]

    @property
    def stood(self) -> bool:
        """Whether all requirements were met."""
        broken = any(status.startswith("5") for status in self.answers)
        return not broken and self.slowest_s <= self.limit_s and self.growth <= MOST_GROWTH


class Wire:
    """The attacks on the connections of one web server.

    Parameters:
      port: the web server's.
      web: the process that answers requests.
      scale: the size of the attacks; 1 is the full size.
    """

    def __init__(self, port: int, web: psutil.Process, scale: float = 1) -> None:
        self._port, self._web, self._scale = port, web, scale
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._most = most - OWN_FILES

    def long_heads(self) -> Siege:
        """Each header in each length, full of separators; many headers; long targets."""
        with self._beside("long heads", QUICK_S) as siege:
            step = max(1, round(1 / self._scale))
            for head in itertools.islice(_long_heads(), 0, None, step):
                siege.answers[self._status(head)] += 1
                siege.count += 1
        return siege

    def open_heads(self) -> Siege:
        """More connections than the server accepts at a time, none with a complete head."""
        starts = [
            b"",
            b"G",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ]
        with self._beside("open heads", PATIENT_S) as siege, ExitStack() as opened:
            self._open(opened, siege, 6_000, lambda number: starts[number % len(starts)])
        return siege

    def unread(self) -> Siege:
        """Clients that send many requests, and read nothing."""
        asked = b"GET /api/gifs HTTP/1.1\r\nHost: a\r\n\r\n" * 300
        with self._beside("unread answers", BURST_S) as siege, ExitStack() as opened:
            self._open(opened, siege, 300, lambda number: asked)
        return siege

    def streams(self, addresses: int) -> Siege:
        """Event streams of a hundred GIFs each, from this many addresses."""
        kind = "event streams, " + ("one address" if addresses == 1 else f"{addresses} addresses")

        def stream(number: int) -> bytes:
            names = "&".join(f"gif=s{number}g{of}" for of in range(100))
            address = f"10.0.{number % addresses // 250}.{number % addresses % 250}"
            head = f"GET /events?{names} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n"
            return head.encode()

        with self._beside(kind, BURST_S) as siege, ExitStack() as opened:
            self._open(opened, siege, 2_600, stream)
        return siege

    def stopped(self) -> Siege:
        """Uploads of which a megabyte comes, and then nothing."""
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n\r\n'
        content = bodies.good_gif(MB)

        def upload(number: int) -> bytes:
            address = f"10.1.{number // 250}.{number % 250}"
            return _form("/api/gifs", address, head + content)

        with self._beside("stopped uploads", BURST_S) as siege, ExitStack() as opened:
            self._open(opened, siege, 400, upload)
        return siege

    def fields(self) -> Siege:
        """Forms of strangers with 2 MB of fields, whose file does not come."""
        # One letter that is none of Latin-1 makes a text four times as large in memory.
        text = "\N{GRINNING FACE}".encode() + b"a" * 65_000
        field = b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\n%b\r\n' % text
        form = _form("/v1/gifs", "10.2.0.1", field * 30)
        with self._beside("forms of fields", BURST_S) as siege, ExitStack() as opened:
            self._open(opened, siege, 200, lambda number: form)
        return siege

    # The methods.

    @contextmanager
    def _beside(self, kind: str, limit_s: float) -> Iterator[Siege]:
        """List the library meanwhile, and measure how the web process grows."""
        siege, over, before = Siege(kind, limit_s), threading.Event(), self._web.memory_info().rss

        def ask() -> None:
            while not over.is_set():
                siege.waits.append(self._look(limit_s))
                siege.growth = max(siege.growth, self._web.memory_info().rss - before)
                over.wait(0.02)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield siege
        finally:
            over.set()
            asking.join()

    def _look(self, limit_s: float) -> float:
        started = time.monotonic()
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2 * limit_s)
        with contextlib.closing(client), suppress(OSError, http.client.HTTPException):
            client.request("GET", "/api/gifs", headers={"X-Forwarded-For": "192.0.2.1"})
            if client.getresponse().read():
                return time.monotonic() - started
        return 2 * limit_s

    def _status(self, head: bytes) -> str:
        """The status of the answer. The server may close the connection at any time."""
        answer = b""
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self._port), 10) as connection,
        ):
            with suppress(OSError):
                connection.sendall(head)
            answer = connection.recv(65_536)
        return answer[9:12].decode() or "closed"

    def _open(
        self, opened: ExitStack, siege: Siege, count: int, sent: Callable[[int], bytes]
    ) -> None:
        """Open this many connections, send something on each, and keep them for a while."""
        siege.count = min(max(1, round(count * self._scale)), self._most)
        watch = opened.enter_context(selectors.DefaultSelector())
        for number in range(siege.count):
            connection = opened.enter_context(socket.socket())
            connection.setblocking(False)
            with suppress(BlockingIOError):
                connection.connect(("127.0.0.1", self._port))
            watch.register(connection, selectors.EVENT_WRITE, sent(number))
        until = time.monotonic() + max(3, PATIENT_S * min(1, self._scale))
        quiet = siege.kind in ("open heads", "unread answers")
        while time.monotonic() < until and watch.get_map():
            for key, _ in watch.select(0.1):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                try:
                    if key.data is not None:
                        if rest := key.data[connection.send(key.data) :]:
                            watch.modify(connection, selectors.EVENT_WRITE, rest)
                        elif quiet and key.data != b"":
                            watch.unregister(connection)
                        else:
                            watch.modify(connection, selectors.EVENT_READ, None)
                        continue
                    status = connection.recv(65_536)[9:12].decode(errors="replace") or "closed"
                except OSError:
                    status = "closed"
                siege.answers[status] += 1
                watch.unregister(connection)
        if missing := siege.count - siege.answers.total():
            siege.answers["open"] += missing


def _form(path: str, address: str, begun: bytes) -> bytes:
    """A form of 20 MB, of which only the beginning comes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {20 * MB}\r\n\r\n"
    ).encode() + begun


def _long_heads() -> Iterator[bytes]:
    for target, name, filler, length in itertools.product(TARGETS, HEADERS, FILLERS, LENGTHS):
        value = (filler * (length // len(filler) + 1))[:length]
        host = "" if name == "Host" else "Host: a\r\n"
        yield f"{target} HTTP/1.1\r\n{host}{name}: {value}\r\nConnection: close\r\n\r\n".encode()
    for count, length in [(90, 90), (99, 300), (1_000, 20), (20_000, 20)]:
        many = "".join(f"X-{number}: {'a' * length}\r\n" for number in range(count))
        yield f"GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n".encode()
    for filler, length in itertools.product(
        ["a", "%41", "a=b&", "/", "?"], [8_000, 30_000, 400_000]
    ):
        path = (filler * (length // len(filler) + 1))[:length]
        yield f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        yield f"GET /api/gifs?{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    # The process must remember none of these.
    for number in range(128):
        kind = f'a/{number};"' + ";" * 400_000
        yield f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n\r\n".encode()


def attack(
    folder: Path,
    database_url: str,
    scale: float = 1,
    step: Callable[[int], None] = lambda done: None,
) -> list[Siege]:
    """Run all attacks on a new web server; call `step` after each."""
    site, sieges = Site(
        folder, {"web": 1},
        GIFSTER_DATABASE__URL=database_url, GIFSTER_LIMITS__ENABLED="true",
        GIFSTER_WEB__TRUSTED_PROXIES='["127.0.0.0/8"]',
    ), []  # fmt: skip
    try:
        site.start()
        [web] = psutil.Process(site.processes[0].popen.pid).children()
        wire = Wire(site.stack.port, web, scale)
        for each in (
            lambda: wire.streams(260), wire.long_heads, wire.open_heads, wire.unread, wire.stopped,
            wire.fields, lambda: wire.streams(1),
        ):  # fmt: skip
            sieges.append(each())
            step(1)
    finally:
        site.stop()
    return sieges


#: The number of attacks.
COUNT = 7


def show(name: str, sieges: list[Siege], console: Console) -> None:
    """Print the results of the attacks on one database."""
    names = [
        f"connections, {name}",
        "sent",
        "answers",
        "GET beside: p95, ms",
        "slowest, ms",
        "grew, MB",
    ]
    table = Table(*names, box=None, pad_edge=False)
    for siege in sieges:
        table.add_row(
            siege.kind, f"{siege.count:,}",
            ", ".join(f"{number:,} {status}" for status, number in sorted(siege.answers.items())),
            f"{1000 * siege.p95_s:,.0f}", f"{1000 * siege.slowest_s:,.0f}",
            f"{siege.growth / MB:.0f}", style="" if siege.stood else "red",
        )  # fmt: skip
    console.print(table)
