"""The jobs' page, mounted in an application of each kind, a client of it, and jobs for it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from gifster import jobs
from gifster.jobs import Job, page

HOST = "http://shop.example"
MOUNT = "/admin/jobs"
PAGE = f"{MOUNT}/"


class AsgiTransport(httpx.BaseTransport):
    """Answers each request on an event loop of its own."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()

        async def answer() -> httpx.Response:
            answer = await self._transport.handle_async_request(request)
            content = await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=content)

        return asyncio.run(answer())


def application(kind: str, allow: Callable[[Any], object], **options: Any) -> Any:
    """An application that has mounted the page at `MOUNT`, and has nothing else.

    Parameters:
      kind: `wsgi` or `asgi`.
    """
    if kind == "asgi":
        return Starlette(routes=[Mount(MOUNT, app=page.asgi(allow=allow, **options))])

    def nothing(environ: Any, start_response: Any) -> list[bytes]:
        start_response("404 Not Found", [])
        return []

    return DispatcherMiddleware(nothing, {MOUNT: page.wsgi(allow=allow, **options)})


def mounted(
    kind: str, allow: Callable[[Any], object] = lambda request: True, **options: Any
) -> httpx.Client:
    """A client of such an application."""
    app = application(kind, allow, **options)
    transport = httpx.WSGITransport(app=app) if kind == "wsgi" else AsgiTransport(app)
    return httpx.Client(transport=transport, base_url=HOST)


def add(actor: str = "charge", *arguments: Any, dead: str = "", **options: Any) -> str:
    """A job, waiting or dead with an error; returns its id."""
    with Job._meta.database.connection_context():
        job = jobs.enqueue(actor, *arguments, **options)
        if dead:
            now = time.time()
            Job.update(failed_at=now, error=dead, traceback=f"in work.py\n{dead}").where(
                Job.id == job.id
            ).execute()
    return job.id


def states() -> dict[str, str]:
    """The state of each job, by id."""
    with Job._meta.database.connection_context():
        return {job.id: jobs.state_of(job).value for job in Job.select()}
