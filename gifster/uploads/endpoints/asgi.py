"""An endpoint as an ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html).

What an endpoint does with a request blocks, so it runs in threads of the endpoint's own, and holds
up no other request of the application.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from gifster.jobs.mounted import Message, Receive, Scope, Send, ask, from_scope
from gifster.uploads.endpoints.bodies import PIECE_BYTES, STALL_S, Body, Pace, Pieces, stalled
from gifster.uploads.endpoints.handler import Handler
from gifster.uploads.endpoints.messages import Request, Response, problem_of, refusal
from gifster.uploads.to_the_end import to_the_end


class _ClientGone(Exception):
    """Nobody waits for an answer. Servers have no error for it that only they raise: `allow` and
    the storages have connections, too, which may be reset."""


#: Awaits what a blocking function returns.
Run = Callable[..., Awaitable[Any]]


async def answer(
    handler: Handler,
    allow: Callable[[Any], object],
    threads: ThreadPoolExecutor,
    connection: tuple[Scope, Receive, Send],
) -> None:
    """Answer one request.

    Parameters:
      allow: gets the scope. If it returns a coroutine, that runs on the event loop.
    """
    scope, receive, send = connection
    request, loop = Request(**vars(from_scope(scope))), asyncio.get_running_loop()
    run, complete = _runner(threads), True

    def decide() -> object:
        return ask(allow, scope, loop)

    try:
        begun = await _begun(handler, request, decide, run)
        if isinstance(begun, Response):
            response = begun
        else:
            complete = False
            response = await _receive(begun, receive, run)
            complete = True
    except _ClientGone:
        return
    except Exception as error:  # noqa: BLE001 logged, unless it is the client's
        response = refusal(problem_of(error, request))
    response.headers |= handler.extra_headers(request, response.headers)
    if not complete and scope.get("http_version", "1.1").startswith("1"):
        # The rest of the body is not read (RFC 9112, 9.6).
        response.headers["Connection"] = "close"
    await _send(response, request, (receive, send), run)


async def _begun(
    handler: Handler, request: Request, decide: Callable[[], object], run: Run
) -> Response | Body:
    """What `begin()` returns. If the request is cancelled meanwhile, its body is aborted."""
    found: list[Response | Body] = []
    try:
        await run(lambda: found.append(handler.begin(request, decide)))
    except asyncio.CancelledError as error:
        for begun in found:
            if not isinstance(begun, Response):
                await run(begun.abort, error)
        raise
    return found[0]


def _runner(threads: ThreadPoolExecutor) -> Run:
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()  # the application's, such as the id of the request

    async def run(function: Callable[..., Any], *arguments: Any) -> Any:
        # Nothing stops a thread, and its file is still open.
        return await to_the_end(loop.run_in_executor(threads, context.run, function, *arguments))

    return run


async def _receive(body: Body, receive: Receive, run: Run) -> Response:
    pace, gathered, more = Pace(), bytearray(), True
    try:
        while more:
            message = await _message(receive)
            gathered += message.get("body", b"")
            more = message.get("more_body", False)
            pace.note(len(message.get("body", b"")))
            if len(gathered) >= PIECE_BYTES or (gathered and not more):
                piece, gathered = bytes(gathered), bytearray()
                await run(body.feed, piece)
        response: Response = await run(body.finish)
    except BaseException as error:
        with suppress(Exception):  # the request has failed already
            await run(body.feed, bytes(gathered))
        await run(body.abort, error)
        raise
    return response


async def _message(receive: Receive) -> Message:
    try:
        message = await asyncio.wait_for(receive(), STALL_S)
    except TimeoutError:
        raise stalled() from None
    if message["type"] == "http.disconnect":
        raise _ClientGone("the client has gone")
    return message


async def _send(
    response: Response,
    request: Request,
    channel: tuple[Receive, Send],
    run: Run,
) -> None:
    receive, send = channel
    headers = [(name.lower().encode(), text.encode()) for name, text in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if response.file is None or request.method == "HEAD":
        content = b"" if request.method == "HEAD" else response.content
        await send({"type": "http.response.body", "body": content})
        if response.file is not None:
            response.file.close()
        return
    # Servers drop what is sent to a client that has left, and report nothing (ASGI 2.3).
    gone = asyncio.create_task(_disconnected(receive))
    pieces = iter(Pieces(response))
    try:
        while not gone.done() and (piece := await run(next, pieces, b"")):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        response.file.close()
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
