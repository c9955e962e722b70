"""Places for waiting requests: each address has a number of them, and so has each process."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from gifster.api import places
from gifster.api.places import NoPlace, Places
from tests import images
from tests.machine import eventually
from tests.stack import Stack

WEB = {
    "GIFSTER_LIMITS__ENABLED": "true",
    "GIFSTER_LIMITS__WAITING": "3",
    # So that requests can come from any address.
    "GIFSTER_WEB__TRUSTED_PROXIES": '["127.0.0.0/8"]',
}


def test_an_address_has_a_number_of_places():
    room = Places(2)
    first = room.take("192.0.2.1", ["a"])
    room.take("192.0.2.1", ["a"])

    with pytest.raises(NoPlace, match="Your address has 2 requests"):
        room.take("192.0.2.1", ["a"])
    room.take("192.0.2.2", ["a"])

    # A request that leaves twice makes room for one
    first.leave()
    first.leave()
    room.take("192.0.2.1", ["a"])
    with pytest.raises(NoPlace):
        room.take("192.0.2.1", ["a"])


@pytest.mark.parametrize(("waiting", "named"), [(3, 1_000), (1_000, 3)])
def test_a_process_has_a_number_of_places(
    monkeypatch: pytest.MonkeyPatch, waiting: int, named: int
):
    monkeypatch.setattr(places, "MOST_WAITING", waiting)
    monkeypatch.setattr(places, "MOST_NAMED", named)
    room = Places(None)
    held = [room.take(f"192.0.2.{number}", ["a"]) for number in range(3)]

    with pytest.raises(NoPlace, match="Too many requests"):
        room.take("192.0.2.9", ["a"])

    held[0].leave()
    room.take("192.0.2.9", ["a"])


@contextmanager
def stream(web: Stack, address: str) -> Iterator[bytes]:
    """An open event stream, and its beginning."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as connection:
        head = f"GET /events?gif=nope HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n"
        connection.sendall(head.encode())
        answer = b""
        while b'"' not in answer:
            answer += connection.recv(65536)
        yield answer


def test_an_address_has_a_number_of_event_streams(web: Stack):
    with ExitStack() as opened:
        for _ in range(3):
            assert b" 200 OK" in opened.enter_context(stream(web, "192.0.2.1"))

        answer = opened.enter_context(stream(web, "192.0.2.1"))
        assert b" 429 Too Many Requests" in answer
        assert b"retry-after: 30" in answer.lower()
        assert b"application/problem+json" in answer
        assert b" 200 OK" in opened.enter_context(stream(web, "192.0.2.2"))

    # Streams whose clients have gone give up their places
    def has_room() -> bool:
        with stream(web, "192.0.2.1") as answer:
            return b" 200 OK" in answer

    assert eventually(has_room)


def test_a_page_without_a_place_gets_its_answer_at_once(web: Stack):
    gif_id = web.upload(images.gif()).json()["id"]
    page = {"X-Forwarded-For": "192.0.2.3"}
    shown = {"shown": {gif_id: ["queued", ""]}, "wait_s": 20}
    with ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(stream(web, "192.0.2.3"))

        # With a place it would wait for a change, and without a worker nothing changes
        answer = web.client.post("/cards", json=shown, headers=page)

        assert (answer.status_code, answer.json()) == (200, {"cards": {}})
        assert answer.headers["Retry-After"] == "5"
        # It gets the cards that it does not show yet all the same
        shown["shown"] = {gif_id: ["ready", "abc"]}
        cards = web.client.post("/cards", json=shown, headers=page).json()["cards"]
        assert json.dumps(cards).count("data-state") == 1
