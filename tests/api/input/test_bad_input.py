"""Bad requests get a clear problem+json with a stable code. They leave no row and no file, and are
never a 500."""

import sqlite3
from collections.abc import Iterator

import pytest

from tests import images
from tests.machine import files_below
from tests.stack import Stack

GIF = images.gif()
BOUNDARY = "----gifster"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


#: The web server of these tests takes little.
WEB = {"GIFSTER_UPLOADS__MAX_BYTES": "200000", "GIFSTER_UPLOADS__MAX_FRAMES": "100"}


@pytest.fixture(autouse=True)
def _nothing_is_left(web: Stack) -> Iterator[None]:
    before = rows(web), files_below(web.var / "cache")
    yield
    assert (rows(web), files_below(web.var / "cache")) == before
    assert files_below(web.var / "store") == []


def rows(web: Stack) -> list[int]:
    with sqlite3.connect(web.var / "gifster.db") as db:
        return [db.execute(f'SELECT count(*) FROM "{t}"').fetchone()[0] for t in ("gif", "outbox")]


def part(content: bytes, name: str = "image", filename: str | None = "a.gif") -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()

BODIES = {
    "no file": (part(b"Hello", "title", None) + END, 422, "image_missing"),
    "no parts at all": (END, 422, "image_missing"),
    "an empty form field": (part(b"", filename="") + END, 422, "image_missing"),
    "wrong field name": (part(GIF, "picture") + END, 422, "image_missing"),
    "a text field called image": (part(b"cats.gif", filename=None) + END, 422, "image_missing"),
    "two files": (part(GIF) + part(GIF) + END, 422, "too_many_images"),
    "an empty file": (part(b"") + END, 422, "empty_file"),
    "one byte": (part(b"G") + END, 415, "type_not_allowed"),
    "text named .gif": (part(b"Hello, I am a text. " * 99) + END, 415, "type_not_allowed"),
    "html named .gif": (part(b"<html><script>alert(1)</script>") + END, 415, "type_not_allowed"),
    "svg": (part(b'<svg xmlns="http://www.w3.org/2000/svg"/>') + END, 415, "type_not_allowed"),
    "only a GIF's signature": (part(b"GIF89a") + END, 422, "truncated"),
    "a GIF cut in the middle": (part(GIF[: len(GIF) // 2]) + END, 422, "truncated"),
    "a PNG cut in the middle": (part(images.still("PNG")[:-20]) + END, 422, "truncated"),
    "a JPEG cut in the middle": (part(images.still("JPEG")[:-90]) + END, 422, "truncated"),
    "a WebP cut in the middle": (part(images.still("WEBP")[:-90]) + END, 422, "truncated"),
    "a GIF of nothing but noise": (part(b"GIF89a" + b"\xfe" * 500) + END, 422, "unreadable"),
    "a PNG of nothing but noise": (part(GIF[:0] + b"\x89PNG\r\n\x1a\n" + b"\x07" * 64) + END, 422,
                                   "unreadable"),
    "a JPEG of nothing but noise": (part(b"\xff\xd8\xff" + b"a" * 99) + END, 422, "unreadable"),
    "65535 × 65535 pixels": (part(images.huge_header()) + END, 422, "too_many_pixels"),
    "no picture": (part(b"GIF89a" + bytes(7) + b";") + END, 422, "unreadable"),
    "too many frames": (part(images.gif((9, 9), [20] * 101)) + END, 422, "too_many_frames"),
    "a file over the limit": (part(GIF + bytes(200_001)) + END, 413, "too_large"),
    "a body far over the limit": (part(GIF + bytes(900_000)) + END, 413, "too_large"),
    "a body cut in the file": ((part(GIF))[:-500], 400, "multipart_malformed"),
    "a body cut after the file": (part(GIF), 400, "multipart_malformed"),
    "a body cut in the headers": (part(GIF)[:40], 400, "multipart_malformed"),
    "a body that is no multipart": (b"Hello" * 100, 400, "multipart_malformed"),
    "an empty body": (b"", 400, "multipart_malformed"),
    "a field that is not UTF-8": (part(b"\xff\xfe", "title", None) + part(GIF) + END, 400,
                                  "not_utf8"),
    "a file name that is not UTF-8": (part(GIF).replace(b"a.gif", b"\xff.gif") + END, 400,
                                      "not_utf8"),
    "a field of 100 kB": (part(b"a" * 100_000, "title", None) + END, 400, "multipart_malformed"),
    "two fields of 40 kB": (part(b"a" * 40_000, "title", None) * 2 + part(GIF) + END, 413,
                            "too_large"),
    "a hundred fields": (part(b"x", "tags", None) * 100 + part(GIF) + END, 400,
                         "multipart_malformed"),
    "a title of 201 characters": (part(GIF) + part(b"a" * 201, "title", None) + END, 422,
                                  "title_too_long"),
    "a tag of 51 characters": (part(GIF) + part(b"a" * 51, "tags", None) + END, 422,
                               "tag_too_long"),
    "21 tags": (part(GIF) + part(",".join(map(str, range(21))).encode(), "tags", None) + END, 422,
                "too_many_tags"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_bad_uploads_are_refused(web: Stack, body: bytes, status: int, code: str):
    answer = web.client.post("/api/gifs", content=body, headers=MULTIPART)

    assert_problem(answer, status, code)


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_bad_uploads_are_refused_by_the_page_too(web: Stack, body: bytes, status: int, code: str):
    answer = web.client.post("/gifs", content=body, headers={**MULTIPART, "Accept": "text/html"})

    assert answer.status_code == status
    assert code in answer.text
    assert answer.headers["content-type"].startswith("text/html")


OTHER = {
    "unknown content type": (
        "POST", "/api/gifs", {"content": GIF, "headers": {"Content-Type": "image/gif"}},
        415, "content_type_unsupported"),
    "no content type": ("POST", "/api/gifs", {"content": GIF}, 415, "content_type_unsupported"),
    "multipart without a boundary": (
        "POST", "/api/gifs", {"content": END, "headers": {"Content-Type": "multipart/form-data"}},
        400, "bad_request"),
    "malformed JSON": (
        "POST", "/api/gifs", {"content": b"{", "headers": {"Content-Type": "application/json"}},
        400, "json_malformed"),
    "deeply nested JSON": (
        "POST", "/api/gifs",
        {"content": b"[" * 60_000, "headers": {"Content-Type": "application/json"}},
        400, "json_malformed"),
    "JSON that is no object": ("POST", "/api/gifs", {"json": []}, 422, "json_not_object"),
    "JSON over 64 kB": ("POST", "/api/gifs", {"json": "a" * 70_000}, 413, "too_large"),
    "fetching by URL": (
        "POST", "/api/gifs", {"json": {"remote_image_url": "http://localhost/a.gif"}},
        422, "remote_address_refused"),
    "limit 0": ("GET", "/api/gifs?limit=0", {}, 400, "limit_invalid"),
    "limit 101": ("GET", "/api/gifs?limit=101", {}, 400, "limit_invalid"),
    "limit one": ("GET", "/api/gifs?limit=one", {}, 400, "limit_invalid"),
    "limit nothing": ("GET", "/api/gifs?limit=", {}, 400, "limit_invalid"),
    "limit +5": ("GET", "/api/gifs?limit=%2B5", {}, 400, "limit_invalid"),
    "limit of other digits": ("GET", "/api/gifs?limit=٣", {}, 400, "limit_invalid"),
    "a cursor of somebody's own": ("GET", "/api/gifs?cursor=abc", {}, 400, "cursor_invalid"),
    "a cursor that is not ASCII": ("GET", "/api/gifs?cursor=ü", {}, 400, "cursor_invalid"),
    "unknown id": ("GET", "/api/gifs/nope", {}, 404, "gif_not_found"),
    "unknown id to change": (
        "PATCH", "/api/gifs/nope", {"json": {"title": "a"}}, 404, "gif_not_found"),
    "unknown id to delete": ("DELETE", "/api/gifs/nope", {}, 404, "gif_not_found"),
    "unknown id to replace": (
        "PUT", "/api/gifs/nope/image", {"files": {"image": GIF}}, 404, "gif_not_found"),
    "unknown path": ("GET", "/api/nope", {}, 404, "not_found"),
    "wrong method": ("PUT", "/api/gifs", {"content": b"a"}, 405, "method_not_allowed"),
    "wrong method on one": ("POST", "/api/gifs/nope", {}, 405, "method_not_allowed"),
    "wrong method on a file": ("DELETE", "/media/gifs/a.gif", {}, 405, "method_not_allowed"),
    "unknown media": ("GET", "/media/gifs/a/b.gif", {}, 404, "not_found"),
    "media outside the store": ("GET", "/media/..%2f..%2fgifster.db", {}, 404, "not_found"),
    "a wrong token": (
        "POST", "/api/gifs", {"files": {"image": GIF}, "headers": {"Authorization": "Bearer x"}},
        401, "token_invalid"),
    "sent by another site": (
        "POST", "/api/gifs", {"files": {"image": GIF}, "headers": {"Sec-Fetch-Site": "cross-site"}},
        403, "cross_site"),
    "from another origin": (
        "POST", "/gifs", {"files": {"image": GIF}, "headers": {"Origin": "https://evil.example"}},
        403, "cross_site"),
    "no GIF to listen to": ("GET", "/events", {}, 400, "gif_missing"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "options", "status", "code"), OTHER.values(), ids=OTHER)
def test_bad_requests_are_refused(
    web: Stack, method: str, path: str, options: dict, status: int, code: str
):
    answer = web.client.request(method, path, **options)

    assert_problem(answer, status, code)
    if "content" in options or "json" in options or "files" in options:
        assert answer.headers["connection"] == "close"
    if status == 405:
        assert answer.headers["allow"]


def test_browsers_get_errors_as_pages(web: Stack):
    answer = web.client.get("/gifs/nope", headers={"Accept": "text/html,*/*;q=0.8"})

    assert answer.status_code == 404
    assert "There is no GIF nope." in answer.text
    assert "gif_not_found" in answer.text


def assert_problem(answer, status: int, code: str) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.text
