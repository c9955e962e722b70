"""The endpoint that takes uploads from scripts in a browser: what it takes, what it refuses, and
what a record does with the cache id that it answers."""

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import peewee
import pytest

from gifster.jobs import mounted
from gifster.uploads import (
    Backgrounder,
    CacheField,
    LocalFile,
    StorageUnavailable,
    Uploader,
    configure,
    endpoints,
    metadata,
    mount_uploader,
    mount_uploaders,
    store_in_background,
)
from gifster.uploads.columns.fields import CacheListField
from gifster.uploads.endpoints import asgi, bodies
from gifster.uploads.endpoints.messages import Request
from gifster.uploads.storage.s3 import S3Storage
from gifster.uploads.testing import MemoryStorage
from tests import images
from tests.uploads import documents
from tests.uploads.calling import AsgiClient, Caller
from tests.uploads.framework import Application, Base

GIF = images.gif((300, 200))


class PhotoUploader(Backgrounder, Uploader):
    max_bytes = 1_000_000

    def cache_owner(self) -> str:
        return self.record.owner


@store_in_background("photo")
class Offer(Base):
    owner = peewee.CharField(default="ann")
    photo = mount_uploader(PhotoUploader)
    photo_tmp = CacheField()


@store_in_background("photos")
class Offers(Base):
    owner = peewee.CharField(default="ann")
    photos = mount_uploaders(PhotoUploader)
    photos_tmp = CacheListField()


def ann(about: dict[str, Any]) -> str:
    """What an application says of every request: it is Ann's."""
    return "ann"


