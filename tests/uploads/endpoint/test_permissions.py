"""Who may upload: what `allow` answers, and which pages of other sites may ask."""

import asyncio
import threading
from typing import Any

import peewee
import pytest

from gifster.jobs import mounted
from gifster.uploads import endpoints
from gifster.uploads.testing import MemoryStorage
from tests.uploads.calling import AsgiClient, Caller
from tests.uploads.endpoint.offers import GIF, PhotoUploader, ann, form


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


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (peewee.OperationalError("database is locked"), 503, "database_unavailable"),
        (peewee.IntegrityError("UNIQUE constraint failed: visits.day"), 500, "internal_error"),
        (peewee.ProgrammingError('column "nmae" does not exist'), 500, "internal_error"),
    ],
)
def test_a_client_comes_again_only_if_the_database_may_be_better_then(
    kind: str, cache: MemoryStorage, error: Exception, status: int, code: str
):
    def count(about: dict[str, Any]) -> str:
        raise error

    answer = Caller(endpoints.upload(PhotoUploader, allow=count), kind)("POST", content=GIF)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert ("retry-after" in answer.headers) is (status == 503)


def test_an_answer_that_is_true_by_accident_is_an_error(
    kind: str, cache: MemoryStorage, caplog: pytest.LogCaptureFixture
):
    answer = Caller(endpoints.upload(PhotoUploader, allow=lambda _: object()), kind)(
        "POST", content=GIF
    )

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "return the owner as a text" in caplog.text
    with pytest.raises(TypeError, match="allow=True: give a function"):
        endpoints.upload(PhotoUploader, allow=True)


def test_a_connection_of_the_applications_own_that_is_reset_is_an_error(
    kind: str, cache: MemoryStorage, caplog: pytest.LogCaptureFixture
):
    # Given an application whose sessions are on a server that goes away
    def ask_sessions(about: dict[str, Any]) -> str:
        raise ConnectionResetError("the sessions are away")

    answer = Caller(endpoints.upload(PhotoUploader, allow=ask_sessions), kind)("POST", content=GIF)

    # I expect an answer and a line of the log: it is not the client that has gone
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "the sessions are away" in caplog.text


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
        assert "access-control-expose-headers" not in answer.headers  # a script may read them all
    other = call("OPTIONS", headers={"Origin": "https://evil.example"})
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


def test_pages_of_named_origins_may_read_the_headers_of_the_answer(kind: str, cache: MemoryStorage):
    # Given an endpoint with one place, and an application that counts
    def limited(about: dict[str, Any]) -> str:
        raise endpoints.Problem(429, "slow_down", "Wait.", {"Retry-After": "60", "X-Left": "0"})

    origin = {"Origin": "https://app.example.com"}
    full = endpoints.upload(PhotoUploader, allow=ann, origins=[*origin.values()], at_once=1)
    full._places.take()
    counting = endpoints.upload(PhotoUploader, allow=limited, origins=[*origin.values()])

    # When a script of another origin is refused, I expect it to learn when to come again
    busy = Caller(full, kind)("POST", content=GIF, headers=origin)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "2")
    assert busy.headers["access-control-expose-headers"] == "Retry-After"
    refused = Caller(counting, kind)("POST", content=GIF, headers=origin)
    assert refused.headers["access-control-expose-headers"] == "Retry-After, X-Left"


@pytest.mark.parametrize("origins", [["app.example.com"], ["https://a.example/"], ["*"]])
def test_origins_are_checked(origins: list[str]):
    with pytest.raises(ValueError, match="is no origin"):
        endpoints.upload(PhotoUploader, allow=ann, origins=origins)


def test_origins_are_a_list():
    with pytest.raises(TypeError, match="give a list"):
        endpoints.upload(PhotoUploader, allow=ann, origins="https://app.example.com")
