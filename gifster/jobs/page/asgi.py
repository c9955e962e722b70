"""The page as an ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gifster.jobs.brokers.fair import QueueWeight
from gifster.jobs.mounted import AsgiApplication, Receive, Scope, Send, ask, from_scope, live
from gifster.jobs.page.access import require_function
from gifster.jobs.page.application import Application
from gifster.jobs.page.messages import MAX_FORM_BYTES, Request, Response

#: How many requests to the page are answered at once, each in a thread with a connection to the
#: database. The threads are the page's own, so a slow database holds up no other request.
THREADS = 4


def asgi(
    *,
    allow: Callable[[Any], object],
    site: str = "",
    home_url: str = "",
    login_url: str = "",
    weights: Mapping[str, QueueWeight] | None = None,
) -> AsgiApplication:
    """The page of the jobs as an ASGI application, to be mounted in another one:

        app.mount("/admin/jobs", page.asgi(allow=…))

    Parameters:
      allow: who may see the page. It gets the scope of each request, and returns True for somebody
        who may see and change all, False for somebody who may do nothing, or an `Access`. A
        coroutine function runs on the event loop; any other function may block: it runs in a
        thread, with a connection to the outbox's database.
      site, home_url, login_url, weights: as for `Application`.

    Raises:
      TypeError: `allow` is no function.
    """
    require_function(allow)
    page = Application(site, home_url, login_url, weights)
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jobs-page")

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _answer(page, allow, threads, (scope, receive, send))
        elif scope["type"] == "lifespan":
            await live(receive, send)
        else:
            await send({"type": "websocket.close"})

    return application


async def _answer(
    page: Application,
    allow: Callable[[Any], object],
    threads: ThreadPoolExecutor,
    connection: tuple[Scope, Receive, Send],
) -> None:
    scope, receive, send = connection
    request = await _request(scope, receive)
    if request is None:
        return  # the client has gone
    loop = asyncio.get_running_loop()

    def decide() -> object:
        return ask(allow, scope, loop)

    context = contextvars.copy_context()  # of the application's, such as the id of the request
    response: Response = await loop.run_in_executor(
        threads, context.run, page.answer, request, decide
    )
    headers = [(name.lower().encode(), text.encode()) for name, text in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def _request(scope: Scope, receive: Receive) -> Request | None:
    body: bytes | None = b""
    if scope["method"] == "POST":
        try:
            body = await _body(receive)
        except ConnectionResetError:
            return None
    return Request(**vars(from_scope(scope)), body=body)


async def _body(receive: Receive) -> bytes | None:
    """The body; None if it is too long."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        body += message.get("body", b"")
        if len(body) > MAX_FORM_BYTES:
            return None
        if not message.get("more_body"):
            return bytes(body)
