"""Which GIFs a client never finds."""

from dataclasses import replace
from typing import Any

import pytest

from gifster.app.edits import Crop, Edit
from gifster.uploads import StoredFile, StoredVersion
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


def test_nobody_gets_the_original_of_a_gif_with_an_edit(gifs: Library):
    # Given a GIF of which its owner has cut something off
    def edited(image: StoredFile) -> StoredFile:
        key = image.key.replace("original", "full")
        full = StoredVersion("store", key, "image/gif", 1_000_000, 500, 400)
        return replace(image, versions={**image.versions, "full": full})

    gif_id = gifs.add("cropped", change=edited, edit=Edit(crop=Crop(0, 0, 500, 400)))

    # I expect what the edit has selected wherever the original would be
    (found,) = gifs.get("/v2/search", q="cropped")["results"]
    assert found["media_formats"]["gif"]["dims"] == [500, 400]
    images = gifs.get(f"/v1/gifs/{gif_id}")["data"]["images"]
    assert images["downsized_large"]["width"] == "500"
    answers = (gifs.ask("/v2/search?q=cropped").text, gifs.ask(f"/v1/gifs/{gif_id}").text)
    assert all("original.gif" not in text for text in answers)
    for name in ("giphy-downsized-large.gif", "gif.gif", "giphy.gif"):
        address = gifs.ask(f"/media/{gif_id}/{name}").headers["Location"]
        assert not address.endswith("original.gif")