KINDS = ["wsgi", "asgi"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def cache() -> MemoryStorage:
    storage = MemoryStorage()
    configure({"cache": storage}, secret="a secret")
    return storage


@pytest.fixture
def call(kind: str, cache: MemoryStorage) -> Caller:
    return Caller(endpoints.upload(PhotoUploader, allow=ann), kind)


def form(content: bytes, name: str = "file", filename: str = "cat.gif") -> dict[str, Any]:
    """A form as Uppy sends it: with the file, and a field beside it."""
    return {"files": {name: (filename, content)}, "data": {"relativePath": "null"}}


@pytest.mark.parametrize("platform", ["folders and SQLite", "S3 and PostgreSQL"], indirect=True)
def test_an_upload_becomes_a_records_file(application: Application, kind: str):
    # Given two uploads of Ann's: a form, and a file as the body
    application.create_tables(Offer, Offers)
    call = Caller(endpoints.upload(PhotoUploader, allow=ann), kind)
    answer = call("POST", **form(GIF))
    other = call("POST", "?filename=dog%20%22x%22.gif", content=GIF).json()

    # When her record takes them
    assert answer.status_code == 201
    found = answer.json()
    offer = Offer()
    offer.photo_cache = found.pop("cache_id")
    offer.save()
    offers = Offers()
    offers.photos.append_cache_id(other["cache_id"])
    offers.save()
    application.work()

    # I expect the very files, without a copy
    assert found == {
        "filename": "cat.gif",
        "content_type": "image/gif",
        "bytes": len(GIF),
        "width": 300,
        "height": 200,
        "frames": 4,
        "duration_ms": found["duration_ms"],
        "metadata": {},
    }
    assert Offer.get_by_id(offer.id).photo.stored.filename == "cat.gif"
    assert Offers.get_by_id(offers.id).photos[0].stored.filename == 'dog "x".gif'
    assert application.cached == []


def test_another_person_cannot_use_it(application: Application):
    call = Caller(endpoints.upload(PhotoUploader, allow=ann), "wsgi")
    found = call("POST", **form(GIF)).json()

    with pytest.raises(Exception, match="has expired"):
        Offer(owner="bob").photo_cache = found["cache_id"]


@pytest.mark.parametrize("name", ["file", "files[]"])
@pytest.mark.parametrize("filename", ["cat.gif", "Katze äöü 猫.gif", "../../etc/passwd"])
def test_forms(call: Caller, name: str, filename: str):
    answer = call("POST", **form(GIF, name, filename))

    assert answer.json()["filename"] == filename.rpartition("/")[2]
    assert answer.headers["cache-control"] == "no-store"


def test_a_form_in_pieces_of_one_byte(cache: MemoryStorage):
    # A boundary may be torn anywhere.
    boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
    head = 'Content-Disposition: form-data; name="file"; filename="a\r\n'.strip() + '%22b.gif"'
    body = f"--{boundary}\r\n{head}\r\n\r\n".encode() + GIF + f"\r\n--{boundary}--\r\n".encode()
    client = AsgiClient([body[i : i + 1] for i in range(len(body))])

    endpoint = endpoints.upload(PhotoUploader, allow=ann)
    client.call(endpoint, "POST", content_type=f"multipart/form-data; boundary={boundary}")

    assert client.sent[0]["status"] == 201
    assert list(cache.files.values()) == [GIF]
    assert b'"filename": "a\\"b.gif"' in client.sent[1]["body"]


REFUSED = [
    (form(b""), 422, "empty_file"),
    (form(b"no image at all"), 415, "type_not_allowed"),
    (form(GIF[:-9]), 422, "truncated"),
    (form(GIF + b"\0" * 1_000_000), 413, "too_large"),
    ({"content": GIF + b"\0" * 1_000_000}, 413, "too_large"),
    ({"content": b""}, 422, "empty_file"),
    (form(GIF, "photo"), 400, "no_file"),
    ({"files": [("file", ("a.gif", GIF)), ("file", ("b.gif", GIF))]}, 400, "too_many_files"),
    ({"files": {"file": ("a.gif", GIF)}, "data": {"a": "x" * 70_000}}, 413, "form_too_large"),
    ({"content": GIF, "headers": {"Content-Type": "multipart/form-data"}}, 400,
     "multipart_malformed"),
    ({"content": b"--x\r\nwhat", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
     400, "multipart_malformed"),
    ({"content": GIF, "headers": {"Content-Type": f"multipart/form-data; boundary={'x' * 300}"}},
     400, "multipart_malformed"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "code"), REFUSED)
def test_what_is_refused_leaves_nothing(
    call: Caller, cache: MemoryStorage, request_: dict[str, Any], status: int, code: str
):
    answer = call("POST", **request_)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() == {"type", "title", "status", "detail", "code"}
    assert answer.headers["content-type"] == "application/problem+json"
    assert cache.files == {}


@pytest.mark.parametrize("content", [GIF, GIF + b"\0" * 100_000], ids=["small", "large"])
def test_a_file_in_another_field_is_named(call: Caller, content: bytes):
    answer = call("POST", **form(content, "photo"))

    assert (answer.status_code, answer.json()["code"]) == (400, "no_file")
    assert "one in the field 'photo': rename that to 'file'" in answer.json()["detail"]


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
    assert (cache.files, caplog.records) == ({}, [])


def test_a_form_without_its_parser_names_the_extra(
    call: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "python_multipart.multipart", None)

    assert call("POST", **form(GIF)).json()["code"] == "internal_error"
    assert "not installed: pip install 'gifster[endpoints]'" in caplog.records[0].exc_text
    assert call("POST", content=GIF).status_code == 201


# Who may upload.


@pytest.mark.parametrize("said", [None, False, ""])
def test_somebody_who_may_not_upload_is_refused(kind: str, cache: MemoryStorage, said: object):
    answer = Caller(endpoints.upload(PhotoUploader, allow=lambda _: said), kind)(
        "POST", **form(GIF)
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert cache.files == {}


def test_an_application_may_refuse_for_reasons_of_its_own(kind: str, cache: MemoryStorage):
    def limited(about: dict[str, Any]) -> str:
        raise endpoints.Problem(429, "slow_down", "Wait a minute.", {"Retry-After": "60"})

    answer = Caller(endpoints.upload(PhotoUploader, allow=limited), kind)("POST", content=GIF)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert answer.json()["code"] == "slow_down"


def test_an_answer_that_is_true_by_accident_is_an_error(
    kind: str, cache: MemoryStorage, caplog: pytest.LogCaptureFixture
):
    answer = Caller(endpoints.upload(PhotoUploader, allow=lambda _: object()), kind)(
        "POST", content=GIF
    )

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "return the owner as a text" in caplog.records[0].exc_text
    with pytest.raises(TypeError, match="allow=True: give a function"):
        endpoints.upload(PhotoUploader, allow=True)


def test_allow_may_be_a_coroutine_function_under_asgi(cache: MemoryStorage):
    async def user(scope: dict[str, Any]) -> str:
        return "ann" if scope["type"] == "http" else ""

    answer = Caller(endpoints.upload(PhotoUploader, allow=user), "asgi")("POST", content=GIF)

    assert answer.status_code == 201


def test_an_allow_that_never_ends_keeps_no_thread(
    cache: MemoryStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mounted, "ALLOW_S", 0.1)
    cancelled = threading.Event()

    async def user(scope: dict[str, Any]) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "ann"

    async def answered() -> None:
        client = AsgiClient([GIF])
        scope = {"type": "http", "method": "POST", "path": "", "headers": []}
        endpoint = endpoints.upload(PhotoUploader, allow=user)
        await asyncio.wait_for(endpoint.asgi(scope, client.receive, client.send), 20)
        assert client.sent[0]["status"] == 500
        await asyncio.to_thread(cancelled.wait, 20)
        assert cancelled.is_set()  # the end of the loop would cancel it anyway

    asyncio.run(answered())


def test_a_cache_id_may_be_for_everyone(application: Application):
    call = Caller(endpoints.upload(Uploader, allow=lambda _: True), "wsgi")
    found = call("POST", content=GIF).json()

    class AnyUploader(Uploader):
        pass

    class Memo(Base):
        picture = mount_uploader(AnyUploader)

    note = Memo()
    note.picture_cache = found["cache_id"]
    assert note.picture.assigned.bytes == len(GIF)


# Pages of other sites.


def test_a_page_of_another_site_cannot_upload(kind: str, cache: MemoryStorage):
    endpoint = endpoints.upload(PhotoUploader, allow=ann, origins=["https://app.example.com"])
    call = Caller(endpoint, kind)

    def status(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return call("POST", content=GIF, headers=sent).status_code

    assert status() == 201  # a program
    assert status(Sec_Fetch_Site="same-origin", Origin="http://app.example.org") == 201
    assert status(Origin="http://app.example.org") == 201
    assert status(Origin="https://app.example.com", Sec_Fetch_Site="cross-site") == 201
    assert status(Origin="https://evil.example", Sec_Fetch_Site="cross-site") == 403
    assert status(Origin="https://evil.example") == 403
    assert status(Origin="null") == 403
    assert status(Sec_Fetch_Site="same-site") == 403


def test_pages_of_named_origins_may_read_the_answer(kind: str, cache: MemoryStorage):
    endpoint = endpoints.upload(PhotoUploader, allow=ann, origins=["https://app.example.com"])
    call, origin = Caller(endpoint, kind), {"Origin": "https://app.example.com"}

    asked = call("OPTIONS", headers=origin | {"Access-Control-Request-Headers": "x-requested-with"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-methods"] == "POST"
    assert asked.headers["access-control-allow-headers"] == "x-requested-with"

    for answer in (asked, call("POST", content=GIF, headers=origin), call("POST", headers=origin)):
        assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "Origin"
    other = call("OPTIONS", headers={"Origin": "https://evil.example"})
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("origins", [["app.example.com"], ["https://a.example/"], ["*"]])
def test_origins_are_checked(origins: list[str]):
    with pytest.raises(ValueError, match="is no origin"):
        endpoints.upload(PhotoUploader, allow=ann, origins=origins)


def test_origins_are_a_list():
    with pytest.raises(TypeError, match="give a list"):
        endpoints.upload(PhotoUploader, allow=ann, origins="https://app.example.com")


# The rest of HTTP.


def test_other_methods_and_paths(call: Caller):
    assert call("POST", "/x", content=GIF).json()["code"] == "not_found"
    answer = call("GET")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


def test_a_storage_that_is_away(
    call: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def away(*_: object) -> None:
        raise StorageUnavailable("no route to host")

    monkeypatch.setattr(MemoryStorage, "upload", away)

    answer = call("POST", content=GIF)

    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert answer.headers["retry-after"] == "30"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


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


@pytest.mark.parametrize("query", ["&".join(f"a{i}=1" for i in range(30)), "filename=%ff%00&x"])
def test_a_strange_query_is_no_error_of_ours(call: Caller, query: str):
    answer = call("POST", f"?{query}", content=GIF)

    assert answer.status_code in (201, 400)
    assert answer.json().get("code") in (None, "query_invalid")


def test_facts_of_the_uploader_are_in_the_answer(kind: str, cache: MemoryStorage):
    class CvUploader(Uploader):
        allow_types = {"application/pdf"}

        @metadata
        def pages(self, file: LocalFile) -> int:
            return documents.count_pages(file.path)

    answer = Caller(endpoints.upload(CvUploader, allow=ann), kind)("POST", content=documents.pdf(3))

    assert answer.json()["metadata"] == {"pages": 3}


def test_an_endpoint_can_be_served_alone(cache: MemoryStorage):
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    endpoint = endpoints.upload(PhotoUploader, allow=ann)
    asyncio.run(endpoint.asgi({"type": "lifespan"}, receive, send))

    assert [each["type"] for each in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


# Direct uploads to S3.


@pytest.mark.parametrize("platform", ["S3 and PostgreSQL"], indirect=True)
def test_a_client_writes_to_s3_itself(application: Application, kind: str):
    import httpx

    application.create_tables(Offer)
    assert isinstance(application.cache, S3Storage)
    call = Caller(endpoints.presign(PhotoUploader, allow=ann), kind)

    # When a client asks how to write its file, and does so
    found = call("GET", f"?filename=cat.gif&type=image/gif&size={len(GIF)}")
    assert found.status_code == 200
    asked = found.json()
    assert asked["fields"] == {}
    wrote = httpx.request(asked["method"], asked["url"], headers=asked["headers"], content=GIF)
    assert wrote.status_code == 200

    # I expect that the record gets it
    offer = Offer()
    offer.photo_cache = asked["cache_id"]
    offer.save()
    application.work()
    assert Offer.get_by_id(offer.id).photo.stored.filename == "cat.gif"

    # and that a file that the uploader would refuse is refused now
    def code(query: str) -> str:
        return call("GET", query).json()["code"]

    assert code("?filename=cat.gif&type=image/gif&size=1000001") == "too_large"
    assert code("?filename=cat.pdf&type=application/pdf&size=10") == "type_not_allowed"
    assert code("?filename=cat.gif&type=image/gif&size=0") == "empty_file"
    assert code("?filename=cat.gif") == "size_invalid"
    assert code("?size=10&type=a%0Ab") == "type_invalid"


def test_a_cache_that_takes_no_direct_uploads_is_an_error_of_the_application(
    kind: str, cache: MemoryStorage, caplog: pytest.LogCaptureFixture
):
    answer = Caller(endpoints.presign(PhotoUploader, allow=ann), kind)("GET", "?size=10")

    assert answer.json()["code"] == "internal_error"
    assert "has no presign()" in caplog.records[0].exc_text
