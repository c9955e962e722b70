"""Private GIFs and those in the trash, as an attacker would look for them: each address answers
those who may not see one as if there were no such GIF."""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import falcon.inspect
import httpx
import pytest

from gifster.api import live
from gifster.api.app import create_app
from gifster.app import library, tokens
from gifster.app.access import Viewer
from gifster.app.database import db
from gifster.app.models import FingerprintPart, Gif, ImageUploader, User, fingerprint_parts, now
from gifster.app.settings import Settings
from gifster.app.tokens import Scope
from gifster.uploads import LocalStorage, S3Storage
from gifster.uploads.config import configure, storage
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.testing import keep
from tests import images
from tests.machine import ALL_EXAMPLES

NOBODY = "zzzzzzzzzzzz"
DHASH = "0001000200030004"
PICTURE = images.gif((40, 30), [60] * 3)


class Client:
    """Somebody with a browser or a program, against an application in this process."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop, headers: dict[str, str]) -> None:
        self.headers = headers
        self._loop, self._client = (
            loop,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers
            ),
        )

    def __call__(self, method: str, url: str, **options: Any) -> httpx.Response:
        answer = self._loop.run_until_complete(self._client.request(method, url, **options))
        if "gifster_session" not in self._client.headers.get("Cookie", ""):
            self._client.cookies.clear()
        return answer


@dataclass
class Library:
    app: Any
    people: dict[str, Client]
    ann: User
    gif: Gif

    def hide(self, kind: str) -> None:
        values = {"visibility": "private"} if kind == "private" else {"trashed_at": now()}
        Gif.update(values).where(Gif.id == self.gif.id).execute()

    @property
    def strangers(self) -> list[tuple[str, Client]]:
        return [(name, one) for name, one in self.people.items() if name not in MAY_SEE]

    @property
    def urls(self) -> list[str]:
        stored = Gif.get_by_id(self.gif.id).image.stored
        return [stored.url(), *(version.url() for version in stored.versions.values())]


#: They take a GIF out of one's own favourites, count a use, or lead to its page, whether there is
#: such a GIF or not.
HARMLESS = (
    "/api/favourites/{gif_id}", "/gifs/{gif_id}/unfavourite", "/gifs/{gif_id}/share",
    "/g/{gif_id}", "/v2/emoji/{gif_id}/variations",
)  # fmt: skip
#: What stands in a path for its other parameters.
OTHERS = {"name": "giphy.gif", "version": "thumb", "extension": "gif", "collection_id": "y" * 12}
MAY_SEE = ("owner", "owner's browser", "owner's reading token", "admin")


def user(name: str, **values: Any) -> User:
    return User.create(email=f"{name}@example.org", name=name, password_hash="x", **values)


@pytest.fixture
def library_of_ann(booted: Settings) -> Iterator[Library]:
    """A library with a stored GIF of Ann's, and people who look for it."""
    app = create_app(booted)
    ann, bob, root = user("ann"), user("bob"), user("root", is_admin=True)

    def bearer(one: User, scope: str = Scope.ADMIN) -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens.create_token(one, 't', scope)[1]}"}

    def browser(one: User) -> dict[str, str]:
        return {"Cookie": f"gifster_session={tokens.start_session(one, 1)}"}

    headers = {
        "stranger": {},
        "somebody with a wrong cookie": {"Cookie": "gifster_session=wrong"},
        "another user": bearer(bob),
        "another user's browser": browser(bob),
        "admin's token that only writes": bearer(root, Scope.WRITE),
        "owner": bearer(ann),
        "owner's browser": browser(ann),
        "owner's reading token": bearer(ann, Scope.READ),
        "admin": bearer(root),
    }
    with asyncio.Runner() as runner:
        people = {name: Client(app, runner.get_loop(), sent) for name, sent in headers.items()}
        yield Library(app, people, ann, stored_gif(ann, "Needle", ["haystack"]))


