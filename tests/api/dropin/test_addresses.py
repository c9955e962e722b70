"""The addresses in results: people paste them into chats, so they must stay."""

from collections.abc import Callable

import pytest

from gifster.app.database import db
from tests.api.dropin.conftest import Library, still


@pytest.fixture(scope="module")
def bucket(in_process: Callable[..., Library]) -> Library:
    """A library whose files are in a bucket, with URLs that expire."""
    made = in_process(
        GIFSTER_STORE__KIND="s3",
        GIFSTER_STORE__BUCKET="gifs",
        GIFSTER_STORE__ENDPOINT_URL="https://s3.example.org",
        GIFSTER_STORE__ACCESS_KEY_ID="key",
        GIFSTER_STORE__SECRET_ACCESS_KEY="secret",
    )
    made.add("A cat")
    return made


def test_results_have_addresses_that_do_not_expire(bucket: Library):
    (found,) = bucket.get("/v2/search", q="cat")["results"]
    formats = {name: media["url"] for name, media in found["media_formats"].items()}
    own = f"https://gifs.example.org/media/{found['id']}/"
    assert formats["tinygif"] == own + "tinygif.gif"
    assert formats["preview"] == own + "preview.webp"
    assert all(url.startswith(own) for url in formats.values())

    images = bucket.get("/v1/gifs/search", q="cat")["data"][0]["images"]
    assert images["fixed_width"]["url"] == own + "200w.gif"
    assert images["original"]["mp4"] == own + "giphy.mp4"
    urls = [image[key] for image in images.values() for key in ("url", "mp4", "webp")
            if key in image]  # fmt: skip

    # Each of them leads to the very file whose size the results tell.
    for url in [*formats.values(), *urls]:
        answer = bucket.ask(url)
        assert answer.status_code == 302, url
        assert answer.headers["Location"].startswith("https://s3.example.org/gifs/"), url
        assert answer.headers["Cache-Control"] == "no-cache"


def test_an_address_leads_to_the_file_whose_size_was_told(bucket: Library):
    (found,) = bucket.get("/v2/search", q="cat")["results"]
    for name, media in found["media_formats"].items():
        key = bucket.ask(media["url"]).headers["Location"].partition("?")[0].rpartition("/")[2]
        direct = {"original.gif": [600, 400], "preview": [480, 320], "tinygif": [220, 147],
                  "nanogif": [135, 90], "mp4": [480, 320], "tinymp4": [320, 214],
                  "webm": [480, 320], "webp": [480, 320], "poster": [480, 320],
                  "tinyposter": [220, 147], "nanoposter": [135, 90]}  # fmt: skip
        assert media["dims"] == direct[key], name


def test_what_stands_for_a_video_of_a_still_has_an_address_that_leads_to_it(bucket: Library):
    # Given a still GIF, of which there can be no video
    gif_id = bucket.add("A picture", change=still)

    # When a client insists on one, I expect an address of the GIF that was sent in its place
    wanted = {"ids": gif_id, "media_filter": "mp4,tinymp4,webm,webp,gif"}
    for place in ("/v2", "/proxy/tenor/api/v2"):
        (found,) = bucket.get(f"{place}/posts", **wanted)["results"]
        assert set(found["media_formats"]) == set(wanted["media_filter"].split(","))
        for name, media in found["media_formats"].items():
            answer = bucket.ask(media["url"])
            assert answer.status_code == 302, (name, media["url"])
            assert answer.headers["Location"].partition("?")[0].endswith("/original.gif")


def test_addresses_stay_whatever_happens_to_the_files(in_process: Callable[..., Library]):
    # Given what a client has pasted into a chat
    made = in_process()
    gif_id = made.add("A cow")

    def addresses() -> dict[str, str]:
        (found,) = made.get("/v2/search", q="cow")["results"]
        return {name: media["url"] for name, media in found["media_formats"].items()}

    before = addresses()
    assert before["gif"] == f"https://gifs.example.org/g/{gif_id}.gif"
    assert before["tinygif"] == f"https://gifs.example.org/g/{gif_id}/tinygif.gif"

    # When an edit, or another picture, gives all files new places
    with db.connection_context():
        db.execute_sql('UPDATE "gif" SET "image" = replace("image", \'/5b1d/\', \'/77aa/\')')

    # I expect the same addresses
    assert addresses() == before


def test_a_bucket_with_a_cdn_has_addresses_that_stay_too(in_process: Callable[..., Library]):
    made = in_process(
        GIFSTER_STORE__KIND="s3",
        GIFSTER_STORE__BUCKET="gifs",
        GIFSTER_STORE__BASE_URL="https://cdn.example.org",
    )
    made.add("A dog")
    (found,) = made.get("/v2/search", q="dog", media_filter="tinygif")["results"]
    url = found["media_formats"]["tinygif"]["url"]
    assert url == f"https://gifs.example.org/media/{found['id']}/tinygif.gif"
    location = made.ask(url).headers["Location"]
    assert location.startswith("https://cdn.example.org/gifs/")
