"""Content types of bodies, in any case and with parameters; and HEAD wherever there is GET."""

from typing import Any

import httpx
import pytest

from tests import images
from tests.stack import Stack

WEB: dict[str, str] = {"GIFSTER_UPLOADS__PRIVATE_REMOTES": "true"}
GIF = images.gif((60, 40))


def form(part_type: str = "image/gif", disposition: str = "form-data") -> bytes:
    head = f'Content-Disposition: {disposition}; name="image"; filename="a.gif"\r\n'
    head += f"Content-Type: {part_type}\r\n" if part_type else ""
    return f"--b\r\n{head}\r\n".encode() + GIF + b"\r\n--b--\r\n"


def post(web: Stack, content_type: str | None, content: bytes) -> httpx.Response:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return web.client.post("/api/gifs", content=content, headers=headers)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=b", "MULTIPART/form-data; Boundary=b",
     'Multipart/Form-Data;BOUNDARY="b"', "multipart/form-data;charset=utf-8 ; boundary = b",
     "multipart/form-data ; boundary=b;"],
)  # fmt: skip
def test_forms_are_accepted_in_any_case(web: Stack, content_type: str):
    assert post(web, content_type, form()).status_code == 202


@pytest.mark.parametrize(
    ("part_type", "disposition"),
    [("Image/GIF", "form-data"), ("image/png; a=b", "Form-Data"), ("", "form-data"),
     ("text/html", "FORM-DATA"), ("nonsense", "form-data")],
)  # fmt: skip
def test_the_content_of_a_part_decides_its_type(web: Stack, part_type: str, disposition: str):
    answer = post(web, "multipart/form-data; boundary=b", form(part_type, disposition))

    assert answer.status_code == 202


def made(web: Stack) -> str:
    return post(web, "multipart/form-data; boundary=b", form()).json()["id"]


@pytest.fixture(scope="module")
def gif_id(web: Stack) -> str:
    return made(web)


JSON = [
    "application/json",
    "application/JSON;charset=utf-8",
    "Application/Json ; charset=UTF-8",
    "APPLICATION/JSON;",
]


@pytest.mark.parametrize("content_type", JSON)
def test_json_is_accepted_in_any_case(web: Stack, content_type: str):
    # The body was read: the problem is about its content
    answer = post(web, content_type, b'{"title": "a"}')

    assert (answer.status_code, answer.json()["code"]) == (422, "image_missing")


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/jsonp", "application/json-patch+json", "json",
     "application/merge-patch+json", "text/json", "application/x-www-form-urlencoded", "*/*",
     "multipart/mixed; boundary=b", "multipart/form-data-2; boundary=b", ";", "image/gif",
     "application/json, multipart/form-data; boundary=b", "appl\u0131cation/json"],
)  # fmt: skip
def test_other_types_are_refused_with_the_accepted_ones(web: Stack, content_type: str | None):
    answer = web.client.post(
        "/api/gifs",
        content=b"{}",
        headers={} if content_type is None else {"Content-Type": content_type.encode()},
    )

    assert (answer.status_code, answer.json()["code"]) == (415, "content_type_unsupported")
    assert "multipart/form-data" in answer.json()["detail"]


def patch(web: Stack, gif_id: str, content_type: str, document: Any) -> httpx.Response:
    return web.client.patch(
        f"/api/gifs/{gif_id}", json=document, headers={"Content-Type": content_type}
    )


@pytest.mark.parametrize("content_type", JSON)
def test_changes_are_accepted_as_json(web: Stack, gif_id: str, content_type: str):
    answer = patch(web, gif_id, content_type, {"title": content_type})

    assert (answer.status_code, answer.json()["title"]) == (200, content_type)


def test_a_null_in_a_merge_patch_removes_the_field(web: Stack, gif_id: str):
    patch(web, gif_id, "application/json", {"title": "A title", "tags": ["a", "b"]})

    # A null in JSON leaves the field
    answer = patch(web, gif_id, "application/json", {"title": None, "tags": None})
    assert (answer.json()["title"], answer.json()["tags"]) == ("A title", ["a", "b"])
    # In a merge patch it removes the field (RFC 7396)
    answer = patch(web, gif_id, "Application/Merge-Patch+JSON", {"tags": None})
    assert (answer.json()["title"], answer.json()["tags"]) == ("A title", [])
    answer = patch(web, gif_id, "application/merge-patch+json", {"title": None})
    assert (answer.status_code, answer.json()["code"]) == (422, "title_missing")


def test_other_patches_are_refused_with_the_accepted_ones(web: Stack, gif_id: str):
    answer = patch(web, gif_id, "application/json-patch+json", [])

    assert (answer.status_code, answer.json()["code"]) == (415, "content_type_unsupported")
    assert answer.headers["accept-patch"] == "application/json, application/merge-patch+json"


@pytest.mark.parametrize("path", ["/login", "/signup"])
def test_forms_of_pages_are_accepted_in_any_case(web: Stack, path: str):
    kind = "Application/X-WWW-Form-URLencoded; charset=UTF-8"
    answer = web.client.post(path, content=b"email=a&password=b", headers={"Content-Type": kind})

    assert answer.status_code in (403, 422)


PATHS = ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/api/gifs", "/api/gifs/{}",
         "/gifs/{}", "/gifs/{}/card", "/signup", "/login", "/events?gif={}", "/static/gifster.js",
         "/api/gifs/none", "/media/none.gif", "/jobs", "/api/jobs", "/api/queues", "/api/stats",
         "/api/workers"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_head_gets_the_answer_of_get_without_the_body(web: Stack, gif_id: str, path: str):
    path = path.format(gif_id)
    with web.client.stream("GET", path) as answer:
        status, kind = answer.status_code, answer.headers.get("content-type")

    answer = web.client.head(path)

    assert (answer.status_code, answer.headers.get("content-type")) == (status, kind)
    assert answer.content == b""


def test_conditions_change_nothing_where_there_are_no_validators(web: Stack, gif_id: str):
    for name in ("If-None-Match", "If-Modified-Since", "Range", "If-Range"):
        for value in ("*", '"a"', "nonsense", "bytes=0-1"):
            answer = web.client.get(f"/api/gifs/{gif_id}", headers={name: value})
            assert (answer.status_code, answer.json()["id"]) == (200, gif_id)
            assert "accept-ranges" not in answer.headers
