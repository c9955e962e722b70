"""Which GIFs a client never finds."""

from typing import Any

import pytest

from tests.api.dropin.conftest import Library


def ids(page: Any) -> list[str]:
    return [result["id"] for result in page["results"]]


@pytest.mark.parametrize("hidden", [{"visibility": "private"}, {"trashed_at": 1}])
def test_private_gifs_and_the_trash_do_not_exist(gifs: Library, hidden: dict[str, Any]):
    gif_id = gifs.add("secret", "secrets", **hidden)

    assert ids(gifs.get("/v2/search", q="secret")) == []
    assert gif_id not in ids(gifs.get("/v2/featured", limit=50))
    assert ids(gifs.get("/v2/posts", ids=gif_id)) == []
    assert gifs.ask(f"/media/{gif_id}/giphy.gif").status_code == 404


def test_an_unlisted_gif_is_there_only_for_those_who_know_its_id(gifs: Library):
    gif_id = gifs.add("whispered", visibility="unlisted")

    assert ids(gifs.get("/v2/search", q="whispered")) == []
    assert ids(gifs.get("/v2/posts", ids=gif_id)) == [gif_id]
