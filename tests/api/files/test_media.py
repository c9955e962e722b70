"""`/media`: what browsers and caches learn about uploaded files."""

import pytest

from gifster.api.middleware import image_origins
from gifster.app.settings import Store
from tests import images
from tests.stack import Stack


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    return stack.finished(stack.upload(images.gif((300, 200))).json()["id"])["image"]["url"]


def test_a_file_has_its_type_and_is_cached_forever(stack: Stack, url: str):
    answer = stack.client.get(url)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/gif"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["accept-ranges"] == "bytes"
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_nothing_in_a_file_can_run(stack: Stack, url: str):
    answer = stack.client.get(url)

    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script" not in policy


def test_a_cached_file_is_not_sent_again(stack: Stack, url: str):
    etag = stack.client.get(url).headers["etag"]

    answer = stack.client.get(url, headers={"If-None-Match": etag})

    assert answer.status_code == 304
    assert answer.content == b""
    assert stack.client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=10-", 10, None), ("bytes=-10", -10, None), ("bytes=5-5", 5, 5)],
)
def test_a_client_can_ask_for_a_part(
    stack: Stack, url: str, asked: str, first: int, last: int | None
):
    whole = stack.client.get(url).content

    answer = stack.client.get(url, headers={"Range": asked})

    expected = whole[first : None if last is None else last + 1]
    assert answer.status_code == 206
    assert answer.content == expected
    start = whole.index(expected) if first < 0 else first
    total = len(whole)
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(expected) - 1}/{total}"


def test_a_part_beyond_the_end_is_refused(stack: Stack, url: str):
    answer = stack.client.get(url, headers={"Range": "bytes=99999999-"})

    assert answer.status_code == 416
    assert answer.json()["code"] == "range_not_satisfiable"


def test_head_gets_the_same_headers_without_the_file(stack: Stack, url: str):
    answer = stack.client.head(url)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/gif"
    assert answer.content == b""


def test_a_missing_file_is_not_cached_forever(stack: Stack):
    answer = stack.client.get("/media/gifs/none/none/original.gif")

    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


@pytest.mark.parametrize(
    ("addressing", "origin"),
    [("auto", "https://s3.example.org:9000"), ("virtual", "https://gifs.s3.example.org:9000")],
)
def test_pages_may_show_images_from_the_bucket(addressing: str, origin: str):
    store = Store(kind="s3", bucket="gifs", endpoint_url="https://s3.example.org:9000",
                  addressing=addressing)  # fmt: skip

    assert image_origins(store) == [origin]
