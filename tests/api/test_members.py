"""A library for members (`auth.read = "members"`): every route, asked by every kind of viewer.

The routes come from the application itself. A new one is closed until somebody adds it to `OPEN`.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import falcon.inspect
import httpx
import pytest

from gifster.api.app import create_app
from gifster.app import tokens
from gifster.app.models import Gif, User
from gifster.app.settings import Settings
from gifster.app.tokens import Scope
from tests.api.test_access import NOBODY, PICTURE, Client, body, stored_gif, user

#: What strangers may use: they log in and sign up, and supervisors ask how the process is.
OPEN = {"/healthz", "/readyz", "/login", "/signup", "/logout", "/logout/everywhere", "/api/users"}
#: These ask for a key, or for an API token in its place.
BY_KEY = re.compile(r"/v1/(?!analytics|gifs/search/actions)|/v2/(?!pingback)|/proxy/\w+/api/")
VALUES = {
    "name": "giphy.gif", "version": "thumb", "extension": "gif", "collection_id": "y" * 12,
    "category": "animals", "subcategory": "cats", "term": "cat", "job_id": "j", "queue": "default",
    "worker_id": "w", "token_id": "t" * 12, "report_id": "r" * 12, "upload_id": "u" * 24,
}  # fmt: skip
#: They end what the viewers of this test live on.
NOT_TRIED = {("DELETE", "/api/tokens"), ("POST", "/logout"), ("POST", "/logout/everywhere")}


@dataclass
class Members:
    app: Any
    strangers: dict[str, Client]
    members: dict[str, Client]
    gif: Gif

    def routes(self) -> Iterator[tuple[str, str, str]]:
        """The method of each route, its path, and the path with values in place of parameters."""
        values = VALUES | {"gif_id": self.gif.id}
        for route in falcon.inspect.inspect_routes(self.app):
            path = re.sub(
                r"{(\w+)(:\w+)?}", lambda found: values.get(found[1], "x" * 12), route.path
            )
            for method in route.methods:
                tried = not method.internal or method.method == "OPTIONS"
                if tried and (method.method, route.path) not in NOT_TRIED:
                    yield method.method, route.path, path


def for_members(settings: Settings, **more: Any) -> Settings:
    auth = settings.auth.model_copy(update={"read": "members", **more})
    return settings.model_copy(update={"auth": auth})


@pytest.fixture
def members(booted: Settings) -> Iterator[Members]:
    """A library for members, where even uploads without an account are allowed."""
    app = create_app(for_members(booted, anonymous_uploads=True, anonymous_changes=True))
    ann, root = user("ann"), user("root", is_admin=True)
    secret = tokens.start_session(ann, 1)
    ended = tokens.create_token(ann, "t", Scope.ADMIN)[1]
    tokens.revoke_token(ended)

    def bearer(one: User, scope: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens.create_token(one, 't', scope)[1]}"}

    strangers = {
        "stranger": {},
        "somebody with a wrong cookie": {"Cookie": "gifster_session=wrong"},
        "somebody with an ended token": {"Authorization": f"Bearer {ended}"},
        "somebody with a session as a token": {"Authorization": f"Bearer {secret}"},
        "somebody with Basic credentials": {"Authorization": "Basic YW5uOmFubg=="},
    }
    members = {
        "browser": {"Cookie": f"gifster_session={secret}"},
        "reading token": bearer(ann, Scope.READ),
        "admin": bearer(root, Scope.ADMIN),
    }
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        yield Members(
            app,
            {name: Client(app, loop, sent) for name, sent in strangers.items()},
            {name: Client(app, loop, sent) for name, sent in members.items()},
            stored_gif(ann, "Needle", ["haystack"]),
        )


def told(answer: httpx.Response, gif: Gif) -> bool:
    """Whether an answer says anything of the GIF."""
    seen = answer.text + str(answer.headers)
    return "Needle" in seen or "haystack" in seen or gif.sha256 in seen


def test_strangers_see_nothing_on_any_route(members: Members):
    before = Gif.get_by_id(members.gif.id).__data__
    routes = list(members.routes())
    assert len(routes) > 150

    for method, route, path in routes:
        for name, client in members.strangers.items():
            where = (name, method, route)
            answer = client(method, path, **body(method, path))
            assert not told(answer, members.gif), where
            if route in OPEN:
                assert answer.status_code != 401 or "token" in name, where
            elif BY_KEY.match(route) and method == "OPTIONS":
                assert answer.status_code == 200, where  # the methods that there are
            elif BY_KEY.match(route) and method in ("GET", "HEAD"):
                assert answer.status_code in (400, 401), where
                assert method == "HEAD" or "API key not valid" in answer.text, where
            else:
                assert answer.status_code == 401, where
                assert answer.headers["cache-control"] == "no-store", where

    # And nothing has changed
    assert Gif.get_by_id(members.gif.id).__data__ == before
    assert Gif.select().count() == 1


def test_members_are_stopped_by_no_wall(members: Members):
    for method, route, path in members.routes():
        if method not in ("GET", "HEAD") or route == "/events":
            continue
        for name, client in members.members.items():
            answer = client(method, path)
            # A key is no cookie: pages of other sites may ask there.
            expected = name == "browser" and BY_KEY.match(route)
            assert (answer.status_code in (400, 401) if expected else answer.status_code != 401), (
                name, method, route, answer.text,
            )  # fmt: skip
            assert not answer.headers.get("cache-control", "").startswith("public"), (name, route)


def test_files_are_for_members(members: Members):
    stored = Gif.get_by_id(members.gif.id).image.stored
    urls = [stored.url(), stored.versions["thumb"].url(), f"/media/gifs/{NOBODY}/x/original.gif",
            "/media/another.gif", "/media/%2e%2e/settings.toml"]  # fmt: skip
    for url in urls:
        for method in ("GET", "HEAD", "OPTIONS"):
            for name, client in members.strangers.items():
                answer = client(method, url, headers={"Range": "bytes=0-9"})
                assert answer.status_code == 401, (name, method, url)
                assert PICTURE[:6] not in answer.content
    for name, client in members.members.items():
        answer = client("GET", urls[0])
        assert answer.content == PICTURE, name
        assert answer.headers["cache-control"] == "private, max-age=3600, immutable"
        assert client("GET", urls[2]).status_code == 404
    # What looks the same in every installation is for everybody
    static = members.strangers["stranger"]("GET", "/static/gifster.css")
    assert static.status_code == 200
