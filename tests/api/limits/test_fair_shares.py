"""Clients share the threads for slow work fairly: slow URLs, and slow checks."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from gifster.api.fair_queue import FairQueue, TooBusy
from tests import images
from tests.machine import eventually, files_below
from tests.stack import Stack

WEB = {"GIFSTER_UPLOADS__PRIVATE_REMOTES": "true", "GIFSTER_AUTH__ANONYMOUS_UPLOADS": "false"}


class Slow:
    """A real server. It answers `/slow` when a test says so, and everything else at once."""

    def __init__(self) -> None:
        self.asked, self.open = threading.Semaphore(0), threading.Event()
        slow = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/slow"):
                    slow.asked.release()
                    slow.open.wait(60)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(images.gif())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.open.set()
    made.server.shutdown()
    made.server.server_close()


def person(web: Stack, name: str) -> Callable[[str], httpx.Response]:
    """Somebody who signs up, and then uploads by URL."""
    answer = web.client.post(
        "/api/users",
        json={"email": f"{name.encode().hex()}@example.org", "password": "correct horse"},
    )
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    return lambda url: web.client.post(
        "/api/gifs", json={"remote_image_url": url, "title": name}, headers=headers
    )


def test_many_slow_urls_of_one_user_delay_nobody_else(web: Stack, slow: Slow):
    ann, bob = person(web, "ann"), person(web, "bob")
    with ThreadPoolExecutor(40) as threads:
        crowd = [threads.submit(ann, f"{slow.url}/slow/{n}") for n in range(40)]
        try:
            # Given one user's fetches: as many as may run at once, and the rest waiting or refused
            assert slow.asked.acquire(timeout=60)
            assert slow.asked.acquire(timeout=60)
            eventually(lambda: sum(future.done() for future in crowd) >= 8)

            assert bob(f"{slow.url}/quick").status_code == 202
            assert not slow.asked.acquire(blocking=False)  # no third one of Ann's
        finally:
            slow.open.set()
    assert {answer.status_code for answer in results(crowd)} <= {202, 503}


def test_a_fetched_file_of_which_no_gif_is_made_is_deleted(web: Stack, slow: Slow):
    slow.open.set()
    before = files_below(web.var / "cache")

    answer = person(web, "\x07")(f"{slow.url}/slow")

    assert (answer.status_code, answer.json()["code"]) == (422, "title_invalid")
    assert slow.asked.acquire(blocking=False)  # it was fetched
    assert files_below(web.var / "cache") == before


def results(futures: list[Future[httpx.Response]]) -> list[httpx.Response]:
    return [future.result() for future in futures]


class Client:
    """Clients of a queue, whose work ends when a test says so."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue, self.order = queue, []
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, whose: str, *, stay: asyncio.Event | None = None) -> asyncio.Task[None]:
        async def work() -> None:
            async with self.queue.place("Full.", whose, 20):
                self.order.append(whose)
                if stay is not None:
                    await stay.wait()

        task = asyncio.create_task(work())
        self.tasks.append(task)
        return task


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_clients_take_turns():
    async def crowd() -> list[str]:
        clients, gate = Client(FairQueue(1, 100, "test")), asyncio.Event()
        clients.come("ann", stay=gate)
        await settled()
        for whose in ["ann", "ann", "ann", "bob", "bob", "cid"]:
            clients.come(whose)
        await settled()
        gate.set()
        await asyncio.gather(*clients.tasks)
        return clients.order

    assert asyncio.run(crowd()) == ["ann", "ann", "bob", "cid", "ann", "bob", "ann"]


def test_the_client_with_most_places_loses_one_when_all_are_taken():
    async def crowd() -> tuple[list[object], list[str]]:
        clients, gate = Client(FairQueue(2, 4, "test")), asyncio.Event()
        anns = [clients.come("ann", stay=gate) for _ in range(4)]
        await settled()
        bob = clients.come("bob", stay=gate)
        await settled()
        gate.set()
        return await asyncio.gather(*anns, bob, return_exceptions=True), clients.order

    outcomes, order = asyncio.run(crowd())

    # Ann's last request is refused, and Bob's is not
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [TooBusy, type(None)]
    assert order[:2] == ["ann", "bob"]


def test_a_client_that_goes_away_gives_up_its_place():
    async def crowd() -> list[str]:
        clients, gate = Client(FairQueue(1, 3, "test")), asyncio.Event()
        clients.come("ann", stay=gate)
        waiting = clients.come("ann")
        await settled()
        waiting.cancel()
        await settled()
        clients.tasks[0].cancel()
        await settled()
        await clients.come("bob")
        return clients.order

    assert asyncio.run(crowd()) == ["ann", "bob"]


def test_a_place_is_not_given_to_a_client_that_has_just_gone_away():
    async def crowd() -> list[str]:
        clients, gate = Client(FairQueue(1, 3, "test")), asyncio.Event()
        clients.come("ann", stay=gate)
        waiting, bob = clients.come("cid"), clients.come("bob")
        await settled()
        clients.tasks[0].cancel()
        waiting.cancel()
        await asyncio.gather(*clients.tasks, return_exceptions=True)
        bob.result()
        return clients.order

    assert asyncio.run(crowd()) == ["ann", "bob"]
