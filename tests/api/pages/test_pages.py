"""What all answers have in common; searches and refused forms."""

import re
from urllib.parse import urljoin

import pytest

from tests import images
from tests.stack import Stack


@pytest.mark.parametrize("path", ["/", "/signup", "/login", "/healthz", "/readyz", "/api/gifs"])
def test_head_gets_the_answer_of_get_without_the_body(stack: Stack, path: str):
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
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]


def test_browsers_revalidate_scripts_each_time(stack: Stack):
    first = stack.client.get("/static/gifster.js")
    assert first.headers["cache-control"] == "no-cache"

    again = stack.client.get("/static/gifster.js", headers={"If-None-Match": first.headers["etag"]})

    assert again.status_code == 304


def test_a_page_preloads_all_that_its_script_imports(stack: Stack):
    """Otherwise a browser finds each script only once it has read the one that imports it."""
    page = stack.client.get("/").text
    preloaded = re.findall(r'rel="modulepreload" href="([^"]+)"', page)

    imported, unread = set(), re.findall(r'src="([^"]+/gifster.js)" type="module"', page)
    while unread:
        script = unread.pop()
        for path in re.findall(r'^import .*"(.+)";', stack.client.get(script).text, re.MULTILINE):
            found = urljoin(script, path)
            unread += [] if found in imported else [found]
            imported.add(found)
    assert sorted(preloaded) == sorted(imported)


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


def test_a_search_shows_its_results_in_pages(stack: Stack):
    for _ in range(31):
        stack.upload(images.gif(), title="Needle", tags="pins")

    first = stack.client.get("/", params={"q": "needle"}).text
    assert first.count("<article") == 30
    assert "“needle”" in first
    [older] = [part.split('"')[0] for part in first.split('href="')[1:] if "cursor=" in part]

    assert stack.client.get(older.replace("&amp;", "&")).text.count("<article") == 1
    assert "No GIFs found." in stack.client.get("/", params={"q": "no such thing"}).text


def test_a_refused_form_comes_back_with_its_file(stack: Stack):
    # Given a form with too many tags
    page = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
    tags = ", ".join(f"tag{number}" for number in range(21))
    fields = {"title": "My cat", "tags": tags}
    files = {"image": ("cat.gif", images.gif(), "image/gif")}
    refused = stack.client.post("/gifs", files=files, data=fields, headers=page)

    # I expect it back, with my input and the reason
    assert refused.status_code == 422
    assert "at most 20 tags, not 21. Your file has been kept." in refused.text
    assert 'value="My cat"' in refused.text
    assert 'data-code="too_many_tags"' in refused.text
    assert "required" not in refused.text
    kept = re.search(r'name="image_cache" value="([^"]+)"', refused.text)[1]

    # And the file to be there when I correct the mistake and send the form again
    accepted = stack.client.post(
        "/gifs",
        files={"image": ("", b"", "application/octet-stream")},
        data={"title": "My cat", "tags": "cats", "image_cache": kept},
        headers=page,
    )
    assert accepted.status_code == 303
    gif = stack.finished(accepted.headers["location"].rpartition("/")[2])
    assert (gif["state"], gif["title"], gif["tags"]) == ("ready", "My cat", ["cats"])


def test_a_forged_hidden_field_is_refused(stack: Stack):
    refused = stack.client.post(
        "/gifs", files={"image": ("", b"")}, data={"image_cache": "../../etc/passwd"}
    )

    assert refused.status_code == 422
    assert refused.json()["code"] == "cache_id_invalid"
