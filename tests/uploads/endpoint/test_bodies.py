"""Bodies that are too large, stall or break off, and how many the endpoint receives at once."""

import asyncio
import io
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from gifster.uploads import endpoints
from gifster.uploads.endpoints import asgi, bodies
from gifster.uploads.endpoints.messages import Request
from gifster.uploads.testing import MemoryStorage
from tests.logs import said_by
from tests.uploads.calling import AsgiClient, Caller
from tests.uploads.endpoint.offers import GIF, PhotoUploader, ann, form


def test_a_body_that_is_too_large_is_refused_before_it_comes(cache: MemoryStorage):
    endpoint = endpoints.upload(PhotoUploader, allow=ann)
    client = AsgiClient([])  # nothing ever comes

    client.call(endpoint, "POST", content_length="1000001")

    assert client.sent[0]["status"] == 413


def test_a_large_body_without_a_length_is_cut(cache: MemoryStorage):
    def endless() -> Iterator[bytes]:
        yield GIF
        while True:
            yield b"\0" * 100_000

    answer = Caller(endpoints.upload(PhotoUploader, allow=ann), "asgi")("POST", content=endless())

    assert answer.json()["code"] == "too_large"
    assert answer.headers["connection"] == "close"
    assert cache.files == {}


def test_a_client_that_leaves_leaves_nothing(cache: MemoryStorage):
    client = AsgiClient([GIF[:600]], leaves=True)

    client.call(endpoints.upload(PhotoUploader, allow=ann), "POST")

    assert client.sent == []
    assert cache.files == {}


def test_a_body_that_stalls_is_cut(cache: MemoryStorage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asgi, "STALL_S", 0.01)
    client = AsgiClient([GIF[:600]])
    client.receive = _once(client)

    client.call(endpoints.upload(PhotoUploader, allow=ann), "POST")

    assert client.sent[0]["status"] == 408
    assert b'"code": "body_stalled"' in client.sent[1]["body"]
    assert cache.files == {}


def _once(client: AsgiClient) -> Any:
    """A `receive()` whose first piece is followed by nothing."""
    real = client.receive

    async def receive() -> dict[str, Any]:
        return await real() | {"more_body": True}

    return receive


def test_a_body_that_trickles_is_cut(
    call: Caller, cache: MemoryStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bodies, "STALL_S", 0.0)
    monkeypatch.setattr(bodies, "LEAST_RATE", 10**12)

    answer = call("POST", content=GIF)

    assert (answer.status_code, answer.json()["code"]) == (408, "body_stalled")
    assert cache.files == {}


def test_a_body_that_ends_early_is_refused_under_wsgi(cache: MemoryStorage):
    call = Caller(endpoints.upload(PhotoUploader, allow=ann), "wsgi")

    answer = call("POST", content=GIF, headers={"Content-Length": str(len(GIF) + 1)})

    assert (answer.status_code, answer.json()["code"]) == (400, "body_incomplete")
    assert cache.files == {}


class Gone(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise ConnectionResetError("so some servers say that the client has gone")


def test_a_client_that_leaves_is_no_error_of_ours_under_wsgi(
    cache: MemoryStorage, caplog: pytest.LogCaptureFixture
):
    environ: dict[str, Any] = {"CONTENT_LENGTH": "10"}
    setup_testing_defaults(environ)
    statuses: list[str] = []

    endpoints.upload(PhotoUploader, allow=ann).wsgi(
        environ | {"REQUEST_METHOD": "POST", "wsgi.input": Gone()},
        lambda status, headers: statuses.append(status),
    )

    assert statuses == ["400 Bad Request"]
    assert (cache.files, said_by("gifster.uploads", caplog)) == ({}, [])


def test_a_process_receives_so_many_uploads_at_once(cache: MemoryStorage):
    # Given an endpoint with one place, and a client that sends slowly
    endpoint = endpoints.upload(PhotoUploader, allow=ann, at_once=1)
    call, request = Caller(endpoint, "asgi"), Request("POST", "", "", "", {})
    slow = endpoint.begin(request, lambda: "ann")

    # When another client comes
    answer = call("POST", content=GIF)

    # I expect that it is refused for now, and served once the slow one has gone, or is done
    assert (answer.status_code, answer.json()["code"]) == (503, "too_busy")
    slow.abort(ConnectionResetError())
    for _ in range(3):
        assert call("POST", content=GIF).status_code == 201
        assert call("POST", content=b"no image").status_code == 415
        assert call("POST", **form(b"no image")).status_code == 415
    with pytest.raises(ValueError, match="at_once=0"):
        endpoints.upload(PhotoUploader, allow=ann, at_once=0)


def test_a_request_that_is_cancelled_leaves_its_place(cache: MemoryStorage):
    endpoint = endpoints.upload(PhotoUploader, allow=ann, at_once=1)
    began, go = threading.Event(), threading.Event()
    real = endpoint.admitted

    def slow(*arguments: Any) -> Any:
        began.set()
        go.wait(60)
        return real(*arguments)

    endpoint.admitted = slow

    async def cancelled() -> None:
        client = AsgiClient([GIF])
        scope = {"type": "http", "method": "POST", "path": "", "headers": []}
        task = asyncio.create_task(endpoint.asgi(scope, client.receive, client.send))
        await asyncio.to_thread(began.wait)
        task.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())

    assert Caller(endpoint, "asgi")("POST", content=GIF).status_code == 201
