"""Compressed answers, and files that browsers keep for a year."""

import gzip
import re

import pytest

from gifster.api.assets import ADDRESS, DIGEST, digest_of
from gifster.api.compression import accepts_gzip
from tests import images
from tests.stack import Stack

WEB: dict[str, str] = {}
GZIP = {"Accept-Encoding": "gzip"}
PLAIN = {"Accept-Encoding": "identity"}


def raw(web: Stack, path: str) -> bytes:
    """The body of an answer as it was sent, if it was compressed."""
    with web.client.stream("GET", path, headers=GZIP) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        body = b"".join(answer.iter_raw())
        assert int(answer.headers["content-length"]) == len(body)
        return body


@pytest.mark.parametrize("path", ["/", "/login", "/openapi.json", "/static/gifster.css"])
def test_texts_are_compressed_for_clients_that_accept_it(web: Stack, path: str):
    plain = web.client.get(path, headers=PLAIN)

    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    assert gzip.decompress(raw(web, path)) == plain.content
    assert len(raw(web, path)) < len(plain.content) * 0.7


def test_pictures_and_short_answers_are_left_as_they_are(web: Stack):
    gif = web.upload(images.gif((300, 200))).json()

    for path in ("/healthz", f"/gifs/{gif['id']}/nothing"):
        assert "content-encoding" not in web.client.get(path, headers=GZIP).headers


def test_answers_with_secrets_are_not_compressed(web: Stack):
    # Given the answer to a form, in which the id of the kept file stands beside my words
    page = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
    tags = ", ".join(f"tag{number}" for number in range(21))
    files = {"image": ("cat.gif", images.gif(), "image/gif")}

    refused = web.client.post("/gifs", files=files, data={"tags": tags}, headers=page | GZIP)

    assert 'name="image_cache"' in refused.text
    assert len(refused.content) > 2_000
    assert "content-encoding" not in refused.headers


def test_a_compressed_file_is_another_form_of_the_same(web: Stack):
    path = "/static/gifster.css"
    strong = web.client.get(path, headers=PLAIN).headers["etag"]
    weak = web.client.get(path, headers=GZIP).headers["etag"]
    assert weak == f"W/{strong}"

    for tag in (strong, weak):
        again = web.client.get(path, headers=GZIP | {"If-None-Match": tag})
        assert again.status_code == 304
    # A part is one of the file itself
    part = web.client.get(path, headers=GZIP | {"Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)
    assert "content-encoding" not in part.headers


def test_browsers_keep_files_of_a_page_for_a_year(web: Stack):
    page = web.client.get("/").text
    paths = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)

    assert len(paths) >= 4
    for path in paths:
        assert path.startswith(f"{ADDRESS}/")
        answer = web.client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_modules_name_each_other_by_relative_addresses(web: Stack):
    # … so that they have the digest, too
    for name in ("gifster.js", "cards.js", "uploads.js", "jobs/confirm.js"):
        text = web.client.get(f"{ADDRESS}/{name}").text
        assert not re.search(r"""(?:from|import) ["'](?!\./)""", text), name


def test_a_digest_of_another_release_gets_the_present_file_which_is_not_kept(web: Stack):
    # As while a new release starts: a page of one process asks another one for its files
    other = DIGEST.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))

    answer = web.client.get(f"/static/{other}/gifster.css")

    assert answer.text == web.client.get("/static/gifster.css").text
    assert answer.headers["cache-control"] == "no-cache"
    # An error is not kept either
    missing = web.client.get(f"{ADDRESS}/no-such-file.css")
    assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-cache")


def test_a_digest_changes_with_a_file(tmp_path):
    (tmp_path / "a.css").write_text("a { }")
    first = digest_of(tmp_path)
    (tmp_path / "a.css").write_text("b { }")
    second = digest_of(tmp_path)
    (tmp_path / "a.css").rename(tmp_path / "b.css")

    assert len({first, second, digest_of(tmp_path)}) == 3


@pytest.mark.parametrize(
    ("header", "accepted"),
    [("gzip, deflate, br", True), ("br;q=1.0, GZIP;q=0.5", True), ("*", True), ("", False),
     ("gzip;q=0", False), ("gzip; q=0.000", False), ("br, identity", False), ("gzipped", False)],
)  # fmt: skip
def test_which_clients_accept_gzip(header: str, accepted: bool):
    assert accepts_gzip(header) is accepted
