"""People with browsers and programs, against an application in this process."""

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx

from tests.machine import ALL_EXAMPLES


class Client:
    """Somebody with a browser or a program, against an application in this process."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop, headers: dict[str, str]) -> None:
        self.headers = headers
        self._loop, self._client = (
            loop,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers
            ),
        )

    def __call__(self, method: str, url: str, **options: Any) -> httpx.Response:
        answer = self._loop.run_until_complete(self._client.request(method, url, **options))
        if "gifster_session" not in self._client.headers.get("Cookie", ""):
            self._client.cookies.clear()
        return answer


def in_turn(people: Iterable[tuple[str, Client]], number: int) -> list[tuple[str, Client]]:
    """Who tries an address: every day two of the people, others for the next address; all of them
    where it matters.

    Parameters:
      number: the address's, in a list of all.
    """
    each = list(people)
    if ALL_EXAMPLES:
        return each
    return [each[(number + half) % len(each)] for half in (0, len(each) // 2)]
