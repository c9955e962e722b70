"""Who may see the jobs' page and press its buttons: what the function `allow` answers."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gifster import jobs
from gifster.jobs import Job, State, page
from gifster.jobs.page import Access
from tests.jobs.page.mounted import HOST, PAGE, add, mounted, states


@pytest.mark.parametrize("answer", [False, None, Access.NONE])
def test_nobody_sees_the_page_who_may_not(mount: Callable[..., httpx.Client], answer: Any):
    add("charge", "the secret", dead="x")
    client = mount(lambda request: answer, login_url="/login")

    for refused in [
        client.get(PAGE),
        client.get(f"{PAGE}?state=dead"),
        client.post(PAGE, data={"do": "delete_all"}),
    ]:
        assert refused.status_code == 403
        assert "the secret" not in refused.text
        assert '<a href="/login">Log in</a>' in refused.text
    assert list(states().values()) == ["dead"]


def test_somebody_who_may_only_see_gets_no_buttons(mount: Callable[..., httpx.Client]):
    add(dead="x")
    client = mount(lambda request: Access.SEE)

    for query in ("", "?state=dead"):
        shown = client.get(PAGE + query)
        assert shown.status_code == 200
        assert 'method="post"' not in shown.text
    assert client.post(PAGE, data={"do": "delete_all"}).status_code == 403
    assert list(states().values()) == ["dead"]


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_allow_is_a_function(kind: str):
    make = {"wsgi": page.wsgi, "asgi": page.asgi}[kind]
    with pytest.raises(TypeError, match="allow"):
        make()
    with pytest.raises(TypeError, match="allow=True: give a function"):
        make(allow=True)


@pytest.mark.parametrize("answer", ["yes", 1, object()])
def test_an_answer_that_is_true_by_accident_shows_nothing(
    mount: Callable[..., httpx.Client], caplog: pytest.LogCaptureFixture, answer: Any
):
    refused = mount(lambda request: answer).get(PAGE)

    assert refused.status_code == 500
    assert "return True, False" in caplog.text
    assert "return True, False" not in refused.text


def test_an_error_in_allow_shows_nothing(
    mount: Callable[..., httpx.Client], caplog: pytest.LogCaptureFixture
):
    refused = mount(lambda request: request["no such key"]).get(PAGE)

    assert refused.status_code == 500
    assert "no such key" in caplog.text
    assert "no such key" not in refused.text


def test_allow_can_read_the_database(mount: Callable[..., httpx.Client]):
    add(dead="x")
    client = mount(lambda request: bool(jobs.find(State.DEAD)))

    assert client.get(PAGE).status_code == 200
    assert Job._meta.database.is_closed()


def test_allow_may_be_a_coroutine_function(database: Any):
    async def allow(scope: dict[str, Any]) -> bool:
        await asyncio.sleep(0)
        return scope["path"] == PAGE

    with mounted("asgi", allow) as client:
        assert client.get(PAGE).status_code == 200


def test_an_allow_that_never_ends_is_cancelled(database: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gifster.jobs.mounted.ALLOW_S", 0.1)
    cancelled = threading.Event()

    async def allow(scope: dict[str, Any]) -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return True

    async def answered() -> int:
        transport = httpx.ASGITransport(app=page.asgi(allow=allow))
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            answer = await client.get("/")
            await asyncio.to_thread(cancelled.wait, 20)
            assert cancelled.is_set()  # the end of the loop would cancel it anyway
            return answer.status_code

    assert asyncio.run(answered()) == 500


def test_the_event_loop_waits_for_nothing_that_blocks(database: Any):
    """While `allow` blocks for one request, the loop answers another one."""
    seen: list[threading.Thread] = []
    free = threading.Event()

    def allow(scope: dict[str, Any]) -> bool:
        seen.append(threading.current_thread())
        return free.wait(60)

    async def two() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app=page.asgi(allow=allow))
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            waits = asyncio.create_task(client.get("/"))
            while not seen:
                await asyncio.sleep(0.01)
            other = await client.get("/jobs.css")
            free.set()
            return await waits, other

    waited, other = asyncio.run(two())

    assert (waited.status_code, other.status_code) == (200, 200)
    assert seen[0].name.startswith("jobs-page")
