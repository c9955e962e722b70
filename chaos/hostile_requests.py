"""Thousands of malformed and hostile requests to a running Gifster, for `make hostile`.

The requests are generated from `/openapi.json` by schemathesis, mutated images, mutated multipart
bodies, odd texts in every place that a client can fill (`odd`), and bytes that are not HTTP.

No request may get a 500, and no process may die. Accepted uploads must become ready or failed, with
nothing left behind. The web process must not grow after the first quarter of the requests.
"""

import random
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import hypothesis
import hypothesis.errors
import psutil
import schemathesis
from hypothesis import strategies
from schemathesis.generation import GenerationMode

from chaos import odd
from chaos.damage import mutate
from chaos.site import Site
from chaos.stream import Promises
from chaos.verdict import counts_of, fsck, settle
from gifster.api.openapi import document
from tests import images

MB = 1_000_000
#: How much the web process may grow after the first quarter of the requests (bytes).
GROWTH_BYTES = 12 * MB
LIMIT_BYTES = 300_000
BOUNDARY = "----hostile"
#: How many of 20 requests are of each kind.
SHARES = {"from /openapi.json": 7, "mutated images": 6, "mutated multiparts": 3, "odd texts": 3,
          "no HTTP": 1}  # fmt: skip


@dataclass
class Answers:
    """The answers, and the memory of the web process meanwhile (bytes)."""

    by_kind: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(counts.total() for counts in self.by_kind.values())

    def of(self, kind: str) -> Counter[str]:
        return self.by_kind.setdefault(kind, Counter())

    @property
    def growth(self) -> int:
        """The peak of the last quarter less the peak of the first (bytes)."""
        quarter = max(1, len(self.memory) // 4)
        return max(self.memory[-quarter:]) - max(self.memory[:quarter])


class Attack:
    """Sends requests to a site, in rounds of each kind.

    Parameters:
      site: the Gifster.
      seed: makes the random choices repeatable.
    """

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.answers = site, Answers()
        self._chance = random.Random(seed)
        self._base = f"http://127.0.0.1:{site.stack.port}"
        self._client = httpx.Client(base_url=self._base, timeout=30)
        self._sources = [
            images.gif((120, 90), [40] * 5),
            images.gif((64, 64), [20] * 30, loop=0),
            images.still("PNG", (120, 90)),
            images.still("JPEG", (120, 90)),
            images.still("WEBP", (120, 90)),
            images.animated("WEBP", [40, 50, 60], (80, 60)),
            images.animated("PNG", [40, 50, 60], (80, 60)),
        ]
        self._ids = [self._upload(source).json()["id"] for source in self._sources]
        binary = strategies.sampled_from([*self._sources, b"", b"GIF89a"])
        schemathesis.openapi.format("binary", binary)
        schema = schemathesis.openapi.from_dict(document())
        self._operations = [
            operation.ok().as_strategy(generation_mode=mode)
            for operation in schema.get_all_operations()
            for mode in GenerationMode
        ]
        self._odd = odd.again_and_again(
            self._client, self._ids[0], self._sources[1], site.stack.admin()
        )
        self._web = web_process(site)

    def run(self, requests: int, step: Callable[[int], None]) -> Answers:
        """Send this many requests; call `step` with the number of each round."""
        kinds = {
            "from /openapi.json": self._described,
            "mutated images": self._images,
            "mutated multiparts": self._multiparts,
            "odd texts": self._odd_texts,
            "no HTTP": self._no_http,
        }
        size = 20 * len(self._operations)
        while (left := requests - self.answers.total) > 0:
            before = self.answers.total
            for kind, send in kinds.items():
                send(self.answers.of(kind), max(1, min(size, left) * SHARES[kind] // 20))
            self.answers.memory.append(self._web.memory_info().rss)
            step(self.answers.total - before)
        self._client.close()
        return self.answers

    def _described(self, counts: Counter[str], number: int) -> None:
        for strategy in self._operations:
            seed = self._chance.getrandbits(32)
            each = max(1, number // len(self._operations))

            @hypothesis.seed(seed)
            @hypothesis.settings(
                max_examples=each,
                deadline=None,
                database=None,
                phases=[hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(strategy)
            def send(case: schemathesis.Case) -> None:
                if "gif_id" in (case.path_parameters or {}) and self._chance.random() < 0.6:
                    case.path_parameters["gif_id"] = self._chance.choice(self._ids)
                answer = case.call(base_url=self._base, timeout=30)
                self._note(counts, answer.status_code, answer.headers.get("content-type", [""]),
                           answer.text)  # fmt: skip

            with suppress(
                hypothesis.errors.Unsatisfiable
            ):  # /healthz has no parameters to get wrong
                send()

    def _images(self, counts: Counter[str], number: int) -> None:
        for _ in range(number):
            self._noted(counts, self._upload(mutate(self._chance.choice(self._sources),
                                                    self._chance)))  # fmt: skip

    def _multiparts(self, counts: Counter[str], number: int) -> None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
        for _ in range(number):
            whole = (
                f'{head}title"\r\n\r\nA title\r\n{head}tags"\r\n\r\na,b\r\n{head}image"; '
                'filename="../../a\\u0000.gif"\r\nContent-Type: image/gif\r\n\r\n'
            ).encode() + self._sources[0] + f"\r\n--{BOUNDARY}--\r\n".encode()  # fmt: skip
            # Mutate mostly the headers of the parts: they are a small part of the body.
            cut = self._chance.choice([100, 250, len(whole)])
            body = mutate(whole[:cut], self._chance) + whole[cut:]
            kind = f"multipart/form-data; boundary={BOUNDARY}".encode()
            if self._chance.random() < 0.2:
                kind = mutate(kind, self._chance).translate(None, b"\r\n\0")
            with suppress(httpx.LocalProtocolError):  # httpx itself refuses to send that
                method, path = self._chance.choice(
                    [("POST", "/api/gifs"), ("POST", "/gifs"),
                     ("PUT", f"/api/gifs/{self._chance.choice(self._ids)}/image")])  # fmt: skip
                answer = self._send(method, path, body, kind)
                self._noted(counts, answer)

    def _odd_texts(self, counts: Counter[str], number: int) -> None:
        odd.send_some(self._client, self._odd, number,
                      lambda status, text, of: self._note(counts, status, [of], text))  # fmt: skip

    def _no_http(self, counts: Counter[str], number: int) -> None:
        request = (
            b"POST /api/gifs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: 17\r\nCookie: gifster_session=a\r\nAuthorization: Bearer b\r\n"
            b'Sec-Fetch-Site: same-origin\r\n\r\n{"title": "hello"}'
        )
        for _ in range(number):
            answer = ""
            with (
                suppress(OSError),  # the server may hang up at any moment
                socket.create_connection(("127.0.0.1", self.site.stack.port), 10) as connection,
            ):
                connection.sendall(mutate(request, self._chance))
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65536).decode(errors="replace")
            status = int(answer[9:12]) if answer.startswith("HTTP/1.") else 0
            self._note(counts, status, [""], answer)

    def _upload(self, content: bytes) -> httpx.Response:
        return self._client.post("/api/gifs", files={"image": ("a.gif", content, "image/gif")})

    def _send(self, method: str, path: str, body: bytes, kind: bytes) -> httpx.Response:
        headers = [(b"Content-Type", kind)]
        return self._client.request(method, path, content=body, headers=headers)

    def _noted(self, counts: Counter[str], answer: httpx.Response) -> None:
        self._note(counts, answer.status_code, [answer.headers.get("content-type", "")],
                   answer.text)  # fmt: skip

    def _note(self, counts: Counter[str], status: int, kinds: list[str], text: str) -> None:
        counts[f"{status // 100}xx" if status else "closed"] += 1
        if status >= 500 or "Traceback" in text:
            self.answers.wrong.append(f"{status} {kinds[0]} {text[:200]}")


def web_process(site: Site) -> psutil.Process:
    """The process that answers requests. Its parent only supervises it."""
    [web] = [process for process in site.processes if process.role == "web"]
    return psutil.Process(web.popen.pid).children()[0]


@dataclass
class Outcome:
    """The result of an attack."""

    answers: Answers
    #: How many processes ended meanwhile.
    died: int
    #: How many accepted GIFs are in which state.
    states: Counter[str]
    #: How many files and rows do not match.
    left: int

    @property
    def stood(self) -> bool:
        """Whether nothing went wrong, apart from memory."""
        settled = set(self.states) <= {"ready", "failed"}
        return settled and not (self.answers.wrong or self.died or self.left)


def attack(
    folder: Path,
    requests: int,
    seed: int,
    step: Callable[[int], None] = lambda done: None,
    database_url: str = "sqlite:///var/gifster.db",
) -> Outcome:
    """Start a Gifster, send it at least this many requests, and check what is left."""
    site = Site(
        folder,
        {"web": 1, "worker": 1, "scheduler": 1},
        GIFSTER_DATABASE__URL=database_url,
        GIFSTER_UPLOADS__MAX_BYTES=str(LIMIT_BYTES),
        GIFSTER_UPLOADS__MAX_PIXELS="1000000",
    )
    try:
        site.start()
        before = [process.popen.pid for process in site.processes]
        answers = Attack(site, seed).run(requests, step)
        states = Counter(gif["state"] for gif in settle(site, Promises()).values())
        died = sum(
            was != process.popen.pid for was, process in zip(before, site.processes, strict=True)
        )
        site.stack.run("gifster", "fsck", "--repair", "--older-than", "0")
        settle(site, Promises(), 20)
        left = sum(counts_of(fsck(site)).values())
    finally:
        site.stop()
    return Outcome(answers, died, states, left)
