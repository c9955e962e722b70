"""What is copied becomes popular. (Not beside the browser's tests, whose event loop is running.)"""

import asyncio

import httpx
import pytest

from gifster.api.app import create_app
from gifster.app.search import popularity
from gifster.app.search.tables import SearchEntry
from gifster.app.settings import Settings
from tests.app.fixtures import WRITE_SOON
from tests.app.gifs import added
from tests.machine import eventually


def test_a_use_makes_a_gif_popular_and_uses_are_limited(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(popularity, "WRITE_EVERY_S", 0)
    monkeypatch.setattr(popularity.Counts, "_write_soon", WRITE_SOON)
    limits = booted.limits.model_copy(update={"use": "2/hour"})
    app = create_app(booted.model_copy(update={"limits": limits}))
    gif = added()

    async def use() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post(f"/gifs/{gif.id}/share", data={"q": "jumping cats"})

    answers = [asyncio.run(use()) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [204, 204, 429]
    assert answers[2].headers["retry-after"]
    eventually(lambda: SearchEntry.get(SearchEntry.gif == gif).heat > 0)
    eventually(lambda: popularity.COUNTS._writer is None)
