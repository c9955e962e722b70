"""Who may ask: keys, rates, and pages of other sites; and what they hear if they may not."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.dropin.conftest import Library

KEYS = '["first-key", "second-key"]'
SEARCHES = ("/v2/search", "/v1/gifs/search", "/proxy/tenor/api/v2/search")


@pytest.fixture(scope="module")
def keyed(in_process: Callable[..., Library]) -> Library:
    """A library with two keys."""
    made = in_process(GIFSTER_SEARCH__KEYS=KEYS)
    made.add("A cat")
    return made


def reason(answer: Any) -> str:
    return answer.json()["error"]["details"][0]["reason"]


@pytest.mark.parametrize("key", ["", "third-key", "first-key2", "ключ"])
def test_only_the_keys_of_the_settings_are_taken(keyed: Library, key: str):
    # Ghost looks for these words, Discourse for this reason.
    refused = keyed.ask("/v2/search", params={"q": "cat", "key": key})
    assert (refused.status_code, reason(refused)) == (400, "API_KEY_INVALID")
    assert "API key not valid" in refused.json()["error"]["message"]

    refused = keyed.ask("/v1/gifs/search", params={"q": "cat", "api_key": key})
    assert refused.status_code == refused.json()["meta"]["status"] == 401
    assert refused.json()["data"] == []


def test_a_key_of_the_settings_finds_gifs(keyed: Library):
    assert keyed.get("/v2/search", q="cat", key="first-key")["results"]
    assert keyed.get("/v1/gifs/search", q="cat", api_key="second-key")["data"]


def test_media_addresses_need_no_key(keyed: Library):
    gif = keyed.get("/v1/gifs/search", q="cat", api_key="first-key")["data"][0]
    assert keyed.ask(f"/media/{gif['id']}/giphy.gif").status_code == 302


def test_a_key_does_not_allow_uploads(keyed: Library):
    answer = keyed.ask("/v1/gifs?api_key=first-key&source_image_url=http://a.example", "POST")

    assert answer.status_code == 401
    assert answer.json()["meta"]["error_code"] == "sign_in_first"


def test_each_key_has_a_rate_of_its_own(in_process: Callable[..., Library], keyed: Library):
    # Given a key that has used up its requests. (A process that counts for itself begins anew with
    # each minute of the clock, if the limit is one of minutes.)
    keyed = in_process(
        GIFSTER_SEARCH__KEYS=KEYS,
        GIFSTER_LIMITS__ENABLED="true",
        GIFSTER_LIMITS__SEARCH="3/365 days",
    )
    for _ in range(3):
        assert keyed.get("/v2/search", q="cat", key="first-key")["results"]

    # I expect both envelopes to say so, and when to come again
    refused = keyed.ask("/v2/search", params={"q": "cat", "key": "first-key"})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["status"]) == (429, 429, "RESOURCE_EXHAUSTED")
    assert int(refused.headers["Retry-After"]) > 0
    refused = keyed.ask("/v1/gifs/search", params={"q": "cat", "api_key": "first-key"})
    assert (refused.status_code, refused.json()["meta"]["status"]) == (429, 429)
    assert "Too many requests" in refused.json()["message"]
    # and the other key not to suffer
    assert keyed.get("/v2/search", q="cat", key="second-key")["results"]


@pytest.mark.parametrize("path", SEARCHES)
def test_pages_of_all_sites_may_ask(keyed: Library, path: str):
    # Bluesky and Spacebar send a Content-Type with a GET, so browsers ask before.
    preflight = keyed.ask(
        path,
        "OPTIONS",
        headers={
            "Origin": "https://chat.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "content-type",
        },
    )
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "*" in preflight.headers["Access-Control-Allow-Headers"]
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in preflight.headers

    # They read answers, refusals too.
    for sent in ({"q": "cat", "key": "first-key", "api_key": "first-key"}, {}):
        answer = keyed.ask(path, params=sent, headers={"Origin": "https://chat.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Expose-Headers"] == "*"
    assert answer.status_code in (400, 401)


@pytest.mark.parametrize(
    "path", ["/", "/api/gifs", "/login", "/v2", "/v3/search", "/api/v2/search"]
)
def test_no_other_path_is_open_to_pages_of_other_sites(keyed: Library, path: str):
    headers = {"Origin": "https://chat.example", "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        answer = keyed.ask(path, method, headers=headers)
        assert not any(name.lower().startswith("access-control") for name in answer.headers)


def test_a_page_of_another_site_uploads_nothing_in_the_name_of_its_visitor(keyed: Library):
    answer = keyed.ask(
        "/v1/gifs?source_image_url=http://a.example",
        "POST",
        headers={"Origin": "https://evil.example", "Cookie": "gifster_session=stolen"},
    )
    assert answer.status_code == 403
    assert answer.json()["meta"]["error_code"] == "cross_site"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/nonsense", 404, "NOT_FOUND"),
        ("/v1/nonsense", 404, None),
        ("/v2/emoji/nonsense", 404, None),
        ("/proxy/tenor/nonsense", 404, "NOT_FOUND"),
        ("/v2/search?q=%00", 400, "INVALID_ARGUMENT"),
        ("/v1/gifs/search?q=%00", 400, None),
    ],
)
def test_errors_come_in_the_envelope_of_their_path(
    keyed: Library, path: str, status: int, code: str | None
):
    answer = keyed.ask(path, headers={"Accept": "text/html"})

    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("application/json")
    if code is None:
        assert answer.json()["data"] == []
        assert answer.json()["meta"]["status"] == status
        assert answer.json()["meta"]["response_id"]
    else:
        error = answer.json()["error"]
        assert (error["code"], error["status"]) == (status, code)


def test_a_wrong_method_is_refused_in_the_envelope(keyed: Library):
    assert keyed.ask("/v2/search", "POST").json()["error"]["code"] == 405
    assert keyed.ask("/v1/gifs/search", "DELETE").json()["meta"]["status"] == 405


def test_no_key_is_ever_logged(
    keyed: Library, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    # Given a search that fails without anybody having thought of it
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gifster.app.search.find", broken)
    caplog.set_level(logging.DEBUG)

    # When clients ask
    tenor = keyed.ask("/v2/search", params={"q": "cat", "key": "first-key"})
    giphy = keyed.ask("/v1/gifs/search", params={"q": "cat", "api_key": "first-key"})

    # I expect the error in the log, the key nowhere, and the envelopes
    assert (tenor.json()["error"]["status"], giphy.json()["meta"]["status"]) == ("INTERNAL", 500)
    assert "ZeroDivisionError" in caplog.text
    own = [record for record in caplog.records if record.name.startswith("gifster")]
    assert own
    assert all("first-key" not in record.getMessage() for record in own)
