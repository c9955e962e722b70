"""The example in `examples/avatars` runs as its text says."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests import images
from tests.machine import BIN, eventually, free_port, signal_group

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Starts commands of the virtual environment, with these variables; they end with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **variables: str) -> None:
        process = subprocess.Popen(
            [BIN / command[0], *command[1:]],
            cwd=tmp_path,
            env=os.environ | {"TMPDIR": str(tmp_path / "tmp")} | variables,
            stdout=(tmp_path / "example.log").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        processes.append(process)

    yield start
    for process in processes:
        signal_group(process, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            signal_group(process, signal.SIGKILL)
            process.wait()


def test_a_strangers_application_works(tmp_path: Path, broker_url: str, start: Callable[..., None]):
    port = free_port()
    variables = {
        "AVATARS_VAR": str(tmp_path / "avatars"),
        "AVATARS_BROKER": broker_url,
        "AVATARS_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    start("python", "-m", "examples.avatars.app", **variables)
    worker = ("python", "-m", "gifster.jobs", "run", "examples.avatars.app", "--threads", "1")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        eventually(lambda: answers(client))
        use(client, lambda: start(*worker, **variables))


def use(client: httpx.Client, start_worker: Callable[[], None]) -> None:
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
