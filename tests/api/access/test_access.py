"""Private GIFs and those in the trash, as an attacker would look for them: each address answers
those who may not see one as if there were no such GIF."""

import json
import re
from collections.abc import Iterator
from typing import Any

import falcon.inspect
import httpx
import pytest

from gifster.api import live
from gifster.app import library
from gifster.app.access import Viewer
from gifster.app.models import Gif, ImageUploader, User
from gifster.uploads import LocalStorage, S3Storage
from gifster.uploads.config import configure, storage
from gifster.uploads.files.sources import cache_upload
from tests.api.clients import in_turn
from tests.api.library_of_ann import MAY_SEE, Library
from tests.api.routes import OTHERS, body
from tests.api.stored_gifs import NOBODY, PICTURE, stored_gif

#: They take a GIF out of one's own favourites, count a use, or lead to its page, whether there is
#: such a GIF or not.
HARMLESS = (
    "/api/favourites/{gif_id}", "/gifs/{gif_id}/unfavourite", "/gifs/{gif_id}/share",
    "/g/{gif_id}", "/v2/emoji/{gif_id}/variations",
)  # fmt: skip


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
