"""What stands between granian, the web server, and Falcon: it refuses heads that are too long,
leaves answers that nobody reads, and evens out two differences between the two."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from gifster.api import heads
from gifster.api.files import RECEIVE
from gifster.api.metrics import count_refused

#: What the scope of a request has when its client has gone.
GONE = "gifster.gone"

Application = Callable[[Any, Any, Any], Awaitable[None]]


class ReaderStalled(Exception):
    """The client takes no more of the answer."""


def adapted(app: Application, stall_s: float) -> Application:
    """An application as the server calls it.

    Parameters:
      app: the one that Falcon makes.
      stall_s: an answer of which the client takes nothing for so long is left (seconds): its file
        is closed, its stream ends. The server keeps the connection until the client is gone.
    """

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            heads.check(scope)
        except heads.Refusal as refusal:
            count_refused(scope["method"], refusal.status)
            for message in refusal.answer:
                await send(message)
            return
        if scope.get("http_version") == "1":  # granian's word for 1.0, which Falcon refuses
            scope["http_version"] = "1.0"
        receive = scope[RECEIVE] = _watched(scope, _at_once(receive))
        with suppress(ReaderStalled):  # an answer that is left in the middle makes granian hang up
            await app(scope, receive, _in_time(send, stall_s))

    return serve


def _at_once(receive: Any) -> Any:
    """Falcon waits for the first piece of a body before it does anything. A body that never begins
    would be out of reach of `receive.guarded()`, so we begin it, with nothing."""
    begun = False

    async def receive_at_once() -> Any:
        nonlocal begun
        if begun:
            return await receive()
        begun = True
        return {"type": "http.request", "body": b"", "more_body": True}

    return receive_at_once


def _watched(scope: dict[str, Any], receive: Any) -> Any:
    """Note in the scope when the client has gone: Falcon would end an event stream only at its next
    event."""

    async def receive_watched() -> Any:
        message = await receive()
        if message["type"] == "http.disconnect":
            scope[GONE] = True
        return message

    return receive_watched


def _in_time(send: Any, stall_s: float) -> Any:
    async def send_in_time(message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(stall_s):
                await send(message)
        except TimeoutError:
            raise ReaderStalled from None

    return send_in_time
