"""Who finds which GIFs: each list, page, feed and drop-in, for each kind of person and of GIF, from
real answers. A GIF is named by an answer if its id, its tag or its title is in it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gifster.api.app import create_app
from gifster.app import collections, favourites, library, search, tokens
from gifster.app.access import Reach, Viewer
from gifster.app.models import FingerprintPart, Gif, User, fingerprint_parts, now
from gifster.app.moderation import hiding
from gifster.app.settings import Settings
from gifster.app.tokens import Scope
from tests.api.clients import Client
from tests.api.stored_gifs import DHASH, stored_gif
from tests.app.people import person

KINDS = ("private", "hidden", "trashed", "unlisted", "public")
#: With a session, but for the last two.
PEOPLE = ("stranger", "other", "moderator", "owner", "admin", "moderator's reading token",
          "admin's writing token")  # fmt: skip
PUBLIC, NOTHING = {"public"}, set[str]()
BY_ADDRESS = {"public", "unlisted"}
OUTSIDE_THE_TRASH = {*BY_ADDRESS, "private", "hidden"}
#: Who sees something, and which kinds; others see the first.
Row = tuple[set[str], dict[str, set[str]]]
EVERYBODY: Row = (PUBLIC, {})
OF_OWNER: Row = (NOTHING, {"owner": OUTSIDE_THE_TRASH})

#: The paths, in which names in braces are ids.
TABLE: dict[str, Row] = {
    "/api/gifs": EVERYBODY,
    "/api/gifs?tag=zebras": EVERYBODY,
    "/api/gifs?q=zebra": EVERYBODY,
    "/api/gifs?user={ann}": EVERYBODY,
    "/api/gifs?user={ann}&sort=popular": EVERYBODY,
    "/api/gifs?type=gif&rating=r": EVERYBODY,
    # A public collection shows others what is listed, an unlisted one also what is unlisted.
    "/api/gifs?collection={public}": (PUBLIC, {"owner": OUTSIDE_THE_TRASH}),
    "/api/gifs?collection={public}&tag=zebras": (PUBLIC, {"owner": OUTSIDE_THE_TRASH}),
    "/collections/{public}": (PUBLIC, {"owner": OUTSIDE_THE_TRASH}),
    "/api/gifs?collection={unlisted}": (
        BY_ADDRESS, {"owner": OUTSIDE_THE_TRASH, "admin": OUTSIDE_THE_TRASH},
    ),
    "/api/gifs?collection={unlisted}&tag=zebras": (
        BY_ADDRESS, {"owner": OUTSIDE_THE_TRASH, "admin": OUTSIDE_THE_TRASH},
    ),
    "/collections/{unlisted}": (
        BY_ADDRESS, {"owner": OUTSIDE_THE_TRASH, "admin": OUTSIDE_THE_TRASH},
    ),
    "/api/gifs?collection={private}": (
        NOTHING, {"owner": OUTSIDE_THE_TRASH, "admin": OUTSIDE_THE_TRASH},
    ),
    "/collections/{private}": (
        NOTHING, {"owner": OUTSIDE_THE_TRASH, "admin": OUTSIDE_THE_TRASH},
    ),
    # What a search finds in them is listed, also for the owner.
    **{f"/api/gifs?collection={{{name}}}&{more}": EVERYBODY
       for name in ("public", "unlisted")
       for more in ("q=zebra", "user={ann}", "sort=newest", "sort=popular", "rating=r&type=gif")},
    "/api/gifs?collection={private}&q=zebra": (NOTHING, {"owner": PUBLIC, "admin": PUBLIC}),
    "/": EVERYBODY,
    "/?tag=zebras": EVERYBODY,
    "/?q=zebra": EVERYBODY,
    "/tags": EVERYBODY,
    "/api/tags": EVERYBODY,
    "/api/search/complete?q=tag": EVERYBODY,
    "/api/search/suggestions?q=zebra": EVERYBODY,
    "/feed.atom": EVERYBODY,
    "/feed.atom?tag=zebras": EVERYBODY,
    "/feed.atom?user={ann}": EVERYBODY,
    "/v2/search?key=k&q=zebra": EVERYBODY,
    "/v2/featured?key=k": EVERYBODY,
    "/v2/autocomplete?key=k&q=tag": EVERYBODY,
    "/v2/search_suggestions?key=k&q=zebra": EVERYBODY,
    "/v2/categories?key=k": EVERYBODY,
    "/v1/gifs/search?api_key=k&q=zebra": EVERYBODY,
    "/v1/gifs/trending?api_key=k": EVERYBODY,
    "/v1/gifs/search/tags?api_key=k&q=tag": EVERYBODY,
    "/v1/gifs/categories?api_key=k": EVERYBODY,
    # Who knows an id was told it. Nobody is logged in there, so owners see no more.
    "/v2/posts?key=k&ids={ids}": (BY_ADDRESS, {}),
    "/v1/gifs?api_key=k&ids={ids}": (BY_ADDRESS, {}),
    # One's own lists.
    "/api/mine": OF_OWNER,
    "/mine": OF_OWNER,
    "/api/favourites": OF_OWNER,
    "/favourites": OF_OWNER,
    "/api/trash": (NOTHING, {"owner": {"trashed"}}),
    "/trash": (NOTHING, {"owner": {"trashed"}}),
    "/api/moderation/hidden": (NOTHING, {"moderator": {"hidden"}, "admin": {"hidden"}}),
    "/moderation/hidden": (NOTHING, {"moderator": {"hidden"}, "admin": {"hidden"}}),
}  # fmt: skip
#: How many GIFs of a collection somebody is told.
SIZES = {
    "public": (1, {"owner": 4}),
    "unlisted": (2, {"owner": 4, "admin": 4}),
    "private": (None, {"owner": 4, "admin": 4}),
}


@dataclass
class Shelves:
    """A library with a GIF of Ann's of each kind, which are also in her collections and among her
    favourites; and a copy of Bob's."""

    people: dict[str, Client]
    gifs: dict[str, str]
    names: dict[str, str]

    def seen(self, who: str, path: str) -> set[str]:
        """Which kinds of Ann's GIFs an answer names."""
        answer = self.people[who]("GET", path.format(**self.names))
        assert answer.status_code in (200, 303, 401, 403, 404), (who, path, answer.text)
        marks = {kind: (gif_id, f"tag{kind}") for kind, gif_id in self.gifs.items()}
        return {kind for kind, both in marks.items() if any(mark in answer.text for mark in both)}


