"""Pages and programs learn when GIFs change state: cards for pages, event streams (SSE) for
programs."""

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gifster.api import live
from gifster.app.access import STRANGER
from gifster.app.models import Gif
from tests import images
from tests.app.gifs import added
from tests.machine import eventually
from tests.stack import Stack


def listen(stack: Stack, *ids: str, until: Callable[[list[dict]], bool]) -> list[dict]:
    events: list[dict] = []
    with stack.client.stream("GET", "/events", params=[("gif", i) for i in ids]) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        for line in stream.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
                if until(events):
                    break
    return events


def test_the_present_state_comes_first(stack: Stack):
    done = stack.finished(stack.upload(images.gif()).json()["id"])

    events = listen(stack, done["id"], "nope", until=lambda events: len(events) == 2)

    assert {"id": done["id"], "state": "ready", "image": done["image"]["sha256"]} in events
    assert {"id": "nope", "state": None, "image": None} in events


def test_each_change_follows(new_stack: Callable[..., Stack]):
    # Given an upload, a page that waits for it, and no worker
    stack = new_stack()
    stack.start_web()
    gif_id = stack.upload(images.noisy_gif((500, 400), 40)).json()["id"]
    seen: list[tuple[str, bool]] = []

    def watch() -> None:
        def note(events: list[dict]) -> bool:
            seen[:] = [(event["state"], event["image"] is not None) for event in events]
            return seen[-1][0] == "ready"

        listen(stack, gif_id, until=note)

    page = threading.Thread(target=watch)
    page.start()
    eventually(lambda: seen == [("queued", False)])

    # When a worker starts
    with stack.held_while_processing(gif_id):
        eventually(lambda: seen == [("queued", False), ("processing", False)])
    page.join(60)

    # I expect an event for every state
    told = [("queued", False), ("processing", False), ("processing", True), ("ready", True)]
    assert [one for one in told if one in seen] == seen
    assert seen[-1] == ("ready", True)


def test_open_streams_do_not_delay_a_stop(new_stack: Callable[..., Stack]):
    # Given a web server that would give its last requests an hour
    stack = new_stack(GIFSTER_WEB__GRACE_S="3600")
    web = stack.start_web()
    with stack.client.stream("GET", "/events?gif=nope") as stream:
        lines = stream.iter_lines()
        next(lines)

        web.terminate()
        eventually(lambda: web.poll() is not None)


def waiting_gif() -> Gif:
    return added()


def ask(stack: Stack, shown: Any, wait_s: Any = 0) -> httpx.Response:
    return stack.client.post("/cards", json={"shown": shown, "wait_s": wait_s})


def test_a_page_gets_the_cards_that_it_does_not_show_yet(stack: Stack):
    done = stack.finished(stack.upload(images.gif(), title="Shown").json()["id"])
    gif_id, now = done["id"], ["ready", done["image"]["sha256"]]

    cards = ask(stack, {gif_id: ["queued", ""], "nope": ["queued", ""]}, wait_s=9).json()["cards"]
    assert cards["nope"] is None
    assert f'data-gif="{gif_id}" data-state="ready" data-image="{now[1]}"' in cards[gif_id]

    # It gets no card that it shows already, and waits no longer than it asked to
    assert ask(stack, {gif_id: now, "nope": [None, None]}, wait_s=0).json() == {"cards": {}}


def test_an_answer_waits_for_a_change(new_stack: Callable[..., Stack]):
    stack = new_stack()
    stack.start_web()
    gif_id = stack.upload(images.gif()).json()["id"]
    answers: list[httpx.Response] = []
    page = threading.Thread(
        target=lambda: answers.append(ask(stack, {gif_id: ["queued", ""]}, wait_s=20))
    )
    page.start()

    stack.start_worker()

    page.join(60)
    card = answers[0].json()["cards"][gif_id]
    assert 'data-state="processing"' in card or 'data-state="ready"' in card


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "shown is null: use an object of 1 to 100 GIFs."),
        ({"shown": {}}, "shown is {}: use an object"),
        ({"shown": ["a"]}, 'shown is ["a"]: use an object'),
        ({"shown": {"a": "queued"}}, "shown['a'] is 'queued': use [state, image], each a text or"),
        ({"shown": {"a": ["queued", 1]}}, "shown['a'] is [\"queued\", 1]: use"),
        ({"shown": {"a": ["queued", None, None]}}, "shown['a'] is [\"queued\", null, null]: use"),
        ({"shown": {f"{n}": ["queued", ""] for n in range(101)}}, 'shown is {"0": ["queued", ""]'),
        ({"shown": {"a": ["queued", ""]}, "wait_s": 21}, "wait_s is 21: use 0 to 20 seconds."),
        ({"shown": {"a": ["queued", ""]}, "wait_s": -1}, "wait_s is -1: use 0"),
        ({"shown": {"a": ["queued", ""]}, "wait_s": "1"}, "wait_s is '1': use 0"),
        ({"shown": {"a": ["queued", ""]}, "wait_s": True}, "wait_s is true: use 0"),
    ],
)
def test_requests_that_no_page_would_send_are_refused(stack: Stack, document: Any, said: str):
    answer = stack.client.post("/cards", json=document)

    assert (answer.status_code, answer.json()["code"]) == (422, "field_invalid")
    assert answer.json()["detail"].startswith(said)


def seen_by_a_stranger(gif_ids: list[str]) -> dict[str, live.Known]:
    return {gif_id: live.known(one, STRANGER) for gif_id, one in live.read(gif_ids).items()}


@pytest.mark.parametrize("gif_id", ["\0", "\ud800", "a" * 9999, "%", ""])
def test_an_impossible_id_is_gone_and_delays_nobody(booted: Any, gif_id: str):
    gif = waiting_gif()

    found = seen_by_a_stranger([gif_id, gif.id])

    assert found == {gif_id: (None, None), gif.id: ("queued", None)}


def test_a_query_takes_any_number_of_gifs(booted: Any):
    # More than the parameters that a query may have: 700 pages with 100 cards each
    gif = waiting_gif()

    found = seen_by_a_stranger([gif.id, *(f"gif{number}" for number in range(70_000))])

    assert len(found) == 70_001
    assert found[gif.id] == ("queued", None)


def test_open_requests_do_not_delay_a_stop(new_stack: Callable[..., Stack]):
    # Given a page that waits for longer than a web server gives its last requests
    stack = new_stack()
    web = stack.start_web()
    gif_id = stack.upload(images.gif()).json()["id"]
    shown = json.dumps({"shown": {gif_id: ["queued", ""]}, "wait_s": 20}).encode()
    with socket.create_connection(("127.0.0.1", stack.port)) as page:
        page.sendall(b"POST /cards HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n")
        page.sendall(b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(shown))
        assert page.recv(9999) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the server reads it
        page.sendall(shown)
        page.settimeout(1)  # nothing comes: it waits
        with pytest.raises(TimeoutError):
            page.recv(1)

        # When the server is stopped, I expect the page to have its answer
        web.terminate()
        eventually(lambda: web.poll() is not None)
        page.settimeout(60)
        assert page.recv(9999).endswith(b'{"cards":{}}')