def stored_gif(owner: User, title: str, tags: list[str]) -> Gif:
    """A GIF whose files are in the store already, as a worker would have put them there."""
    gif = library.add_gif(
        cache_upload(ImageUploader, PICTURE, "a.gif"), title=title, tags=tags, user=owner
    )
    folder = f"gifs/{gif.id}/0123456789abcdef"
    facts = {"content_type": "image/gif", "bytes": len(PICTURE), "width": 40, "height": 30}
    stored = facts | {
        "storage": "store", "key": f"{folder}/original.gif", "filename": "a.gif",
        "sha256": gif.sha256, "frames": 3, "duration_ms": 180, "loop": 0, "dhash": DHASH,
        "versions": {"thumb": facts | {"key": f"{folder}/thumb.gif"}},
    }  # fmt: skip
    for name in ("original", "thumb"):
        keep(storage("store"), f"{folder}/{name}.gif", PICTURE)
    sql = "UPDATE gif SET image = {0}, image_tmp = NULL, image_state = 'ready' WHERE id = {0}"
    db.execute_sql(sql.format(db.obj.param), [json.dumps(stored), gif.id])
    for part in fingerprint_parts(DHASH):
        FingerprintPart.create(gif=gif, part=part)
    made: Gif = Gif.get_by_id(gif.id)
    return made


def normalized(answer: httpx.Response, gif_id: str) -> tuple[int, str, dict[str, str]]:
    headers = {name: text.replace(gif_id, "ID") for name, text in answer.headers.items()}
    headers.pop("content-length", None)
    text = re.sub('"response_id": ?"[0-9a-f]+"', "", answer.text)
    return answer.status_code, text.replace(gif_id, "ID"), headers


def routes(app: Any) -> Iterator[tuple[str, str]]:
    """The methods and paths of all routes of a GIF."""
    for route in falcon.inspect.inspect_routes(app):
        if "{gif_id" in route.path:
            for method in route.methods:
                if not method.internal:
                    yield method.method, route.path


def filled(path: str, gif_id: str) -> str:
    """The path with values in place of its parameters."""
    values = OTHERS | {"gif_id": gif_id}
    return re.sub(r"{(\w+)(:\w+)?}", lambda found: values[found[1]], path)


def body(method: str, path: str) -> dict[str, Any]:
    if method in ("GET", "HEAD", "DELETE"):
        return {}
    if path.endswith("/image"):
        return {"files": {"image": ("b.gif", PICTURE, "image/gif")}}
    if method == "PATCH":
        return {"json": {"title": "mine"}}
    return {"data": {"title": "mine", "rating": "g", "visibility": "public"}}


