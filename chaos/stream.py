"""The clients of a scenario: they upload, replace, delete and sign up, and record the answers.

Each client is a thread with a fixed number of uploads. It repeats a request that gets no answer or
a 5xx. Nobody knows what such a request promised, so only real answers count.
"""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from chaos.site import Site
from tests import images

CLIENTS = 4
#: The widths tell which image is which.
WIDTH, NEW_WIDTH = 260, 300


@dataclass
class Promises:
    """What Gifster has promised: ids of GIFs, and addresses of users."""

    #: Uploads that got a 202, and when (seconds since the epoch).
    accepted: dict[str, float] = field(default_factory=dict)
    #: Replacements that got a 202. `unsure`: those that got no answer.
    replaced: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    #: Deletions that got a 204 or a 404.
    deleted: set[str] = field(default_factory=set)
    signed_up: set[str] = field(default_factory=set)
    #: How often there was no answer, or a 5xx.
    unanswered: int = 0
    refused: list[str] = field(default_factory=list)
    #: The longest time until an upload had a 202 (seconds).
    slowest_s: float = 0.0

    def joined(self, later: "Promises") -> "Promises":
        """These promises, with those of a later stream."""
        return Promises(
            self.accepted | later.accepted,
            self.replaced | later.replaced,
            self.unsure | later.unsure,
            self.deleted | later.deleted,
            self.signed_up | later.signed_up,
            self.unanswered + later.unanswered,
            self.refused + later.refused,
            max(self.slowest_s, later.slowest_s),
        )


class Stream:
    """Sends uploads until enough have been accepted.

    Parameters:
      uploads: how many.
      seed: makes the random choices repeatable.
      per_s: at most this many uploads per second.
    """

    def __init__(self, site: Site, uploads: int, seed: int, per_s: float) -> None:
        self.site, self.uploads, self.promises = site, uploads, Promises()
        self._seed, self._pause_s = seed, CLIENTS / per_s
        self._lock = threading.Lock()
        self._old = [images.gif((WIDTH, 180), [40] * n) for n in range(3, 9)]
        self._new = images.gif((NEW_WIDTH, 200), [40] * 3)
        self.over = threading.Event()
        #: When it is set, each client ends after its present upload.
        self.enough = threading.Event()

    def run(self) -> Promises:
        """Send everything; returns after the last answer, or when `over` is set."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            for done in [clients.submit(self._client, number) for number in range(CLIENTS)]:
                done.result()
        return self.promises

    def _client(self, number: int) -> None:
        chance = random.Random(self._seed * 1000 + number)
        share = self.uploads // CLIENTS + (number < self.uploads % CLIENTS)
        with self.site.client() as client:
            for _ in range(share):
                if self.over.is_set() or self.enough.is_set():
                    return
                started = time.monotonic()
                self._upload(client, chance)
                self.over.wait(max(0.0, self._pause_s - (time.monotonic() - started)))

    def _upload(self, client: httpx.Client, chance: random.Random) -> None:
        files = {"image": ("a.gif", chance.choice(self._old), "image/gif")}
        answer = self._ask(client, "POST", "/api/gifs", files=files)
        if answer is None:
            return
        if answer.status_code != 202:
            self.promises.refused.append(f"{answer.status_code} {answer.text[:200]}")
            return
        gif_id = answer.json()["id"]
        with self._lock:
            self.promises.accepted[gif_id] = time.time()
        fate = chance.random()
        if fate < 0.1:
            self.over.wait(chance.uniform(0, 0.5))
            self._replace(client, gif_id)
        elif fate < 0.2:
            self.over.wait(chance.uniform(0, 0.5))
            if self._ask(client, "DELETE", f"/api/gifs/{gif_id}") is not None:
                self.promises.deleted.add(gif_id)
        elif fate < 0.22:
            self._sign_up(client, f"{gif_id.lower()}@example.org")

    def _replace(self, client: httpx.Client, gif_id: str) -> None:
        files = {"image": ("new.gif", self._new, "image/gif")}
        before = self.promises.unanswered
        answer = self._ask(client, "PUT", f"/api/gifs/{gif_id}/image", files=files)
        if answer is not None and answer.status_code == 202:
            self.promises.replaced.add(gif_id)
        elif self.promises.unanswered != before:
            self.promises.unsure.add(gif_id)

    def _sign_up(self, client: httpx.Client, email: str) -> None:
        answer = self._ask(
            client, "POST", "/api/users", json={"email": email, "password": "correct horse"}
        )
        if answer is not None and answer.status_code in (201, 409):
            self.promises.signed_up.add(email)

    def _ask(self, client: httpx.Client, method: str, path: str, **body: Any) -> Any:
        while not self.over.is_set():
            started = time.monotonic()
            try:
                answer = client.request(method, path, **body)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code < 500:
                if answer.status_code == 202:
                    with self._lock:
                        took_s = time.monotonic() - started
                        self.promises.slowest_s = max(self.promises.slowest_s, took_s)
                return answer
            with self._lock:
                self.promises.unanswered += 1
            self.over.wait(0.2)
        return None
