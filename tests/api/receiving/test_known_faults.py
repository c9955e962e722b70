"""Nobody sends an upload in vain to a server whose database is known to take no writes."""

import asyncio
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from gifster.api.app import create_app
from gifster.app import readiness
from gifster.app.database import db
from gifster.app.settings import Settings
from tests import images
from tests.api.clients import Client
from tests.combinations import on_postgresql
from tests.machine import eventually

HEAD = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n\r\n'


@pytest.fixture
def take_writes(booted: Settings) -> Callable[[bool], None]:
    """Has the server of the database take writes, or refuse them."""
    url = booted.database.url

    def set_to(taken: bool) -> None:
        own = "-c default_transaction_read_only=off"
        with psycopg.connect(url, autocommit=True, options=own) as other:
            how = "off" if taken else "on"
            name = other.info.dbname
            other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {how}')
        db.obj.close_idle()  # the next connection begins so

    return set_to


@on_postgresql
def test_no_body_is_received_in_vain(
    booted: Settings, take_writes: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(readiness, "BAD_FOR_S", 0.0)
    auth = booted.auth.model_copy(update={"anonymous_uploads": True})
    received: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        yield HEAD  # the framework takes the first piece of any request
        yield images.gif() + b"\r\n--b--\r\n"
        received.append(HEAD)

    with asyncio.Runner() as runner:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        app = create_app(booted.model_copy(update={"auth": auth}))
        client = Client(app, runner.get_loop(), headers)

        # Given an upload that was received, and could not be committed
        take_writes(False)
        assert client("POST", "/api/gifs", content=body()).status_code == 503
        assert len(received) == 1

        # When the next one comes, I expect the answer before its body
        answer = client("POST", "/api/gifs", content=body())
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert (answer.headers["Retry-After"], answer.headers["Connection"]) == ("30", "close")
        assert len(received) == 1

        # And uploads to be taken again once the database is
        take_writes(True)
        eventually(lambda: client("POST", "/api/gifs", content=body()).status_code == 202)