def in_turn(people: Iterable[tuple[str, Client]], number: int) -> list[tuple[str, Client]]:
    """Who tries an address: every day two of the people, others for the next address; all of them
    where it matters.

    Parameters:
      number: the address's, in a list of all.
    """
    each = list(people)
    if ALL_EXAMPLES:
        return each
    return [each[(number + half) % len(each)] for half in (0, len(each) // 2)]


@pytest.mark.parametrize("kind", ["private", "trashed"])
def test_each_address_answers_as_if_there_were_no_such_gif(library_of_ann: Library, kind: str):
    it = library_of_ann
    it.hide(kind)
    before = Gif.get_by_id(it.gif.id).__data__
    seen = list(routes(it.app))
    assert len(seen) >= 14

    for number, (method, path) in enumerate(seen):
        hidden, missing = (filled(path, gif_id) for gif_id in (it.gif.id, NOBODY))
        for name, client in in_turn(it.strangers, number):
            sent = body(method, path)
            answer, expected = (
                normalized(client(method, url, **sent), gif_id)
                for url, gif_id in ((hidden, it.gif.id), (missing, NOBODY))
            )
            assert answer == expected, (name, method, path)
            assert answer[0] >= 400 or path in HARMLESS, (name, method, path)

    # And nothing has changed
    assert Gif.get_by_id(it.gif.id).__data__ == before


@pytest.mark.parametrize("kind", ["private", "trashed"])
def test_lists_pages_and_events_do_not_mention_it(library_of_ann: Library, kind: str):
    # Given Bob's copy of the hidden file, which is younger
    it = library_of_ann
    bob = User.get(User.name == "bob")
    copy = stored_gif(bob, "Copy", [])
    it.hide(kind)

    for name, client in it.strangers:
        for path in ("/api/gifs", "/api/gifs?q=needle", "/api/gifs?tag=haystack", "/?q=needle",
                     "/?tag=haystack", "/", f"/api/gifs/{copy.id}", f"/gifs/{copy.id}",
                     f"/gifs/{copy.id}/card", "/v2/search?q=needle&key=k", "/v2/featured?key=k",
                     f"/v2/posts?ids={it.gif.id}&key=k", "/v2/autocomplete?q=need&key=k",
                     "/v1/gifs/search?q=needle&api_key=k", "/v1/gifs/trending?api_key=k",
                     f"/v1/gifs?ids={it.gif.id}&api_key=k", "/v1/gifs/random?api_key=k",
                     "/feed.atom", f"/oembed?url=http://localhost/gifs/{it.gif.id}"):  # fmt: skip
            answer = client("GET", path, headers={"Accept": "application/json, text/html"})
            assert answer.status_code in (200, 404), (name, path)
            assert f"/{it.gif.id}" not in answer.text, (name, path)
            assert "Needle" not in answer.text, (name, path)
        # A new upload of the file does not tell that it is there
        copies = client("GET", f"/api/gifs/{copy.id}").json()
        assert (copies["duplicate_of"], copies["similar"]) == (None, [])
        shown = {"shown": {it.gif.id: ["ready", it.gif.sha256], NOBODY: ["ready", "5a"]}}
        cards = client("POST", "/cards", json=shown).json()["cards"]
        assert cards == {it.gif.id: None, NOBODY: None}
    standing = live.read([it.gif.id])[it.gif.id]
    for viewer in (Viewer(), Viewer(bob.id)):
        assert live.known(standing, viewer) == (None, None)


@pytest.mark.parametrize("kind", ["private", "trashed"])
def test_its_files_are_only_for_those_who_may_see_it(library_of_ann: Library, kind: str):
    it = library_of_ann
    public = it.people["stranger"]("GET", it.urls[0])
    assert public.headers["cache-control"] == "public, max-age=31536000, immutable"
    it.hide(kind)
    key = it.urls[0].removeprefix("/media/")
    missing = key.replace(it.gif.id, NOBODY)

    for name, client in it.people.items():
        for url in it.urls:
            for method in ("GET", "HEAD"):
                for headers in ({}, {"If-None-Match": public.headers["etag"]},
                                {"Range": "bytes=0-9"}, {"If-Match": '"x"'}):  # fmt: skip
                    answer = client(method, url, headers=headers)
                    if name in MAY_SEE:
                        assert answer.status_code in (200, 206, 304, 412), (name, url)
                        if answer.status_code != 412:
                            assert answer.headers["cache-control"] == "private, no-cache"
                    else:
                        assert answer.status_code == 404, (name, url)
                        assert answer.headers["cache-control"] == "no-store"
        if name not in MAY_SEE:
            hidden, none = client("GET", f"/media/{key}"), client("GET", f"/media/{missing}")
            assert normalized(hidden, it.gif.id) == normalized(none, NOBODY)


@pytest.mark.parametrize(
    "spelling", ["GIFS/{id}", "gif\u017f/{id}", "gifs/{swapped}", "%67ifs/{id}"]
)
def test_no_other_spelling_of_a_key_leads_to_its_files(library_of_ann: Library, spelling: str):
    """As a file system that ignores case would have it."""
    it = library_of_ann
    it.hide("private")
    rest = it.urls[0].split("/", 4)[4]
    path = spelling.format(id=it.gif.id, swapped=it.gif.id.swapcase())

    answer = it.people["stranger"]("GET", f"/media/{path}/{rest}")

    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"


def test_a_bucket_gives_its_files_signed_urls_that_end(library_of_ann: Library):
    # Given a bucket with a CDN before it
    it = library_of_ann
    options = {"access_key_id": "key", "secret_access_key": "secret", "region": "eu"}
    bucket = S3Storage("gifs", endpoint_url="http://127.0.0.1:1", expires_s=600,
                       base_url="https://cdn.example.org", **options)  # fmt: skip
    configure({"store": bucket, "cache": storage("cache")})

    def urls(name: str) -> list[str]:
        facts = it.people[name]("GET", f"/api/gifs/{it.gif.id}").json()
        return [facts["image"]["url"], facts["versions"]["thumb"]["url"]]

    assert all(url.startswith("https://cdn.example.org/gifs/") for url in urls("stranger"))
    for kind in ("private", "trashed"):
        it.hide(kind)
        for url in urls("owner"):
            assert url.startswith(f"http://127.0.0.1:1/gifs/gifs/{it.gif.id}/")
            assert "X-Amz-Expires=600" in url
            assert "X-Amz-Signature=" in url
        Gif.update(visibility="public").where(Gif.id == it.gif.id).execute()


def test_a_web_server_that_knows_nothing_of_visibility_gets_no_private_url(
    library_of_ann: Library,
):
    it = library_of_ann
    it.hide("private")
    served = LocalStorage(storage("store").root, "https://files.example.org")
    configure({"store": served, "cache": storage("cache")})

    facts = it.people["owner"]("GET", f"/api/gifs/{it.gif.id}").json()

    assert facts["image"]["url"].startswith(f"http://localhost/media/gifs/{it.gif.id}/")


def test_an_unlisted_gif_is_for_those_who_know_its_address(library_of_ann: Library):
    it = library_of_ann
    Gif.update(visibility="unlisted").where(Gif.id == it.gif.id).execute()

    for client in it.people.values():
        assert client("GET", f"/api/gifs/{it.gif.id}").status_code == 200
        assert client("GET", f"/gifs/{it.gif.id}").status_code == 200
        assert client("GET", it.urls[0]).status_code == 200
        assert it.gif.id not in client("GET", "/api/gifs").text
        assert it.gif.id not in client("GET", "/").text


def test_a_hidden_gif_is_there_for_its_owner_and_for_admins(library_of_ann: Library):
    it = library_of_ann
    it.hide("private")

    for name in MAY_SEE:
        client = it.people[name]
        assert client("GET", f"/api/gifs/{it.gif.id}").json()["visibility"] == "private"
        page = client("GET", f"/gifs/{it.gif.id}", headers={"Accept": "text/html"})
        assert "Private: only its owner and admins see it." in page.text
        # Not even for them is it in a list of all
        assert it.gif.id not in client("GET", "/api/gifs").text
        shown = {"shown": {it.gif.id: ["queued", ""]}}
        assert client("POST", "/cards", json=shown).json()["cards"][it.gif.id] is not None


def test_a_change_of_visibility_takes_effect_at_once(library_of_ann: Library):
    it = library_of_ann
    owner, stranger = it.people["owner"], it.people["stranger"]

    def set_to(visibility: str) -> None:
        change = owner("PATCH", f"/api/gifs/{it.gif.id}", json={"visibility": visibility})
        assert change.json()["visibility"] == visibility

    for _ in range(2):
        assert stranger("GET", it.urls[0]).status_code == 200
        set_to("private")
        assert stranger("GET", it.urls[0]).status_code == 404
        assert stranger("GET", f"/api/gifs/{it.gif.id}").status_code == 404
        set_to("public")
    assert stranger("GET", f"/api/gifs/{it.gif.id}").status_code == 200


def test_a_replacement_does_not_undo_what_is_changed_meanwhile(library_of_ann: Library):
    # Given a replacement that has read the GIF, and its owner, who makes it private before the
    # replacement writes
    it = library_of_ann
    gif = library.gif_to_change

    def slow(*arguments: Any) -> Gif:
        found = gif(*arguments)
        it.hide("private")
        it.hide("trashed")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "gif_to_change", slow)
        library.replace_image(it.gif.id, it.ann, cache_upload(ImageUploader, PICTURE, "c.gif"))

    left = Gif.get_by_id(it.gif.id)
    assert left.visibility == "private"
    assert left.trashed_at is not None


def test_counts_and_errors_name_no_hidden_gif(library_of_ann: Library):
    it = library_of_ann
    it.hide("private")

    assert it.gif.id not in it.people["stranger"]("GET", "/metrics").text
    refused = it.people["another user"]("PATCH", f"/api/gifs/{it.gif.id}", json={"rating": "x"})
    assert refused.json()["code"] == "gif_not_found"
    assert json.dumps(refused.json()).count("Needle") == 0
