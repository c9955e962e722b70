"""What clients tell of people's choices: it makes GIFs popular."""

from collections.abc import Callable
from typing import Any

import pytest

from gifster.app.database import db
from gifster.app.search import popularity
from gifster.app.search.popularity import Counts
from tests.api.dropin.conftest import Library

Tell = Callable[[Library, str], Any]


@pytest.fixture
def counts() -> Counts:
    return popularity.COUNTS


def event(gifs: Library, gif_id: str, action: str = "CLICK") -> dict[str, Any]:
    """An event of GIPHY's script."""
    payload = gifs.get(f"/v1/gifs/{gif_id}")["data"]["analytics_response_payload"]
    return {"action_type": action, "user_id": "x", "ts": 1, "attributes": {"position": "1"},
            "analytics_response_payload": f"{payload}&mode=verification"}  # fmt: skip


def onsent(gifs: Library, gif_id: str) -> None:
    url = gifs.get(f"/v1/gifs/{gif_id}")["data"]["analytics"]["onsent"]["url"]
    assert gifs.ask(f"{url}&random_id=x&ts=1").status_code == 200


TOLD: dict[str, Tell] = {
    "registershare": lambda gifs, gif_id: gifs.get("/v2/registershare", id=gif_id, q="popular"),
    "onsent": onsent,
    "pingback": lambda gifs, gif_id: gifs.ask(
        "/v2/pingback?apikey=x", "POST", json={"events": [event(gifs, gif_id)]}
    ),
    "action": lambda gifs, gif_id: gifs.ask(
        "/v1/gifs/search/actions", "POST", json={"action_type": "SENT", "gif_id": gif_id}
    ),
}


@pytest.mark.parametrize("told", TOLD)
def test_what_somebody_takes_is_found_first(gifs: Library, counts: Counts, told: str):
    # Given several GIFs, of which the oldest is the last one among the featured ones
    first = gifs.add(f"popular {told}", rating="g")
    others = [gifs.add(f"popular {told}") for _ in range(3)]
    assert first != featured(gifs)[0]

    # When a client tells that somebody has taken it
    TOLD[told](gifs, first)
    with db.connection_context():
        counts.write()

    # I expect it before those that nobody takes
    ranking = featured(gifs)
    assert ranking.index(first) < min(map(ranking.index, others))


def featured(gifs: Library) -> list[str]:
    return [result["id"] for result in gifs.get("/v2/featured", limit=50)["results"]]


def test_that_it_was_seen_does_not_count(gifs: Library, counts: Counts):
    gif_id = gifs.add("seen")
    gifs.ask("/v2/pingback", "POST", json={"events": [event(gifs, gif_id, "SEEN")]})
    gifs.ask(gifs.get(f"/v1/gifs/{gif_id}")["data"]["analytics"]["onload"]["url"])
    assert gif_id not in counts._used


def test_gifs_that_nobody_may_see_are_not_counted(gifs: Library, counts: Counts):
    gif_id = gifs.add("secret", visibility="private")
    gifs.get("/v2/registershare", id=gif_id)
    assert gif_id not in counts._used


def test_searches_that_find_something_are_counted(gifs: Library, counts: Counts):
    gifs.add("zebra", "striped")
    for path in ("/v2/search", "/v1/gifs/search"):
        for q in ("Zebra", "unknownword"):
            gifs.get(path, q=q)

    assert "zebra" in counts._searched
    assert "unknownword" not in counts._searched
    # What is frequent is where people can begin.
    assert "striped" in gifs.get("/v2/trending_terms")["results"]
    assert "striped" in gifs.get("/v1/trending/searches")["data"]
    names = [tag["name"] for tag in gifs.get("/v2/categories", type="trending")["tags"]]
    assert "#striped" in names
