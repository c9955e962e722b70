"""What the tests of sharing share: somebody with a token, and GIFs of each kind, which every test
may read."""

from collections.abc import Callable
from typing import Any

import pytest

from tests import images
from tests.api.conftest import *  # noqa: F403 fixtures
from tests.machine import eventually
from tests.stack import Stack

Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ann(stack: Stack) -> dict[str, str]:
    """The headers of a user."""
    body = {"email": "ann@example.org", "password": "correct horse", "name": "Ann"}
    return {"Authorization": f"Bearer {stack.client.post('/api/users', json=body).json()['token']}"}


@pytest.fixture(scope="module")
def make(stack: Stack, ann: dict[str, str]) -> Make:
    """Uploads a GIF of Ann's, and returns it once it is ready."""

    def make(content: bytes = b"", filename: str = "a.gif", **fields: str) -> dict[str, Any]:
        image = {"image": (filename, content or images.gif((300, 200), [60, 60, 60]))}
        answer = stack.client.post("/api/gifs", files=image, data=fields, headers=ann)
        assert answer.status_code == 202, answer.text
        gif_id = answer.json()["id"]

        def ready() -> dict[str, Any] | None:
            gif = stack.client.get(f"/api/gifs/{gif_id}", headers=ann).json()
            return gif if gif["state"] == "ready" else None

        return eventually(ready)

    return make


@pytest.fixture(scope="module")
def moving(make: Make) -> dict[str, Any]:
    return make(title="My <b>cat</b> & dog", tags="cats, monday", alt_text="A cat jumps")
