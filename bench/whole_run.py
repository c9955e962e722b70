"""One run of one side of `bench.whole`: send all files, and watch until all are ready."""

import http.client
import itertools
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bench.processes import Processes

CONNECTIONS = 8
LOOK_S = 0.025
#: An upload that is not ready so long after the last one that was counts as failed (seconds).
PATIENCE_S = 300

Files = list[tuple[str, bytes]]


@dataclass
class Run:
    """What was seen. Times are in seconds since the first byte of the first upload."""

    #: When the last upload was accepted.
    accepted: float
    #: For each upload, when its first thumbnail and when all of it could be seen.
    shown: list[float]
    ready: list[float]
    failed: int
    #: By version, when its files were written.
    versions: dict[str, list[float]]
    #: By role: CPU seconds, and the highest memory in bytes.
    cpu: dict[str, float]
    memory: dict[str, int]

    @property
    def wall(self) -> float:
        return max(self.ready)

    @property
    def shown_part(self) -> float:
        """When the last first thumbnail could be seen, as a part of the whole time."""
        return max(self.shown) / self.wall


class _Watch:
    """Looks at the uploads of a side until all are ready, and notes when each could be seen.

    It reads the database, so that no request of its own burdens the server.
    """

    def __init__(self, side: Any, count: int) -> None:
        self._side, self._count = side, count
        self._known = set(side.states())
        self.shown: dict[str, float] = {}
        self.ready: dict[str, float] = {}
        self.failed: set[str] = set()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until all uploads are ready or failed."""
        self._thread.join()

    def _look(self) -> None:
        last = time.perf_counter()
        while len(self.ready) + len(self.failed) < self._count:
            time.sleep(LOOK_S)
            states, now, before = self._side.states(), time.perf_counter(), len(self.ready)
            for upload in states.keys() - self._known - self.ready.keys():
                if states[upload].shown:
                    self.shown.setdefault(upload, now)
                if states[upload].ready:
                    self.ready[upload] = now
                if states[upload].failed:
                    self.failed.add(upload)
            last = now if len(self.ready) > before else last
            if now - last > PATIENCE_S:
                self.failed |= states.keys() - self._known - self.ready.keys()
                return


def run(side: Any, files: Files) -> Run:
    """Send the files to a side that runs, and has nothing to do."""
    warm_up = _Watch(side, 1)
    _upload_all(side, files[:1])
    warm_up.finish()
    processes = Processes(side.roots, side.makes_pictures)
    watch = _Watch(side, len(files))
    processes.begin()
    started, clock = time.perf_counter(), time.time()
    _upload_all(side, files)
    accepted = time.perf_counter() - started
    watch.finish()
    processes.end()
    return Run(
        accepted=accepted,
        shown=[moment - started for moment in watch.shown.values()],
        ready=[moment - started for moment in watch.ready.values()],
        failed=len(watch.failed),
        versions={
            version: [moment - clock for moment in moments if moment >= clock]
            for version, moments in side.written().items()
        },
        cpu=processes.cpu,
        memory=processes.peak,
    )


def _upload_all(side: Any, files: Files) -> None:
    """Send the files over `CONNECTIONS` connections.

    Raises:
      RuntimeError: an upload was refused.
    """
    numbers, boundary = itertools.count(), secrets.token_hex(16)
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=120)
        while (number := next(numbers)) < len(files):
            name, content = files[number]
            head = (
                f'--{boundary}\r\nContent-Disposition: form-data; name="image"; '
                f'filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
            )
            body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
            connection.request("POST", side.path, body, kind)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 202:
                raise RuntimeError(f"{name}: HTTP {answer.status}: {text[:500]!r}")
        connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(send) for _ in range(CONNECTIONS)]:
            done.result()
