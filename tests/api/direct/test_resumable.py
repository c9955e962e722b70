"""`/api/uploads`: resumable uploads by tus, through a web server, as clients with bad connections
use it. The library's tests have the protocol; these have what Gifster makes of it."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import images
from tests.machine import eventually, files_below, signal_group
from tests.stack import Stack
from tests.tus import CONTENT, VERSION, Tus, checksum, metadata

WEB = {
    "GIFSTER_LIMITS__ENABLED": "true",
    "GIFSTER_LIMITS__UPLOAD": "9/hour",
    "GIFSTER_LIMITS__GIFS_PER_USER": "60",
    "GIFSTER_LIMITS__BYTES_PER_USER": "1000000",
    "GIFSTER_WEB__TRUSTED_PROXIES": '["127.0.0.0/8"]',
}
GIF = images.gif((300, 200))
#: Each test comes from an address of its own.
ADDRESSES = (f"192.0.2.{number}" for number in range(1, 255))


def client_of(stack: Stack, headers: dict[str, str] | None = None) -> Tus:
    def call(method: str, path: str, **options: Any) -> httpx.Response:
        given = {**(headers or {}), **options.pop("headers", {})}
        return stack.client.request(method, f"/api/uploads{path}", headers=given, **options)

    return Tus(call, "")


@pytest.fixture
def address() -> str:
    return next(ADDRESSES)


@pytest.fixture
def tus(web: Stack, address: str) -> Tus:
    """A client of somebody who is not logged in."""
    web.client.cookies.clear()
    return client_of(web, {"X-Forwarded-For": address})


def signed_up(web: Stack, name: str) -> dict[str, str]:
    """The headers of a new user."""
    here = {"X-Forwarded-For": next(ADDRESSES)}
    body = {"email": f"{name}@example.org", "password": "correct horse", "name": name}
    token = web.client.post("/api/users", json=body, headers=here).json()["token"]
    return {"Authorization": f"Bearer {token}", **here}


def details(**values: str) -> str:
    return metadata(filename="cat.gif", filetype="image/gif", **values)


def test_an_upload_in_two_requests_becomes_a_gif(web: Stack, tus: Tus):
    fields = details(title="A cat, 猫", tags="cats, Monday", rating="pg", visibility="unlisted",
                     alt_text="It looks", relativePath="null")  # fmt: skip
    half = len(GIF) // 2
    path = tus.begun(len(GIF), Upload_Metadata=fields)
    assert tus.patch(path, 0, GIF[:half]).headers["Upload-Offset"] == str(half)
    assert tus.told(path)["gif"] is None

    last = tus.patch(path, half, GIF[half:])

    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(GIF)))
    gif = tus.told(path)["gif"]
    assert gif["id"] == last.headers["Gifster-Gif"]
    assert (gif["title"], gif["tags"], gif["rating"]) == ("A cat, 猫", ["cats", "monday"], "pg")
    assert (gif["visibility"], gif["alt_text"], gif["state"]) == ("unlisted", "It looks", "queued")
    assert tus.head(path).headers["Upload-Metadata"] == fields


def test_a_creation_may_bring_the_whole_file(web: Stack, tus: Tus):
    answer = tus.create(len(GIF), GIF, Upload_Checksum=checksum(GIF))

    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/uploads/{answer.json()['id']}"
    assert answer.headers["Upload-Offset"] == str(len(GIF))
    assert answer.json()["gif"]["title"] == "cat"


def test_an_upload_replaces_the_image_of_a_gif(web: Stack, address: str):
    # Given somebody's GIF, and somebody else
    mine = signed_up(web, "replacing")
    owner, other = client_of(web, mine), client_of(web, signed_up(web, "not-replacing"))
    path = owner.begun(len(GIF), GIF, Upload_Metadata=details(title="Mine"))
    gif_id = owner.told(path)["gif"]["id"]

    # When its owner uploads another image for it in two requests
    image = images.gif((40, 30))
    path = owner.begun(len(image), image[:500], Upload_Metadata=details(replaces=gif_id))
    done = owner.patch(path, 500, image[500:])

    # I expect the same GIF with the new image, and nobody else to be able to
    assert (done.status_code, done.headers["Gifster-Gif"]) == (204, gif_id)
    told = owner.told(path)["gif"]
    assert (told["id"], told["title"]) == (gif_id, "Mine")
    assert told["state"] == "queued"
    refused = other.create(len(GIF), Upload_Metadata=details(replaces=gif_id))
    assert (refused.status_code, refused.json()["code"]) == (403, "not_yours")

    # If the GIF is deleted meanwhile, the upload ends
    path = owner.begun(len(GIF), GIF[:500], Upload_Metadata=details(replaces=gif_id))
    assert web.client.delete(f"/api/gifs/{gif_id}", headers=mine).status_code == 204
    assert owner.patch(path, 500, GIF[500:]).status_code == 404
    assert owner.head(path).status_code == 410


def test_what_the_server_can_do(web: Stack):
    for path in ("/api/uploads", "/api/uploads/abc"):
        answer = web.client.options(path)
        assert answer.status_code == 204
        assert answer.headers["Tus-Max-Size"] == str(50 * 1024 * 1024)
        assert "checksum" in answer.headers["Tus-Extension"]


def parts(web: Stack) -> list[str]:
    return files_below(web.var / "cache")


class TestRefusals:
    def test_a_title_is_refused_before_the_file_comes(self, web: Stack, tus: Tus):
        for fields, code in [
            ({"title": "x" * 201}, "title_too_long"),
            ({"rating": "x"}, "rating_invalid"),
            ({"visibility": "private"}, "private_needs_owner"),
            ({"start": "x"}, "edit_invalid"),
        ]:
            answer = tus.create(9, Upload_Metadata=details(**fields))
            assert (answer.status_code, answer.json()["code"]) == (422, code)

    def test_a_damaged_picture(self, web: Stack, tus: Tus):
        before = parts(web)
        path = tus.begun(200, GIF[:100])

        answer = tus.patch(path, 100, GIF[100:200])

        assert (answer.status_code, answer.json()["code"]) == (422, "truncated")
        gone = tus.head(path)
        assert (gone.status_code, "Upload-Offset" in gone.headers) == (410, False)
        assert tus.told(path)["error"]["code"] == "truncated"
        assert parts(web) == before

    def test_another_type_shows_at_once(self, web: Stack, tus: Tus):
        before = parts(web)
        path = tus.begun(900_000)
        answer = tus.patch(path, 0, b"%PDF-1.7\n" + b"x" * 600_000)
        assert (answer.status_code, answer.json()["code"]) == (415, "type_not_allowed")
        assert parts(web) == before

    def test_other_requests(self, web: Stack, tus: Tus):
        path = tus.begun(len(GIF), GIF[:100])
        for answer, status in [
            (tus.create(50 * 1024 * 1024 + 1), 413),
            (tus.create(""), 400),
            (tus.create(9, Tus_Resumable="0.2.2"), 412),
            (tus.create(9, Upload_Metadata="title !"), 400),
            (tus.patch(path, 0, GIF), 409),
            (tus.patch(path, 100, GIF), 413),
            (tus.patch(path, 100, GIF[100:], Content_Type="image/gif"), 415),
            (tus.patch(path, 100, GIF[100:], Upload_Checksum=checksum(b"")), 460),
            (tus.patch(path, 100, GIF[100:], Upload_Checksum="crc32 AAAA"), 400),
            (tus.patch("/" + "a" * 32, 0, GIF), 404),
            (tus.call("POST", path, headers=VERSION), 405),
            (tus.call("PUT", path), 405),
        ]:
            assert answer.status_code == status, answer.text
            assert answer.headers["Content-Type"] == "application/problem+json"
        assert tus.offset(path) == 100

    def test_a_page_of_another_site(self, web: Stack, tus: Tus):
        path = tus.begun(len(GIF))
        evil = {"Sec_Fetch_Site": "cross-site"}
        assert tus.create(9, **evil).json()["code"] == "cross_site"
        assert tus.patch(path, 0, GIF, **evil).json()["code"] == "cross_site"

    def test_a_post_may_mean_another_method(self, web: Stack, tus: Tus):
        path = tus.begun(len(GIF))
        headers = {**VERSION, "Upload-Offset": "0", "Content-Type": CONTENT}
        over = {"X-HTTP-Method-Override": "PATCH"}
        assert tus.call("POST", path, headers=headers | over, content=GIF).status_code == 204
        over = {"X-HTTP-Method-Override": "DELETE"}
        assert tus.call("POST", path, headers=headers | over).status_code == 204
        assert tus.head(path).status_code == 404


class TestPeople:
    def test_a_gif_belongs_to_the_one_who_began(self, web: Stack, tus: Tus):
        ann, bob = client_of(web, signed_up(web, "ann")), client_of(web, signed_up(web, "bob"))
        path = ann.begun(len(GIF), GIF[:100], Upload_Metadata=details(visibility="private"))

        for other in (bob, tus):
            assert other.head(path).status_code == 404
            assert other.call("GET", path).status_code == 404
            assert other.patch(path, 100, GIF[100:]).status_code == 404
            assert other.delete(path).status_code == 404
        assert ann.patch(path, 100, GIF[100:]).status_code == 204

        gif = ann.told(path)["gif"]
        assert (gif["user"]["name"], gif["visibility"]) == ("ann", "private")

    def test_a_stranger_has_no_list(self, web: Stack, tus: Tus):
        assert tus.call("GET", "").status_code == 401

    def test_an_address_without_an_owner_may_change_on_the_way(self, web: Stack, tus: Tus):
        path = tus.begun(len(GIF), GIF[:100])
        elsewhere = client_of(web, {"X-Forwarded-For": next(ADDRESSES)})
        assert elsewhere.patch(path, 100, GIF[100:]).status_code == 204

    def test_a_token_that_only_reads_may_not(self, web: Stack):
        ann = signed_up(web, "reader")
        made = web.client.post("/api/tokens", json={"name": "r", "scope": "read"}, headers=ann)
        reader = {**ann, "Authorization": f"Bearer {made.json()['token']}"}
        assert client_of(web, reader).create(9).status_code == 403

    def test_unfinished_uploads_count_for_the_quota(self, web: Stack):
        carl = client_of(web, signed_up(web, "carl"))
        first = carl.begun(600_000)
        assert carl.create(600_000).json()["code"] == "quota_exceeded"
        (listed,) = carl.call("GET", "").json()["items"]
        assert (f"/{listed['id']}", listed["filename"]) == (first, "cat.gif")
        carl.delete(first)
        assert carl.call("GET", "").json()["items"] == []
        assert carl.create(600_000).status_code == 201

    def test_a_creation_counts_for_the_rate(self, web: Stack, tus: Tus):
        answers = [tus.create(9).status_code for _ in range(10)]
        assert (answers[0], answers[-1]) == (201, 429)


class TestLostConnections:
    def test_what_came_before_the_connection_was_lost_is_kept(self, web: Stack, tus: Tus):
        path = tus.begun(len(GIF))
        rest = len(GIF) - 1
        head = (
            f"PATCH /api/uploads{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\n"
            f"Content-Type: {CONTENT}\r\nUpload-Offset: 0\r\nContent-Length: {len(GIF)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", web.port)) as connection:
            connection.sendall(head.encode() + GIF[:rest])

        eventually(lambda: tus.offset(path) == rest)
        assert tus.patch(path, rest, GIF[rest:]).status_code == 204
        assert tus.told(path)["gif"]["title"] == "cat"

    def test_a_creation_that_breaks_off_counts_for_no_quota(self, web: Stack):
        # Given somebody whose quota takes one upload of this size
        headers = signed_up(web, "breaking-off")
        dora = client_of(web, headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            "POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\n"
            f"Content-Type: {CONTENT}\r\nUpload-Length: 900000\r\nContent-Length: 900000\r\n"
            f"Upload-Metadata: {details()}\r\n{lines}\r\n"
        )

        # When the connection is lost before the answer that has the address
        with socket.create_connection(("127.0.0.1", web.port)) as connection:
            connection.sendall(head.encode() + GIF[:1000])
            eventually(lambda: len(dora.call("GET", "").json()["items"]) == 1)

        # I expect another one to begin, and one that is refused to leave nothing behind
        eventually(lambda: dora.call("GET", "").json()["items"] == [])
        wrong = dora.create(900_000, GIF[:1000], Upload_Checksum=checksum(b""))
        assert (wrong.status_code, "Location" in wrong.headers) == (460, False)
        assert dora.create(900_000).status_code == 201

    def test_a_last_request_that_comes_twice_makes_one_gif(self, web: Stack, tus: Tus):
        path = tus.begun(len(GIF), GIF[:-9])
        first = tus.patch(path, len(GIF) - 9, GIF[-9:])
        again = tus.patch(path, len(GIF) - 9, GIF[-9:])
        at_end = tus.patch(path, len(GIF), b"")

        assert (first.status_code, again.status_code, at_end.status_code) == (204, 409, 204)
        assert again.headers["Upload-Offset"] == str(len(GIF))
        assert tus.told(path)["gif"]["id"] == first.headers["Gifster-Gif"]


def test_an_upload_goes_on_after_the_web_process_was_killed(
    new_stack: Callable[..., Stack], tmp_path: Path
):
    # Given an upload of which 90 % have come, in a request that goes on
    stack, content = new_stack(), images.noisy_gif((400, 400), 40)
    web = stack.start_web()
    tus = client_of(stack)
    path, most = tus.begun(len(content)), len(content) * 9 // 10
    assert tus.patch(path, 0, content[:most]).headers["Upload-Offset"] == str(most)
    head = (
        f"PATCH /api/uploads{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\n"
        f"Content-Type: {CONTENT}\r\nUpload-Offset: {most}\r\n"
        f"Content-Length: {len(content) - most}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", stack.port))
    connection.sendall(head.encode() + content[most : most + 1000])

    # When the server is killed, and another one started
    signal_group(web, signal.SIGKILL)
    web.wait()
    connection.close()
    stack.start_web()

    # Then the upload goes on at 90 %, and a worker stores it
    assert tus.offset(path) == most
    assert tus.patch(path, most, content[most:]).status_code == 204
    gif = tus.told(path)["gif"]
    stack.start_worker()
    done = stack.finished(gif["id"])
    assert (done["state"], done["image"]["bytes"]) == ("ready", len(content))
    cache = stack.var / "cache"
    eventually(lambda: all(name.endswith(".tmp") for name in files_below(cache)))
