"""What stands between granian, the web server, and Falcon.

It refuses heads that are too long before anything reads them. The time that a parser takes grows
with the length of a header, in some parsers with its square: Falcon needs a minute for a
`Content-Type` of 200 kB of semicolons in quotes. granian has limits of its own (32 kB, 99 headers),
but its 431 has no body. The adapter also ends answers that nobody reads, and evens out two
differences between server and framework.
"""

import asyncio
import http
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from gifster.api import schemas
from gifster.api.metrics import count_refused

#: Keys of a request's scope: GONE is there once the client has gone; RECEIVE is ASGI's `receive`;
#: BODY is the `Body`; SPAN is its span, if requests are traced.
GONE, RECEIVE, BODY, SPAN = "gifster.gone", "gifster.receive", "gifster.body", "gifster.span"

#: The parts of ASGI (https://asgi.readthedocs.io/en/latest/specs/main.html).
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


#: The method, the path and the query (bytes). RFC 9112, 3, asks for 8,000 at least.
MOST_LINE = 8_192
#: All headers together (bytes), each with its name, its colon and its end of line.
MOST_HEADERS = 8_192
#: Headers that Falcon reads slowly get less (bytes): 8,192 of Content-Type would take it 40 ms.
MOST_OF = {b"accept": 2_048, b"content-type": 512, b"cookie": MOST_HEADERS}
_AROUND = len(b": \r\n")
#: A body's beginning may come in so many pieces; browsers send few.
MOST_PIECES = 1_000
#: What the server has read at once is passed on in pieces of so many bytes: whoever reads a body
#: keeps the last few, for as long as the next one does not come.
PIECE_BYTES = 32 * 1024


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
            # The body is not read, so the next request on this connection would begin within it.
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
        detail = f"The path and the query have {line:,} bytes; the limit is {MOST_LINE:,}."
        raise Refusal(414, "uri_too_long", f"{detail} Ask for less at once.")
    total, of = 0, dict.fromkeys(MOST_OF, 0)
    for name, value in scope["headers"]:
        total += len(name) + len(value) + _AROUND
        if name in of:
            of[name] += len(value)
    for name, size in of.items():
        if size > MOST_OF[name]:
            title = name.decode().title()
            detail = f"The header {title} has {size:,} bytes; the limit is {MOST_OF[name]:,}."
            advice = (
                "Delete the cookies of this site" if name == b"cookie" else "Send a shorter one"
            )
            raise Refusal(431, "header_too_long", f"{detail} {advice}.")
    if total > MOST_HEADERS:
        detail = f"The headers have {total:,} bytes; the limit is {MOST_HEADERS:,}."
        raise Refusal(
            431,
            "headers_too_long",
            f"{detail} Send fewer; in a browser, delete the cookies of this site.",
        )


class ReaderStalled(Exception):
    """The client has stopped reading the answer."""


def adapted(app: Application, stall_s: float) -> Application:
    """An application as the server calls it.

    Parameters:
      app: Falcon's.
      stall_s: after how long without progress an answer is abandoned (seconds): its file is closed,
        its stream ends. The server keeps the connection until the client has gone.
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
        body = scope[BODY] = Body(scope, receive)
        receive = scope[RECEIVE] = body.receive
        with suppress(ReaderStalled):  # granian hangs up when an answer ends in the middle
            await app(scope, receive, _in_time(send, stall_s))

    return serve


class Body:
    """The body of a request. It notes in the scope when the client has gone.

    Parameters:
      scope: of the request.
      receive: the server's.
    """

    def __init__(self, scope: Message, receive: Receive) -> None:
        self._scope, self._receive = scope, receive
        # Falcon waits for the first piece before it does anything, so a body that never begins
        # would be out of reach of `bodies.guarded()`. It gets an empty one.
        self._held = deque([_piece(b"", more=True)])
        #: What has been received and not passed on, and whether more follows.
        self._rest: memoryview | bytes = b""
        self._more = False

    async def receive(self) -> Message:
        """ASGI's `receive`. Falcon itself ends an event stream only at its next event."""
        if self._held:
            return self._held.popleft()
        if not self._rest:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._scope[GONE] = True
            body = message.get("body", b"")
            if len(body) <= PIECE_BYTES:
                return message
            self._rest, self._more = memoryview(body), message.get("more_body", False)
        piece = bytes(self._rest[:PIECE_BYTES])
        self._rest = self._rest[PIECE_BYTES:] or b""
        return _piece(piece, more=self._more or bool(self._rest))

    async def beginning(self, size: int, stall_s: float) -> bytes:
        """The first bytes of a body of which nothing has been received. They are received later,
        too.

        Parameters:
          size: so many at least, unless the body is shorter, or comes too slowly.
          stall_s: how long to wait for them altogether (seconds).
        """
        begun, pieces, message = bytearray(), 0, _piece(b"", more=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(stall_s):
                while len(begun) < size and pieces < MOST_PIECES:
                    message = await self.receive()
                    pieces += 1
                    begun += message.get("body", b"")
                    if not message.get("more_body", False):
                        break
        # One message for all of them: each would be an object, however small.
        self._held.appendleft(message | {"body": bytes(begun)})
        return bytes(begun)


def _piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def _in_time(send: Send, stall_s: float) -> Send:
    is_stream = False

    async def send_in_time(message: Message) -> None:
        nonlocal is_stream
        is_stream = is_stream or message.get("more_body", False)
        if not is_stream:  # the server takes a head, and a body that comes whole, at once
            await send(message)
            return
        try:
            async with asyncio.timeout(stall_s):
                await send(message)
        except TimeoutError:
            raise ReaderStalled from None

    return send_in_time
