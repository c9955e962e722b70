"""What stands between granian, the web server, and Falcon.

It refuses heads that are too long before anything of ours reads them: the time that a parser takes
grows with the length of a header, in some with its square. Falcon needs a minute for a
`Content-Type` of 200 kB of semicolons in quotes. The server has limits of its own (32 kB, 99
headers), but its 431 has no body. It also ends answers that nobody reads, and evens out two
differences between server and framework.
"""

import asyncio
import http
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from gifster.api import schemas
from gifster.api.metrics import count_refused

#: What the scope of a request has when its client has gone, and what tells so.
GONE, RECEIVE = "gifster.gone", "gifster.receive"

#: The parts of ASGI (https://asgi.readthedocs.io/en/latest/specs/main.html).
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


#: The method, the path and the query (bytes). RFC 9112, 3, asks for 8,000 at least.
MOST_LINE = 8_192
#: All headers together (bytes), each with its name, its colon and its end of line.
MOST_HEADERS = 8_192
#: What Falcon reads slowly gets less (bytes): it would need 40 ms for 8,192 of Content-Type.
MOST_OF = {b"accept": 2_048, b"content-type": 512, b"cookie": MOST_HEADERS}
_AROUND = len(b": \r\n")


class Refusal(Exception):
    """The head is too long.

    Parameters:
      status: 431 (RFC 6585, 5) or 414 (RFC 9110, 15.5.15).
      code: stable, for programs.
      detail: a sentence for people.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code = status, code

    @property
    def answer(self) -> tuple[Message, Message]:
        """The two ASGI messages of the answer, which is `application/problem+json` (RFC 9457)."""
        title = http.HTTPStatus(self.status).phrase
        problem: schemas.Problem = {
            "type": "about:blank",
            "title": title,
            "status": self.status,
            "detail": str(self),
            "code": self.code,
        }
        body = json.dumps(problem).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            # A body that follows is not read, so the next request would begin in the middle of it.
            (b"connection", b"close"),
        ]
        start = {"type": "http.response.start", "status": self.status, "headers": headers}
        return start, {"type": "http.response.body", "body": body}


def check_head(scope: Message) -> None:
    """Measure the head of a request.

    Parameters:
      scope: the ASGI scope of the request.

    Raises:
      Refusal: the request line or a header is too long, or all headers together are.
    """
    path = scope.get("raw_path") or scope["path"].encode()
    line = len(scope["method"]) + len(path) + len(scope["query_string"])
    if line > MOST_LINE:
        detail = f"The path and the query have {line:,} bytes; at most {MOST_LINE:,} are taken."
        raise Refusal(414, "uri_too_long", f"{detail} Ask for less at once.")
    total, of = 0, dict.fromkeys(MOST_OF, 0)
    for name, value in scope["headers"]:
        total += len(name) + len(value) + _AROUND
        if name in of:
            of[name] += len(value)
    for name, size in of.items():
        if size > MOST_OF[name]:
            title = name.decode().title()
            detail = f"The header {title} has {size:,} bytes; at most {MOST_OF[name]:,} are taken."
            advice = (
                "Delete the cookies of this site" if name == b"cookie" else "Send a shorter one"
            )
            raise Refusal(431, "header_too_long", f"{detail} {advice}.")
    if total > MOST_HEADERS:
        detail = f"The headers have {total:,} bytes; at most {MOST_HEADERS:,} are taken."
        raise Refusal(
            431,
            "headers_too_long",
            f"{detail} Send fewer; in a browser, delete the cookies of this site.",
        )


class ReaderStalled(Exception):
    """The client takes no more of the answer."""


def adapted(app: Application, stall_s: float) -> Application:
    """An application as the server calls it.

    Parameters:
      app: the one that Falcon makes.
      stall_s: an answer of which the client takes nothing for so long is left (seconds): its file
        is closed, its stream ends. The server keeps the connection until the client is gone.
    """

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            check_head(scope)
        except Refusal as refusal:
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


def _at_once(receive: Receive) -> Receive:
    """Falcon waits for the first piece of a body before it does anything. A body that never begins
    would be out of reach of `receive.guarded()`, so we begin it, with nothing."""
    begun = False

    async def receive_at_once() -> Message:
        nonlocal begun
        if begun:
            return await receive()
        begun = True
        return {"type": "http.request", "body": b"", "more_body": True}

    return receive_at_once


def _watched(scope: Message, receive: Receive) -> Receive:
    """Note in the scope when the client has gone: Falcon would end an event stream only at its next
    event."""

    async def receive_watched() -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            scope[GONE] = True
        return message

    return receive_watched


def _in_time(send: Send, stall_s: float) -> Send:
    async def send_in_time(message: Message) -> None:
        try:
            async with asyncio.timeout(stall_s):
                await send(message)
        except TimeoutError:
            raise ReaderStalled from None

    return send_in_time
