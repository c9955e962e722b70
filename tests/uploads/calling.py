"""Calls a mounted endpoint as a server does: as WSGI, checked by the standard library's validator,
and as ASGI."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from wsgiref.validate import validator

import httpx

from gifster.uploads import (
    endpoints,
)
from gifster.uploads.endpoints import Endpoint
from tests.tus import CONTENT

HOST = "http://app.example.org"


class Caller:
    """Sends requests to one endpoint.

    Parameters:
      kind: `wsgi` or `asgi`.
      mount: the path at which the endpoint is mounted.
    """

    def __init__(self, endpoint: Endpoint, kind: str, mount: str = "/mounted") -> None:
        self._endpoint, self._kind, self._mount = endpoint, kind, mount

    def __call__(self, method: str, path: str = "", **options: Any) -> httpx.Response:
        """The response to one request.

        Parameters:
          path: below the mount.
        """
        options.setdefault("headers", {})
        if self._kind == "wsgi":
            app = _closing(self._endpoint.wsgi)
            transport = httpx.WSGITransport(app, script_name=self._mount)
            with httpx.Client(transport=transport, base_url=HOST) as client:
                return client.request(method, path or "/", **options)
        return asyncio.run(self._asgi(method, path, options))

    async def _asgi(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._endpoint.asgi, root_path=self._mount)
        content = options.get("content")
        if content is not None and not isinstance(content, (bytes, str)):
            options["content"] = _async(content)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            return await client.request(method, self._mount + path, **options)


async def _async(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _closing(application: Any) -> Any:
    """The application under the validator of the standard library, which httpx leaves unclosed."""
    checked = validator(application)

    def call(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = checked(environ, lambda *args, **kw: start_response(*args))
        try:
            return list(body)
        finally:
            body.close()

    return call


class AsgiClient:
    """One request over ASGI, message by message.

    Parameters:
      pieces: of the body. After them the client leaves if `leaves`.
    """

    def __init__(self, pieces: list[bytes], *, leaves: bool = False) -> None:
        self._pieces, self._leaves = list(pieces), leaves
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self._pieces:
            piece = self._pieces.pop(0)
            more = self._leaves or bool(self._pieces)
            return {"type": "http.request", "body": piece, "more_body": more}
        if self._leaves:
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()  # nothing comes any more
        raise AssertionError

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def call(self, endpoint: Endpoint, method: str, path: str = "", **headers: str) -> None:
        """Have the endpoint answer."""
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()],
        }
        asyncio.run(endpoint.asgi(scope, self.receive, self.send))


def leaves(
    endpoint: endpoints.Endpoint,
    path: str,
    pieces: list[bytes],
    method: str = "PATCH",
    **headers: str,
) -> None:
    """A client that sends some pieces, and leaves."""
    client = AsgiClient(pieces, leaves=True)
    headers = {"upload_offset": "0", "tus_resumable": "1.0.0", "content_type": CONTENT, **headers}
    client.call(endpoint, method, path, **headers)
    assert client.sent == []
