"""What all answers have in common, and what pages say to those who may not write."""

import pytest

from tests import images
from tests.conftest import Stack


@pytest.mark.parametrize("path", ["/", "/signup", "/login", "/healthz", "/readyz", "/api/gifs"])
def test_head_is_answered_like_get_without_the_body(stack: Stack, path: str):
    answer = stack.client.head(path)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == stack.client.get(path).headers["content-type"]
    assert answer.content == b""


@pytest.mark.parametrize("path", ["/", "/signup", "/gifs/nope", "/api/gifs", "/static/gifster.js"])
def test_every_answer_has_security_headers(stack: Stack, path: str):
    headers = stack.client.get(path, headers={"Accept": "text/html"}).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]


def test_pages_have_no_inline_script_or_style(stack: Stack):
    gif_id = stack.finished(stack.upload(images.gif(), tags="a").json()["id"])["id"]
    for path in ("/", f"/gifs/{gif_id}", "/signup", "/login"):
        page = stack.client.get(path).text
        assert "<script>" not in page
        assert "<style" not in page
        assert "style=" not in page
        assert "onclick" not in page


def test_health_and_readiness(stack: Stack):
    assert stack.client.get("/healthz").json() == {"status": "ok"}
    assert stack.client.get("/readyz").json() == {
        "status": "ok",
        "checks": {"database": "ok", "broker": "ok"},
    }


def test_a_search_shows_what_it_found_and_goes_on(stack: Stack):
    for _ in range(31):
        stack.upload(images.gif(), title="Needle", tags="pins")

    first = stack.client.get("/", params={"q": "needle"}).text
    assert first.count("<article") == 30
    assert "“needle”" in first
    [older] = [part.split('"')[0] for part in first.split('href="')[1:] if "cursor=" in part]

    assert stack.client.get(older.replace("&amp;", "&")).text.count("<article") == 1
    assert "Nothing found." in stack.client.get("/", params={"q": "no such thing"}).text
