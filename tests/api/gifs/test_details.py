"""Alternative text, rating, visibility and uploader of a GIF, by the API."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gifster.api.app import create_app
from gifster.app import tokens
from gifster.app.models import Gif, User
from gifster.app.settings import Settings
from gifster.uploads.config import storage
from tests import images
from tests.api.clients import Client
from tests.app.people import person

PICTURE = {"image": ("a.gif", images.gif((20, 10)), "image/gif")}
DETAILS = {"alt_text": "A cat\nthat waits", "rating": "pg", "visibility": "unlisted"}


@pytest.fixture
def clients(booted: Settings) -> Iterator[dict[str, Client]]:
    """Ann, and a stranger where anybody may write."""
    auth = booted.auth.model_copy(update={"anonymous_uploads": True})
    app = create_app(booted.model_copy(update={"auth": auth}))
    ann = person("Ann")
    bearer = {"Authorization": f"Bearer {tokens.issue_token(ann)}"}
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        yield {"ann": Client(app, loop, bearer), "stranger": Client(app, loop, {})}


def test_an_upload_has_them(clients: dict[str, Client]):
    made = clients["ann"]("POST", "/api/gifs", files=PICTURE, data=DETAILS).json()

    assert made["alt_text"] == "A cat that waits"
    assert (made["rating"], made["visibility"]) == ("pg", "unlisted")
    assert made["user"] == {"id": User.get().id, "name": "Ann"}
    assert made["trashed_at"] is None
    assert clients["stranger"]("GET", f"/api/gifs/{made['id']}").json() == made

    plain = clients["stranger"]("POST", "/api/gifs", files=PICTURE).json()
    values = {name: plain[name] for name in ("alt_text", "rating", "visibility", "user")}
    assert values == {"alt_text": "", "rating": "g", "visibility": "public", "user": None}
    # A list has them, too
    assert clients["stranger"]("GET", "/api/gifs").json()["items"][0]["user"] is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"alt_text": "a" * 1001}, "alt_text_too_long"),
        ({"alt_text": "a\x01"}, "alt_text_invalid"),
        ({"rating": "x"}, "rating_invalid"),
        ({"visibility": "secret"}, "visibility_invalid"),
        ({"visibility": "private"}, "private_needs_owner"),
        # A wrong name must not make public what was meant to be private
        ({"visiblity": "private"}, "field_unknown"),
        ({"form_token": "x"}, "field_unknown"),
    ],
)
def test_an_upload_that_is_refused_leaves_nothing_behind(
    clients: dict[str, Client], fields: dict[str, str], code: str
):
    refused = clients["stranger"]("POST", "/api/gifs", files=PICTURE, data=fields)

    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert Gif.select().count() == 0
    assert list(storage("cache").walk()) == []


def test_a_patch_changes_some_of_them(clients: dict[str, Client]):
    ann = clients["ann"]
    path = f"/api/gifs/{ann('POST', '/api/gifs', files=PICTURE, data=DETAILS).json()['id']}"

    def patched(changes: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
        answer = ann("PATCH", path, json=changes, headers={"Content-Type": kind})
        assert answer.status_code == 200
        facts: dict[str, Any] = answer.json()
        return facts

    assert patched({"rating": "r"})["alt_text"] == "A cat that waits"
    assert patched({"visibility": "private", "rating": None})["rating"] == "r"
    merge = "application/merge-patch+json"
    assert patched({"alt_text": None}, merge)["alt_text"] == ""
    for name in ("rating", "visibility"):  # these cannot be removed
        refused = ann("PATCH", path, json={name: None}, headers={"Content-Type": merge})
        assert refused.json()["code"] == f"{name}_invalid"
    for name, value in (("rating", 3), ("alt_text", ["a"]), ("visibility", True)):
        refused = ann("PATCH", path, json={name: value})
        assert (refused.status_code, refused.json()["code"]) == (422, f"{name}_invalid")
    assert ann("GET", path).json()["visibility"] == "private"
    assert clients["stranger"]("PATCH", path, json={"title": "x"}).status_code == 404
