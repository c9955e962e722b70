"""A library for members (`auth.read = "members"`): every route, asked by every kind of viewer.

The routes come from the application itself. A new one is closed until somebody adds it to `OPEN`.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from time import time
from typing import Any

import falcon.inspect
import httpx
import pytest

from gifster.api.app import create_app
from gifster.app import search, tokens
from gifster.app.models import Gif, User
from gifster.app.settings import Settings
from gifster.app.tokens import Scope
from tests.api.clients import Client, in_turn
from tests.api.routes import body
from tests.api.site import for_members
from tests.api.stored_gifs import NOBODY, PICTURE, stored_gif
from tests.app.people import person
from tests.combinations import on_sqlite

#: What strangers may use: they log in and sign up, and supervisors ask how the process is.
OPEN = {
    "/healthz", "/readyz", "/login", "/signup", "/logout", "/logout/everywhere", "/api/users",
    "/forgot", "/password", "/password/{secret}", "/confirm", "/confirm/again", "/confirm/{secret}",
    "/invitation/{secret}", "/login/oidc", "/login/oidc/callback", "/login/passkey",
    "/login/passkey/options", "/login/second-factor",
}  # fmt: skip
#: These ask for a key, or for an API token in its place.
BY_KEY = re.compile(r"/v1/(?!analytics|gifs/search/actions)|/v2/(?!pingback)|/proxy/\w+/api/")
VALUES = {
    "name": "giphy.gif", "version": "thumb", "extension": "gif", "collection_id": "y" * 12,
    "category": "animals", "subcategory": "cats", "term": "cat", "job_id": "j", "queue": "default",
    "worker_id": "w", "token_id": "t" * 12, "report_id": "r" * 12, "upload_id": "u" * 24,
    "export_id": "e" * 12, "secret": "s" * 43,
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


@pytest.fixture
def members(booted: Settings) -> Iterator[Members]:
    """A library for members, where even uploads without an account are allowed."""
    app = create_app(for_members(booted, anonymous_uploads=True, anonymous_changes=True))
    ann, root = person("ann"), person("root", is_admin=True)
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


@on_sqlite
def test_strangers_see_nothing_on_any_route(members: Members):
    before = Gif.get_by_id(members.gif.id).__data__
    routes = list(members.routes())
    assert len(routes) > 150

    for number, (method, route, path) in enumerate(routes):
        alone = method in ("HEAD", "OPTIONS")
        strangers = list(members.strangers.items())
        for name, client in strangers[:1] if alone else in_turn(strangers, number):
            where = (name, method, route)
            answer = client(method, path, **body(method, path))
            assert not told(answer, members.gif), where
            if route == "/metrics":
                assert answer.status_code in (200, 401, 403), where  # by a token or an address
            elif route in OPEN:
                assert answer.status_code != 401 or "token" in name, where
            elif BY_KEY.match(route) and method == "OPTIONS":
                assert answer.status_code == 200, where  # the methods that there are
            elif BY_KEY.match(route) and method in ("GET", "HEAD"):
                assert answer.status_code in (400, 401), where
                assert method == "HEAD" or "API key not valid" in answer.text, where
            else:
                assert answer.status_code == 401, (
                    f"{where}: if strangers may use it in a library for members, add it to OPEN"
                )
                assert answer.headers["cache-control"] == "no-store", where

    # And nothing has changed
    assert Gif.get_by_id(members.gif.id).__data__ == before
    assert Gif.select().count() == 1


@on_sqlite
def test_members_are_stopped_by_no_wall(members: Members):
    for method, route, path in members.routes():
        if method != "GET" or route == "/events":
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


def test_a_drop_in_client_shows_files_without_logging_in(
    members: Members, monkeypatch: pytest.MonkeyPatch
):
    # Given a client of a chat, with an API token as its key
    search.put(Gif.get_by_id(members.gif.id), ["haystack"])
    token = members.members["reading token"].headers["Authorization"].removeprefix("Bearer ")
    stranger = members.strangers["stranger"]
    found = stranger("GET", f"/v1/gifs/search?q=needle&api_key={token}").json()["data"]
    tenor = stranger("GET", f"/v2/search?q=needle&key={token}").json()["results"]
    urls = [found[0]["images"]["original"]["url"], tenor[0]["media_formats"]["gif"]["url"]]

    for url in urls:
        # I expect the address that it was given to be enough, for a while
        answer = stranger("GET", url)
        assert answer.content == PICTURE
        assert answer.headers["cache-control"].startswith("private")
        # and nothing else
        plain, _, query = url.partition("?")
        wrong = re.sub("by=(.)", lambda one: "by=A" if one[1] != "A" else "by=B", query)
        later = re.sub("until=([0-9]+)", lambda one: f"until={int(one[1]) + 9999}", query)
        for other in (
            plain, f"{plain}?until=99999999999&by=", f"{plain}?{wrong}", f"{plain}?{later}",
            f"{plain.replace('.gif', '.webp')}?{query}", f"http://localhost/api/gifs?{query}",
            f"http://localhost/gifs/{members.gif.id}?{query}", f"{plain}?{query}0",
            f"http://localhost/g/{NOBODY}.gif?{query}", f"{plain}?until=\u0663&by=x",
        ):  # fmt: skip
            assert stranger("GET", other).status_code == 401, other

    # Addresses that clients make up themselves redirect with a signature of their own
    made_up = f"/media/{members.gif.id}/giphy.gif"
    assert stranger("GET", made_up).status_code == 401
    redirect = members.members["browser"]("GET", made_up)
    assert stranger("GET", redirect.headers["location"]).content == PICTURE

    # When a moderator hides the GIF, the address is good for nothing
    Gif.update(visibility="private", hidden_from="public").where(Gif.id == members.gif.id).execute()
    assert stranger("GET", urls[0]).status_code == 404
    assert stranger("GET", redirect.headers["location"]).status_code == 404
    # nor is it after its time
    Gif.update(visibility="public", hidden_from=None).where(Gif.id == members.gif.id).execute()
    monkeypatch.setattr("gifster.api.signed.jobs.now", lambda: time() + 7201)
    assert stranger("GET", urls[0]).status_code == 401


@pytest.mark.parametrize(
    ("section", "values"),
    [("store", {"base_url": "https://cdn.example.org"}), ("store", {"acl": "public-read"})],
)
def test_a_bucket_that_is_open_to_all_is_refused(section: str, values: dict[str, str]):
    with pytest.raises(ValueError, match="would let strangers fetch files"):
        Settings(auth={"read": "members"}, **{section: values})
    Settings(auth={"read": "public"}, **{section: values})
