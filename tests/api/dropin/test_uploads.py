"""Uploads by GIPHY's form, with an API token."""

from collections.abc import Callable
from typing import Any

import pytest

from gifster import jobs
from gifster.app import tokens
from gifster.app.database import db
from gifster.app.models import Gif, GifTag, Tag
from tests import images
from tests.api.dropin.conftest import Library
from tests.app.people import person

PICTURE = {"file": ("cat.gif", images.gif((30, 20)), "image/gif")}


@pytest.fixture(autouse=True)
def _outbox(gifs: Library) -> None:
    """The tables of the jobs, which each test takes from the next one."""
    db.bind(jobs.TABLES)


@pytest.fixture(scope="module")
def token(gifs: Library) -> Callable[[str], str]:
    """Makes API tokens of one user."""
    with db.connection_context():
        user = person("Ann")

    def make(scope: str) -> str:
        with db.connection_context():
            return tokens.create_token(user, "bot", scope)[1]

    return make


def added(answer: Any) -> Gif:
    """The GIF of an answer in GIPHY's envelope."""
    assert answer.status_code == 200, answer.text
    assert answer.json()["meta"]["status"] == 200
    with db.connection_context():
        return Gif.get_by_id(answer.json()["data"]["id"])


def tags_of(gif: Gif) -> list[str]:
    with db.connection_context():
        query = Tag.select(Tag.name).join(GifTag).where(GifTag.gif == gif).order_by(Tag.name)
        return [tag.name for tag in query]


def test_a_form_is_accepted_with_its_job(gifs: Library, token: Callable[[str], str]):
    fields = {"api_key": token("write"), "tags": "Cat, sleepy", "title": "Asleep", "username": "x",
              "source_post_url": "https://example.org", "rating": "nonsense"}  # fmt: skip
    gif = added(gifs.ask("/v1/gifs", "POST", data=fields, files=PICTURE))

    assert (gif.title, gif.visibility, gif.image_state) == ("Asleep", "public", "queued")
    assert gif.user.name == "Ann"
    assert tags_of(gif) == ["cat", "sleepy"]
    with db.connection_context():
        (waiting,) = db.obj.execute_sql('SELECT COUNT(*) FROM "outbox"').fetchone()
    assert waiting > 0


def test_the_token_and_the_tags_may_be_in_the_query(gifs: Library, token: Callable[[str], str]):
    # As giphypop sends them
    asked = {"api_key": token("admin"), "tags": "dog,happy"}
    gif = added(gifs.ask("/v1/gifs", "POST", params=asked, files=PICTURE))

    assert (gif.title, tags_of(gif)) == ("cat", ["dog", "happy"])


def test_the_token_may_be_in_a_header(gifs: Library, token: Callable[[str], str]):
    headers = {"Authorization": f"Bearer {token('write')}"}
    gif = added(gifs.ask("/v1/gifs", "POST", headers=headers, files=PICTURE,
                         data={"is_hidden": "true"}))  # fmt: skip
    assert gif.visibility == "unlisted"


@pytest.mark.parametrize("key", ["", "nonsense"])
def test_nobody_uploads_without_a_token(gifs: Library, key: str):
    answer = gifs.ask("/v1/gifs", "POST", data={"api_key": key}, files=PICTURE)

    assert answer.status_code == answer.json()["meta"]["status"] == 401


def test_a_wrong_token_uploads_nowhere_even_where_anybody_may(
    in_process: Callable[..., Library],
):
    open_library = in_process(
        GIFSTER_AUTH__ANONYMOUS_UPLOADS="true", GIFSTER_SEARCH__KEYS='["known"]'
    )

    def sent(key: str) -> Any:
        return open_library.ask("/v1/gifs", "POST", data={"api_key": key}, files=PICTURE)

    assert sent("x" * 43).json()["meta"]["error_code"] == "token_invalid"
    assert sent("nonsense").json()["meta"]["error_code"] == "api_key_invalid"
    assert sent("known").status_code == sent("").status_code == 200


def test_a_token_that_only_reads_does_not_upload(gifs: Library, token: Callable[[str], str]):
    answer = gifs.ask("/v1/gifs", "POST", data={"api_key": token("read")}, files=PICTURE)

    assert answer.status_code == 403


def test_a_page_of_another_site_uploads_with_a_token_only(
    gifs: Library, token: Callable[[str], str]
):
    headers = {"Origin": "https://chat.example", "Sec-Fetch-Site": "cross-site"}
    key = {"api_key": token("write")}

    added(gifs.ask("/v1/gifs", "POST", headers=headers, params=key, files=PICTURE))
    refused = gifs.ask("/v1/gifs", "POST", headers=headers, files=PICTURE)
    assert refused.json()["meta"]["error_code"] == "cross_site"


def test_bad_uploads_are_refused_in_the_envelope(gifs: Library, token: Callable[[str], str]):
    key = {"api_key": token("write")}

    def refused(**options: Any) -> tuple[int, str]:
        answer = gifs.ask("/v1/gifs", "POST", params=key, **options)
        assert answer.json()["data"] == []
        return answer.status_code, answer.json()["meta"]["error_code"]

    assert refused() == (422, "image_missing")
    assert refused(data={"tags": "cat"}) == (422, "image_missing")
    assert refused(files={"file": ("a.gif", b"GIF89a", "image/gif")})[0] == 422
    assert refused(files={"file": ("a.txt", b"text", "text/plain")})[0] == 415
    assert refused(json=[1]) == (400, "json_invalid")
    assert refused(json={"source_image_url": "http://127.0.0.1/"})[0] == 422
    assert refused(data={"source_image_url": "x" * 9_000}) == (422, "remote_url_invalid")
    malformed = {"Content-Type": "multipart/form-data; boundary=x"}
    assert refused(content=b"--x", headers=malformed)[0] == 400


def test_the_token_must_come_before_the_file(gifs: Library, token: Callable[[str], str]):
    # Who sends the file is asked before any of it is read.
    boundary = "x"
    parts = [
        b'Content-Disposition: form-data; name="file"; filename="a.gif"\r\n\r\n' + images.gif(),
        b'Content-Disposition: form-data; name="api_key"\r\n\r\n' + token("write").encode(),
    ]
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}

    assert gifs.ask("/v1/gifs", "POST", content=body, headers=headers).status_code == 401
