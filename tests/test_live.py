"""Server-sent events: a page is told when its GIFs change state."""

import json
import threading
from collections.abc import Callable

from tests import images
from tests.stack import Stack, eventually


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
    # Given an upload that no worker has come to, and a page that waits for it
    stack = new_stack()
    stack.start_web()
    gif_id = stack.upload(images.noisy_gif((900, 700), 45)).json()["id"]
    seen: list[tuple[str, bool]] = []

    def watch() -> None:
        def note(events: list[dict]) -> bool:
            seen[:] = [(event["state"], event["image"] is not None) for event in events]
            return seen[-1][0] == "ready"

        listen(stack, gif_id, until=note)

    page = threading.Thread(target=watch)
    page.start()
    eventually(lambda: seen == [("queued", False)])

    # When a worker comes
    with stack.held_while_processing(gif_id):
        eventually(lambda: seen == [("queued", False), ("processing", False)])
    page.join(30)

    # I expect every state to have been told
    told = [("queued", False), ("processing", False), ("processing", True), ("ready", True)]
    assert [one for one in told if one in seen] == seen
    assert seen[-1] == ("ready", True)


def test_open_streams_do_not_hold_up_a_stop(new_stack: Callable[..., Stack]):
    stack = new_stack()
    web = stack.start_web()
    with stack.client.stream("GET", "/events?gif=nope") as stream:
        lines = stream.iter_lines()
        next(lines)

        web.terminate()
        eventually(lambda: web.poll() is not None, within=9)

    assert "refused to gracefully stop" not in stack.log("gifster-web")
