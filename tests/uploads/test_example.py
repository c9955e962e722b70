"""The example in `examples/avatars`, as a stranger would run it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests import images
from tests.machine import eventually, free_port
from tests.stack import Stack

ROOT = Path(__file__).parent.parent.parent


def test_a_strangers_application_works(tmp_path: Path, broker_url: str):
    stack = Stack(tmp_path, broker_url)
    port = free_port()
    stack.environment |= {
        "AVATARS_VAR": str(tmp_path / "avatars"),
        "AVATARS_BROKER": broker_url,
        "AVATARS_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    try:
        stack.start("python", "-m", "examples.avatars.app")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            eventually(lambda: answers(client))
            use(client, lambda: stack.start("dramatiq", "examples.avatars.app", "-Q", "carrierwave",
                                            "-p", "1", "-t", "1"))  # fmt: skip
    finally:
        stack.stop()


def use(client: httpx.Client, start_worker: Callable[[], Any]) -> None:
    assert client.get("/users/ann").json()["avatar"] == "/files/nobody.png"
    refused = client.post("/users/ann", files={"avatar": ("me.gif", b"no image", "image/gif")})
    assert (refused.status_code, refused.json()["title"]) == (422, "type_not_allowed")

    accepted = client.post(
        "/users/ann", files={"avatar": ("me.gif", images.gif((300, 200)), "image/gif")}
    )
    assert accepted.status_code == 202
    assert client.get("/users/ann").json()["state"] == "queued"
    start_worker()

    eventually(lambda: client.get("/users/ann").json()["state"] == "ready")
    thumb = client.get(client.get("/users/ann").json()["thumb"])
    assert images.size(thumb.content) == (96, 96)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/users/nobody").status_code == 200
    except httpx.TransportError:
        return False


def test_the_example_fits_on_a_page():
    lines = (ROOT / "examples" / "avatars" / "app.py").read_text().splitlines()

    assert len(lines) < 80
