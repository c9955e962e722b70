"""A user's own lists: their GIFs, trash, favourites and collections, by API and on pages."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gifster.api.app import create_app
from gifster.api.collections import collections_json
from gifster.app import collections, favourites, search, tokens
from gifster.app.access import Viewer
from gifster.app.database import db
from gifster.app.models import Gif, User
from gifster.app.search import popularity
from gifster.app.settings import Settings
from tests import images
from tests.api.clients import Client
from tests.app.gifs import added
from tests.app.people import person


@pytest.fixture
def people(booted: Settings) -> Iterator[dict[str, Any]]:
    """Ann and Bob, each with a browser, and a stranger."""
    app = create_app(booted)
    with asyncio.Runner() as runner:
        made: dict[str, Any] = {"stranger": Client(app, runner.get_loop(), {})}
        for name in ("ann", "bob"):
            one = person(name)
            cookie = {"Cookie": f"gifster_session={tokens.start_session(one, 1)}"}
            made[name] = Client(app, runner.get_loop(), cookie)
            made[f"user {name}"] = one
        yield made


def gif(owner: User | None, title: str, **values: Any) -> str:
    made = added(title=title, user=owner, **values)
    return str(made.id)


def titles(client: Client, path: str) -> list[str]:
    found, cursor = [], ""
    while True:
        between = "&" if "?" in path else "?"
        answer = client("GET", f"{path}{between}limit=2&cursor={cursor}").json()
        found += [one["title"] for one in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            return found


# The trash


def test_a_gif_goes_into_the_trash_and_comes_back(people: dict[str, Any]):
    ann, gif_id = people["ann"], gif(people["user ann"], "cat", visibility="unlisted")

    # When Ann throws it away
    thrown = ann("POST", f"/api/gifs/{gif_id}/trash").json()
    assert thrown["trashed_at"] is not None
    again = ann("POST", f"/api/gifs/{gif_id}/trash").json()
    assert again["trashed_at"] == thrown["trashed_at"]  # doing it twice gives no more time

    # I expect it in her trash alone
    assert titles(ann, "/api/trash") == ["cat"]
    assert titles(ann, "/api/mine") == []
    assert people["bob"]("GET", f"/api/gifs/{gif_id}").status_code == 404
    assert titles(people["bob"], "/api/trash") == []

    # And it comes back as it was
    back = ann("POST", f"/api/gifs/{gif_id}/restore").json()
    assert (back["trashed_at"], back["visibility"]) == (None, "unlisted")
    assert people["bob"]("GET", f"/api/gifs/{gif_id}").status_code == 200


def test_the_trash_is_emptied_and_a_delete_is_for_good(people: dict[str, Any]):
    ann = people["ann"]
    ids = [gif(people["user ann"], f"{number}") for number in range(5)]
    for gif_id in ids[:3]:
        ann("POST", f"/api/gifs/{gif_id}/trash")
    assert titles(ann, "/api/trash") == ["2", "1", "0"]

    assert ann("DELETE", f"/api/gifs/{ids[2]}").status_code == 204
    assert people["bob"]("DELETE", "/api/trash").status_code == 204  # his own
    assert titles(ann, "/api/trash") == ["1", "0"]
    assert ann("DELETE", "/api/trash").status_code == 204

    assert titles(ann, "/api/trash") == []
    assert {one.id for one in Gif.select()} == set(ids[3:])
    assert people["stranger"]("GET", "/api/trash").json()["code"] == "sign_in_first"


def test_the_page_undoes_a_delete(people: dict[str, Any]):
    # Given a GIF of Ann's, whose page has a button
    ann, gif_id = people["ann"], gif(people["user ann"], "<cat>")
    assert f'action="/gifs/{gif_id}/trash"' in ann("GET", f"/gifs/{gif_id}").text

    # When she clicks on it
    thrown = ann("POST", f"/gifs/{gif_id}/trash", data={"x": "y"})

    # I expect the gallery to offer to undo it, once
    assert (thrown.status_code, thrown.headers["location"]) == (303, "/")
    cookie = thrown.headers["set-cookie"].partition(";")[0]
    session = ann.headers["Cookie"]
    gallery = ann("GET", "/", headers={"Cookie": f"{session}; {cookie}"})
    assert "“&#8296;&lt;cat&gt;&#8297;” is in the trash" in gallery.text
    assert f'action="/gifs/{gif_id}/restore"' in gallery.text
    assert 'gifster_thrown_away=""' in gallery.headers["set-cookie"]
    # Nobody else sees the notice, whatever their cookie says
    assert "is in the trash" not in people["stranger"]("GET", "/", headers={"Cookie": cookie}).text
    # Its page says since when, and so does the trash
    assert "It is deleted for good on" in ann("GET", f"/gifs/{gif_id}").text
    assert "&lt;cat&gt;" in ann("GET", "/trash").text
    undone = ann("POST", f"/gifs/{gif_id}/restore", data={"x": "y"})
    assert undone.headers["location"] == f"/gifs/{gif_id}"
    assert "&lt;cat&gt;" in ann("GET", "/").text


# What the page shows


def test_the_page_says_how_often_a_gif_is_used_and_shows_others_like_it(people: dict[str, Any]):
    first = gif(people["user ann"], "Dancing otter", alt_text="An otter that <dances>")
    gif(people["user bob"], "Sleeping otter")
    gif(people["user bob"], "Secret otter", visibility="private")
    assert "lately" not in people["stranger"]("GET", f"/gifs/{first}").text

    for client in ("a", "b", "c"):
        search.used(first, client=client)
    popularity.COUNTS.write()

    page = people["stranger"]("GET", f"/gifs/{first}").text
    assert "about 3 times lately" in page
    assert "by <bdi>ann</bdi>" in page
    assert "More like this" in page
    assert "Sleeping otter" in page
    assert "Secret otter" not in page


# The edit form


def test_the_page_edits_a_gif_and_loses_nothing_that_was_typed(people: dict[str, Any]):
    ann = people["ann"]
    gif_id = gif(people["user ann"], "cat", tags=["one"], alt_text="old")
    typed = {
        "title": "A dog", "tags": "two, three", "alt_text": "A dog\r\nthat <runs>",
        "rating": "pg-13", "visibility": "private",
    }  # fmt: skip

    refused = ann("POST", f"/gifs/{gif_id}/details", data=typed | {"tags": "t" * 51 + ", kept"})
    assert refused.status_code == 422
    assert "A tag has at most 50 characters" in refused.text
    for kept in ('value="A dog"', "t, kept", "that &lt;runs&gt;", '"pg-13" selected',
                 '"private" selected', 'id="details" open'):  # fmt: skip
        assert kept in refused.text
    assert Gif.get_by_id(gif_id).title == "cat"

    saved = ann("POST", f"/gifs/{gif_id}/details", data=typed)
    assert saved.headers["location"] == f"/gifs/{gif_id}"
    facts = ann("GET", f"/api/gifs/{gif_id}").json()
    assert facts["tags"] == ["three", "two"]
    assert facts["alt_text"] == "A dog that <runs>"
    assert (facts["rating"], facts["visibility"]) == ("pg-13", "private")

    # An empty field empties it
    ann("POST", f"/gifs/{gif_id}/details", data=typed | {"tags": "", "alt_text": ""})
    facts = ann("GET", f"/api/gifs/{gif_id}").json()
    assert (facts["tags"], facts["alt_text"]) == ([], "")


def test_the_page_replaces_the_picture(people: dict[str, Any]):
    ann, gif_id = people["ann"], gif(people["user ann"], "cat")
    other = images.gif((33, 22))

    sent = {"image": ("b.gif", other, "image/gif")}
    assert people["bob"]("POST", f"/gifs/{gif_id}/image", files=sent).status_code == 403
    answer = ann("POST", f"/gifs/{gif_id}/image", files=sent)

    assert answer.headers["location"] == f"/gifs/{gif_id}"
    assert Gif.get_by_id(gif_id).bytes == len(other)


# Favourites


def test_favourites_are_a_users_own(people: dict[str, Any]):
    ann, bob = people["ann"], people["bob"]
    ids = [gif(people["user bob"], f"{number}") for number in range(3)]
    secret = gif(people["user bob"], "secret", visibility="private")

    for gif_id in (*ids, ids[0]):
        assert ann("PUT", f"/api/favourites/{gif_id}").status_code == 204
    assert ann("PUT", f"/api/favourites/{secret}").status_code == 404
    assert people["stranger"]("PUT", f"/api/favourites/{ids[0]}").status_code == 401

    assert titles(ann, "/api/favourites") == ["2", "1", "0"]
    assert titles(bob, "/api/favourites") == []
    # One that its owner hides is not shown for as long as it is hidden
    bob("PATCH", f"/api/gifs/{ids[1]}", json={"visibility": "private"})
    bob("POST", f"/api/gifs/{ids[2]}/trash")
    assert titles(ann, "/api/favourites") == ["0"]
    bob("PATCH", f"/api/gifs/{ids[1]}", json={"visibility": "unlisted"})
    assert titles(ann, "/api/favourites") == ["1", "0"]
    assert ann("DELETE", f"/api/favourites/{ids[1]}").status_code == 204
    assert titles(ann, "/api/favourites") == ["0"]
    # They go with the GIF
    bob("DELETE", f"/api/gifs/{ids[0]}")
    assert titles(ann, "/api/favourites") == []


def test_a_user_has_so_many_favourites_at_most(
    people: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(favourites, "MOST", 1)
    first, second = (gif(None, title) for title in "ab")
    ann = people["ann"]

    assert ann("PUT", f"/api/favourites/{first}").status_code == 204
    assert ann("PUT", f"/api/favourites/{second}").json()["code"] == "too_many_favourites"
    assert ann("PUT", f"/api/favourites/{first}").status_code == 204


def test_the_page_has_a_button_for_favourites(people: dict[str, Any]):
    ann, gif_id = people["ann"], gif(people["user bob"], "cat")
    assert 'aria-pressed="false"' in ann("GET", f"/gifs/{gif_id}").text
    assert "favourite" not in people["stranger"]("GET", f"/gifs/{gif_id}").text

    added = ann("POST", f"/gifs/{gif_id}/favourite", data={"x": "y"})

    assert added.headers["location"] == f"/gifs/{gif_id}"
    assert 'aria-pressed="true"' in ann("GET", f"/gifs/{gif_id}").text
    assert "cat" in ann("GET", "/favourites").text
    ann("POST", f"/gifs/{gif_id}/unfavourite", data={"x": "y"})
    assert titles(ann, "/api/favourites") == []


# Collections


def new_collection(client: Client, name: str, **fields: str) -> str:
    made = client("POST", "/api/collections", json={"name": name, **fields})
    assert made.status_code == 201
    assert made.headers["location"] == f"/api/collections/{made.json()['id']}"
    return str(made.json()["id"])


def test_a_collection_has_its_own_order(people: dict[str, Any]):
    ann = people["ann"]
    ids = {title: gif(people["user bob"], title, tags=[f"tag{title}"]) for title in "abcde"}
    collection = new_collection(ann, "Letters")
    for title in "ecabd":
        path = f"/api/collections/{collection}/gifs/{ids[title]}"
        assert ann("PUT", path).status_code == 204
        assert ann("PUT", path).status_code == 204
    listed = f"/api/gifs?collection={collection}"
    assert titles(people["stranger"], listed) == list("ecabd")
    assert ann("GET", f"/api/collections/{collection}").json()["size"] == 5

    # When some are named, I expect these first, and the others as they were
    ann("PATCH", f"/api/collections/{collection}", json={"first": [ids["b"], "x", ids["a"]]})
    assert titles(ann, listed) == list("baecd")
    assert ann("DELETE", f"/api/collections/{collection}/gifs/{ids['a']}").status_code == 204
    assert titles(ann, listed) == list("becd")
    assert titles(ann, f"{listed}&tag=tagc") == ["c"]
    # With words or other filters, I expect those of them that a search finds
    gif(people["user bob"], "c")
    assert titles(ann, f"{listed}&q=c") == ["c"]
    assert titles(ann, f"{listed}&q=tagd&tag=tagc") == []
    assert titles(ann, f"{listed}&rating=g&sort=newest") == list("edcb")
    assert titles(ann, f"{listed}&q=c&user={people['user ann'].id}") == []
    assert ann("GET", "/api/gifs?collection=nope").json()["code"] == "collection_not_found"

    assert ann("DELETE", f"/api/collections/{collection}").status_code == 204
    assert ann("GET", f"/api/collections/{collection}").status_code == 404
    assert Gif.select().count() == 6


def test_a_list_of_many_collections_takes_no_more_queries(
    people: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    ann, execute, asked = people["user ann"], db.obj.execute_sql, []

    def counted(sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    def queries() -> int:
        asked.clear()
        own = collections.collections_of(ann)
        assert {each["user"]["name"] for each in collections_json(own, Viewer(ann.id))} == {"ann"}
        return len(asked)

    collections.create(ann, "one")
    monkeypatch.setattr(db.obj, "execute_sql", counted)
    few = queries()
    for number in range(5):
        collections.create(ann, f"{number}")

    assert queries() == few


def test_a_collection_shows_no_more_than_its_reader_may_see(people: dict[str, Any]):
    # Given a public and an unlisted collection of Ann's, with GIFs of each kind
    ann, bob, stranger = people["ann"], people["bob"], people["stranger"]
    ids = {
        visibility: gif(people["user ann"], visibility, visibility=visibility)
        for visibility in ("public", "unlisted", "private")
    }
    ids["trashed"] = gif(people["user ann"], "trashed")
    of = {name: new_collection(ann, name, visibility=name) for name in ("public", "unlisted")}
    for collection in of.values():
        for gif_id in ids.values():
            ann("PUT", f"/api/collections/{collection}/gifs/{gif_id}")
    ann("POST", f"/api/gifs/{ids['trashed']}/trash")

    for client in (bob, stranger):
        for path in ("/api/gifs?collection=", "/collections/", "/api/collections/"):
            assert client("GET", f"{path}{of['public']}").status_code == 200
        assert titles(client, f"/api/gifs?collection={of['public']}") == ["public"]
        assert titles(client, f"/api/gifs?collection={of['unlisted']}") == ["public", "unlisted"]
        assert client("GET", f"/api/collections/{of['unlisted']}").json()["size"] == 2
    bobs = new_collection(bob, "Bob's")
    for kind in ("private", "trashed"):
        into = bob("PUT", f"/api/collections/{bobs}/gifs/{ids[kind]}")
        assert into.json()["code"] == "gif_not_found"
    own = titles(ann, f"/api/gifs?collection={of['public']}")
    assert own == ["public", "unlisted", "private"]


def test_a_private_collection_is_not_there_for_others(people: dict[str, Any]):
    ann, bob = people["ann"], people["bob"]
    secret = new_collection(ann, "Secret", visibility="private")
    public = new_collection(ann, "Public")
    gif_id = gif(people["user bob"], "cat")

    for client in (bob, people["stranger"]):
        for path in (f"/api/collections/{secret}", f"/collections/{secret}",
                     f"/api/gifs?collection={secret}"):  # fmt: skip
            assert client("GET", path).status_code == 404
    for method, path, body in (
        ("PATCH", f"/api/collections/{secret}", {"json": {"name": "x"}}),
        ("DELETE", f"/api/collections/{secret}", {}),
        ("PUT", f"/api/collections/{secret}/gifs/{gif_id}", {}),
        ("DELETE", f"/api/collections/{secret}/gifs/{gif_id}", {}),
        ("POST", f"/collections/{secret}/edit", {"data": {"name": "x"}}),
        ("POST", f"/collections/{secret}/delete", {"data": {"name": "x"}}),
        ("POST", f"/gifs/{gif_id}/collect", {"data": {"collection": secret}}),
        ("POST", f"/gifs/{gif_id}/uncollect", {"data": {"collection": secret}}),
    ):
        assert bob(method, path, **body).status_code == 404, path
        of_public = json.loads(json.dumps(body).replace(secret, public))
        assert bob(method, path.replace(secret, public), **of_public).status_code == 403, path
    assert ann("GET", f"/api/collections/{secret}").json()["name"] == "Secret"
    assert collections.Collection.select().count() == 2


def test_the_page_of_a_gif_collects_it(people: dict[str, Any]):
    ann, gif_id = people["ann"], gif(people["user bob"], "cat")

    # When Ann adds it to a new collection, and then to a second one
    ann("POST", f"/gifs/{gif_id}/collect", data={"name": "Cats & dogs"})
    ann("POST", "/collections", data={"name": "Best", "visibility": "private"})
    best, cats = collections.collections_of(people["user ann"])
    ann("POST", f"/gifs/{gif_id}/collect", data={"collection": best.id})

    # I expect both to have it, and the page to say so
    page = ann("GET", f"/gifs/{gif_id}").text
    assert "Collections (2)" in page
    assert "Cats &amp; dogs" in page
    assert "cat" in people["bob"]("GET", f"/collections/{cats.id}").text
    assert "1 GIF, private" in ann("GET", "/collections").text
    ann("POST", f"/gifs/{gif_id}/uncollect", data={"collection": best.id})
    assert collections.with_gif(people["user ann"], gif_id) == {cats.id}
    # Impossible names are refused
    refused = ann("POST", "/api/collections", json={"name": " "})
    assert refused.json()["code"] == "name_missing"


@pytest.mark.parametrize("path", ["/mine", "/favourites", "/trash", "/collections"])
def test_strangers_have_to_log_in(people: dict[str, Any], path: str):
    assert people["stranger"]("GET", path).status_code == 401
    assert "Show all GIFs" in people["ann"]("GET", path).text or path == "/collections"
