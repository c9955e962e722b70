"""What endpoints have in common: another application mounts them, as WSGI or as ASGI."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from gifster.jobs.mounted import Receive, Scope, Send, live
from gifster.uploads.endpoints import asgi, wsgi
from gifster.uploads.endpoints.handler import Handler


class Endpoint(Handler):
    """An endpoint: mount its `wsgi` or its `asgi`.

    Parameters:
      allow: what the application says of a request, by its environ (WSGI) or scope (ASGI).
      threads: how many requests are answered at once under ASGI.
    """

    def __init__(self, allow: Callable[[Any], object] = lambda _: None, threads: int = 16) -> None:
        self._allow = allow
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="uploads-endpoint")

    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The endpoint as a WSGI application."""
        return wsgi.answer(self, self._allow, environ, start_response)

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The endpoint as an ASGI application."""
        if scope["type"] == "http":
            await asgi.answer(self, self._allow, self._threads, (scope, receive, send))
        elif scope["type"] == "lifespan":
            await live(receive, send)
        else:
            await send({"type": "websocket.close"})
