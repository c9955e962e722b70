"""What applications that another one mounts have in common, under WSGI (PEP 3333) and ASGI
(https://asgi.readthedocs.io/en/latest/specs/www.html): the jobs' page (`page/`), and the endpoints
of `gifster.uploads`.

`from_environ()` and `from_scope()` read a request. `is_same_origin()` says whether it was sent by a
page of this site, and not by another site's page with the cookie or password of a person's browser
(CSRF). The check is that of Go's `http.CrossOriginProtection`, and of Sidekiq since 8.1. It needs
neither a token nor a session of the application. Browsers say where a request comes from: by
`Sec-Fetch-Site` over https and on localhost, by `Origin` everywhere. Programs say nothing, and no
page can make a program send anything.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit
from wsgiref.types import WSGIEnvironment

from gifster.jobs.database_errors import Fault, fault_of, may_pass

#: The parts of ASGI. Frameworks call a scope a `dict`, or as Starlette does.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

#: How long a coroutine function `allow` may take (seconds). The loop may end before it has run.
ALLOW_S = 30.0

#: When a client may come again.
SOON, LATER = {"Retry-After": "2"}, {"Retry-After": "30"}
_UNAVAILABLE = (503, "database_unavailable", LATER)
#: What a client gets while the database has an error that may pass: a status, a stable code, and
#: headers.
DATABASE_ANSWERS: dict[Fault, tuple[int, str, dict[str, str]]] = {
    Fault.FULL: (507, "storage_full", {}),
    Fault.BUSY: (503, "database_busy", SOON),
    Fault.READ_ONLY: _UNAVAILABLE,
    Fault.DAMAGED: _UNAVAILABLE,
    Fault.AWAY: _UNAVAILABLE,
    Fault.STANDBY: _UNAVAILABLE,
}

_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True)
class Head:
    """The head of a request to a mounted application.

    Parameters:
      method: in capitals.
      mount: the path at which the application is mounted, as far as the server tells it, without a
        slash at its end.
      path: below `mount`: empty, or with a slash at its beginning.
      query: encoded.
      headers: by their names in lower case.
    """

    method: str
    mount: str
    path: str
    query: str
    headers: Mapping[str, str]


def while_database(error: Exception) -> tuple[int, str, dict[str, str]] | None:
    """The status, code and headers of the answer, if an error is one of the database that may be
    over at a later try; None for any other error, which is a bug."""
    fault = fault_of(error)
    return DATABASE_ANSWERS[fault] if fault is not None and may_pass(error) else None


def from_environ(environ: WSGIEnvironment) -> Head:
    """The head of a WSGI request."""
    headers = {
        name[5:].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    headers["content-length"] = environ.get("CONTENT_LENGTH", "")
    return Head(
        method=environ["REQUEST_METHOD"],
        mount=_text(environ.get("SCRIPT_NAME", "")).rstrip("/"),
        path=_text(environ.get("PATH_INFO", "")),
        query=environ.get("QUERY_STRING", ""),
        headers=headers,
    )


def _text(native: str) -> str:
    """A path, of which WSGI makes a character of each byte."""
    return native.encode("latin1").decode("utf-8", "replace")


def from_scope(scope: Scope) -> Head:
    """The head of an ASGI request."""
    mount, path = scope.get("root_path", "").rstrip("/"), scope["path"]
    # The path of ASGI includes the mount. Some servers and frameworks have removed it.
    if mount and (path == mount or path.startswith(f"{mount}/")):
        path = path[len(mount) :]
    headers = {
        name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]
    }
    query = scope.get("query_string", b"").decode("latin1")
    return Head(scope["method"], mount, path, query, headers)


def ask(allow: Callable[[Any], object], scope: Scope, loop: asyncio.AbstractEventLoop) -> object:
    """What the function `allow` of an ASGI application says of a request. Call it in a thread, not
    on the event loop, because it blocks.

    Parameters:
      allow: gets the scope. If it returns a coroutine, that runs on the event loop, for at most
        `ALLOW_S`.

    Raises:
      TimeoutError: the coroutine took longer; it is cancelled.
    """
    answer = allow(cast("dict[str, Any]", scope))  # ASGI calls it a dict
    if not inspect.iscoroutine(answer):
        return answer
    deciding = asyncio.run_coroutine_threadsafe(answer, loop)
    try:
        return deciding.result(ALLOW_S)
    finally:
        deciding.cancel()  # does nothing if it has ended


async def live(receive: Receive, send: Send) -> None:
    """Start and stop with a server that serves the application alone (ASGI's lifespan)."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from a page of this site, or from no page.

    The hosts of `Host` and `X-Forwarded-Host` are ours, because a proxy may replace the first by
    its own. A page of another site can set neither, and the scheme is left out, because a proxy may
    speak https where the server does not.

    Parameters:
      headers: of the request, by their names in lower case.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parsed = urlsplit(origin.lower())
    except ValueError:
        return False
    if not parsed.netloc:  # "null", as from a sandboxed frame
        return False
    port = _PORTS.get(parsed.scheme, "")
    said = [headers.get("host", ""), *headers.get("x-forwarded-host", "").split(",")]
    return parsed.netloc.removesuffix(port) in {
        host.strip().lower().removesuffix(port) for host in said if host.strip()
    }
