"""Many large uploads at once, while another client lists the library.

All bodies must be answered within a minute: accepted, rejected with a code, or deferred with a 503.
Meanwhile `GET /api/gifs` must be fast. The web process may grow only by a limited amount, and must
give the memory back. Rejected bodies must leave nothing in the cache.
"""

import http.client
import multiprocessing
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from chaos import bodies
from chaos.site import Site
from tests.machine import eventually, files_below

MB = 1_000_000
#: How long any answer may take (s), and the p95 of the other requests (ms).
MOST_SECONDS, MOST_P95_MS = 60, 100
#: How much the web process may grow meanwhile, and how much of that it may keep (bytes).
MOST_GROWTH, MOST_KEPT = 150 * MB, 75 * MB
#: How many bodies are sent at once, and their size (MB).
LARGE, SMALL = (16, 45), (160, 5)
#: The most expensive kinds are also sent in the small size. A good GIF is sent for comparison.
GOOD = "GIF, a good one"
AS_SMALL = [GOOD, "GIF, loop counts", "JPEG, empty segments", "WebP, animation controls"]
PLAN = [(kind, LARGE) for kind in [GOOD, *bodies.BODIES]] + [(kind, SMALL) for kind in AS_SMALL]
_HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n'
    b"Content-Type: image/gif\r\n\r\n"
)
_TAIL = b"\r\n--b--\r\n"


@dataclass
class Crowd:
    """The result of one crowd: answers by status and code, the time of the slowest (s), the p95 of
    the other requests (ms), how much the web process grew and how much of that it kept (bytes), and
    how many files were left behind."""

    kind: str
    count: int
    megabytes: int
    answers: Counter[str]
    seconds: float
    p95_ms: float
    growth: int
    kept: int
    left: int

    @property
    def stood(self) -> bool:
        """Whether all requirements were met. Beside many good bodies, requests may wait."""
        quick = self.p95_ms <= MOST_P95_MS or self.count > LARGE[0]
        fine = all(answer[:3] in {"202", "503"} or answer[:1] == "4" for answer in self.answers)
        small = self.growth <= MOST_GROWTH and self.kept <= MOST_KEPT
        return fine and quick and small and self.seconds <= MOST_SECONDS and not self.left


def gather(port: int, web: psutil.Process, cache: Path, kind: str, of: tuple[int, int]) -> Crowd:
    """Send a crowd of bodies at once.

    Parameters:
      port: the web server's.
      web: the process that answers requests.
      cache: the folder of the cache.
      kind, of: the kind of the bodies, and how many of which size (MB).
    """
    count, megabytes = of
    before, present = web.memory_info().rss, len(files_below(cache))
    spawning = multiprocessing.get_context("spawn")  # it does not share our Python lock
    outcomes: Queue[tuple[str, float]] = spawning.Queue()
    ready, go = spawning.Event(), spawning.Event()
    senders = spawning.Process(
        target=_send_all, args=(port, kind, count, megabytes, outcomes, ready, go)
    )
    senders.start()
    ready.wait(60)
    go.set()
    waits: list[float] = []
    most, told = before, []
    while len(told) < count:
        waits.append(_look(port))
        most = max(most, web.memory_info().rss)
        while not outcomes.empty():
            told.append(outcomes.get())
        time.sleep(0.01)
    senders.join()
    answers = Counter(answer for answer, _ in told)
    accepted = answers["202"]
    with suppress(AssertionError):
        eventually(lambda: web.memory_info().rss - before <= MOST_KEPT // 2, within=3)
    left = len(files_below(cache)) - present - accepted
    return Crowd(
        kind, count, megabytes, answers, max(seconds for _, seconds in told),
        1000 * sorted(waits)[int(0.95 * (len(waits) - 1))], most - before,
        web.memory_info().rss - before, left,
    )  # fmt: skip


def _look(port: int) -> float:
    """How long a request for the list of GIFs takes (s)."""
    started = time.monotonic()
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=MOST_SECONDS)
        connection.request("GET", "/api/gifs")
        if connection.getresponse().read():
            connection.close()
            return time.monotonic() - started
    return float(MOST_SECONDS)


def _send_all(
    port: int, kind: str, count: int, megabytes: int,
    outcomes: "Queue[tuple[str, float]]", ready: threading.Event, go: threading.Event,
) -> None:  # fmt: skip
    size = megabytes * MB
    body = bodies.good_gif(size) if kind == GOOD else bodies.of(kind, size)
    ready.set()
    go.wait()
    threads = [
        threading.Thread(target=lambda: outcomes.put(_send(port, body))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _send(port: int, body: bytes) -> tuple[str, float]:
    """Send one body; returns the status and code of the answer, and how long it took (s)."""
    started, answer = time.monotonic(), b""
    length = len(_HEAD) + len(body) + len(_TAIL)
    head = (
        b"POST /api/gifs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % length
    )
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 2 * MOST_SECONDS) as connection,
    ):
        with suppress(OSError):  # the server may reject it before its end
            connection.sendall(head + _HEAD)
            connection.sendall(body)
            connection.sendall(_TAIL)
        while piece := connection.recv(65_536):
            answer += piece
    status = answer[9:12].decode() or "none"
    code = answer.partition(b'"code": "')[2].partition(b'"')[0].decode()
    return f"{status} {code}" if status >= "4" and code else status, time.monotonic() - started


def attack(folder: Path, step: Callable[[int], None] = lambda done: None) -> list[Crowd]:
    """Send all kinds of bodies to a new web server; call `step` after each kind."""
    site, crowds = Site(folder, {"web": 1}), []
    cache = site.stack.var / "cache"
    try:
        site.start()
        for kind, of in PLAN:
            [web] = psutil.Process(site.processes[0].popen.pid).children()
            crowds.append(gather(site.stack.port, web, cache, kind, of))
            for name in files_below(cache):  # no worker runs that could store them
                (cache / name).unlink()
            step(1)
    finally:
        site.stop()
    return crowds


def show(crowds: list[Crowd], console: Console) -> None:
    """Print the results as a table."""
    names = ["bodies", "sent", "answers", "s", "GET p95, ms", "grew, MB", "kept, MB", "left"]
    table = Table(*names, box=None, pad_edge=False)
    for crowd in crowds:
        table.add_row(
            crowd.kind, f"{crowd.count} × {crowd.megabytes} MB",
            ", ".join(f"{number} {answer}" for answer, number in sorted(crowd.answers.items())),
            f"{crowd.seconds:.1f}", f"{crowd.p95_ms:.0f}", f"{crowd.growth / MB:.0f}",
            f"{crowd.kept / MB:.0f}", str(crowd.left), style="" if crowd.stood else "red",
        )  # fmt: skip
    console.print(table)