@pytest.fixture
def shelves(booted: Settings) -> Iterator[Shelves]:
    ann, bob = person("ann"), person("other")
    moderator, root = person("moderator", is_moderator=True), person("admin", is_admin=True)
    gifs = {kind: stored_gif(ann, f"zebra {kind}", ["zebras", f"tag{kind}"]) for kind in KINDS}
    copy = stored_gif(bob, "copy", [])
    for kind, gif in gifs.items():
        Gif.update(sha256=kind).where(Gif.id == gif.id).execute()
    FingerprintPart.delete().where(FingerprintPart.gif != copy.id).execute()
    found = {visibility: collections.create(ann, visibility, visibility)
             for visibility in ("public", "unlisted", "private")}  # fmt: skip
    own = Viewer(ann.id, Reach.OWN)
    for gif in gifs.values():
        favourites.add(ann, gif.id, own)
        for collection in found.values():
            collections.add(collection.id, gif.id, own)
    for kind in ("private", "unlisted"):
        library.edit_gif(gifs[kind].id, ann, visibility=kind)
    hiding.moderate(gifs["hidden"].id, "hide", moderator, Reach.MODERATED, "rude")
    Gif.update(trashed_at=now()).where(Gif.id == gifs["trashed"].id).execute()
    for gif in Gif.select():
        search.put(gif)
    with asyncio.Runner() as runner:
        app = create_app(booted)

        def client(one: User | None, scope: str = "") -> Client:
            headers = {"Accept": "text/html, application/json;q=0.9"}
            if one is not None and scope:
                secret = tokens.create_token(one, "t", scope)[1]
                headers["Authorization"] = f"Bearer {secret}"
            elif one is not None:
                headers["Cookie"] = f"gifster_session={tokens.start_session(one, 1)}"
            return Client(app, runner.get_loop(), headers)

        of = dict(zip(PEOPLE, [None, bob, moderator, ann, root], strict=False))
        yield Shelves(
            {name: client(one) for name, one in of.items()}
            | {PEOPLE[5]: client(moderator, Scope.READ), PEOPLE[6]: client(root, Scope.WRITE)},
            {kind: gif.id for kind, gif in gifs.items()},
            {name: one.id for name, one in found.items()}
            | {"ann": ann.id, "copy": copy.id, "ids": ",".join(gif.id for gif in gifs.values())},
        )


def test_each_list_names_what_its_reader_may_find(shelves: Shelves):
    # Given GIFs of Ann's that are no duplicates, I expect each answer to name those of the table
    wrong = [
        (who, path, sorted(seen))
        for path, (of_others, of) in TABLE.items()
        for who in PEOPLE
        if (seen := shelves.seen(who, path)) != of.get(who, of_others)
    ]
    assert wrong == []
    for collection, (of_others, of) in SIZES.items():
        for who in PEOPLE:
            path = f"/api/collections/{shelves.names[collection]}"
            said = shelves.people[who]("GET", path).json().get("size")
            assert said == of.get(who, of_others), (who, collection)


def test_a_copy_names_the_duplicates_that_its_reader_may_find(shelves: Shelves):
    # Given a copy of Bob's that is younger than GIFs of Ann's with the same file
    copy = Gif.get_by_id(shelves.names["copy"])
    Gif.update(sha256=copy.sha256).execute()
    for gif_id in shelves.gifs.values():
        for part in fingerprint_parts(DHASH):
            FingerprintPart.create(gif=gif_id, part=part)

    # I expect all others to learn of the public one alone, and Ann of her own
    for who in PEOPLE:
        expected = OUTSIDE_THE_TRASH if who == "owner" else PUBLIC
        for path in ("/api/gifs/{copy}", "/gifs/{copy}"):
            assert shelves.seen(who, path) == expected, (who, path)
        oldest = shelves.gifs["private" if who == "owner" else "public"]
        client, asked = shelves.people[who], {"sha256": [copy.sha256]}
        found = client("POST", "/duplicates", json=asked).json()["found"]
        assert found[copy.sha256]["id"] == oldest, who
        card = client("POST", "/cards", json={"shown": {copy.id: [None, None]}}).json()["cards"]
        named = {kind for kind, gif_id in shelves.gifs.items() if gif_id in card[copy.id]}
        assert named == (PUBLIC if who in ("other", "moderator", "admin") else NOTHING), who
