"""The access log: a line for each request, without anything secret, if `web.access_log` is on.

    access client=192.0.2.7 user=- method=GET path=/gifs/8fQK… status=200 bytes=5120 ms=3.1 agent=…

If the request failed, ` code=…` after the status says why, such as `login_failed`.

Secrets are in the query (`api_key=` of the drop-in API, searches), in headers (`Authorization`,
`Cookie`, and `Referer`, which has the address of the page before), and in the paths of links that
come by mail. So a line has no query and no header but the `User-Agent`, and of a path only those
variable parts whose name is in `SHOWN`.
"""

import functools
import logging
import re
import time
from typing import Any

from falcon.asgi import Request, Response

from gifster.api.adapter import SPAN, Application, Message, Receive, Send
from gifster.api.forwarded import UNKNOWN, client_address
from gifster.app.settings import Web

logger = logging.getLogger("gifster.access")

#: The variable parts of a path that a line shows. With any other one, it shows the route: a new
#: part may be a secret.
SHOWN = frozenset({
    "category", "collection_id", "extension", "gif_id", "job_id", "name", "queue", "subcategory",
    "token_id", "worker_id",
})  # fmt: skip
#: The key of the request's scope under which `Noted` leaves what it knows.
NOTED = "gifster.noted"
#: How much of a path and of a `User-Agent` a line shows (characters).
MOST_PATH, MOST_AGENT = 200, 150
#: A part of a path that no route knows, and that is long enough for a secret.
_LONG = re.compile(r"[^/]{21,}")
_PART = re.compile(r"{(\w+)")
_PLAIN = re.compile(r"[!#-<>-\[\]-~…]+")


class Noted:
    """Leaves in the scope what only Falcon knows of a request: its route, its client and its
    user."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def process_response(
        self, req: Request, resp: Response, resource: object, succeeded: bool
    ) -> None:
        token = getattr(req.context, "token", None)
        req.scope[NOTED] = (
            req.uri_template, client_address(req, self._web), token.user_id if token else "-",
            getattr(req.context, "problem_code", ""),
        )  # fmt: skip


def logged(app: Application) -> Application:
    """An application whose requests are logged, each at its end.

    Parameters:
      app: notes of each request what `Noted` does.
    """

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not logger.isEnabledFor(logging.INFO):
            await app(scope, receive, send)
            return
        began, status, sent = time.perf_counter(), 0, 0

        async def send_counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await app(scope, receive, send_counted)
        finally:
            # Not `logger.info()`, which looks for the line that calls it: half of the time.
            values = (*_who_and_what(scope), status, _code(scope), sent,
                      (time.perf_counter() - began) * 1000, _agent(scope["headers"]),
                      _trace(scope))  # fmt: skip
            logger.handle(logging.LogRecord(logger.name, logging.INFO, "", 0, LINE, values, None))

    return serve


LINE = "access client=%s user=%s method=%s path=%s status=%d%s bytes=%d ms=%.1f agent=%s%s"


def _who_and_what(scope: Message) -> tuple[str, str, str, str]:
    """The client, the user, the method and the path."""
    noted = scope.get(NOTED)
    if noted is None:  # its head was too long, so it reached no route
        client = str((scope.get("client") or (UNKNOWN,))[0])
        return client, "-", word(scope["method"][:20]), shown_path(None, scope["path"])
    template, client, user, _ = noted
    return client, user, word(scope["method"][:20]), shown_path(template, scope["path"])


def _code(scope: Message) -> str:
    """The code of the problem that a request had, if it had one."""
    code = scope[NOTED][3] if NOTED in scope else ""
    return f" code={word(code)}" if code else ""


def shown_path(template: str | None, path: str) -> str:
    """What a line shows of a path.

    Parameters:
      template: of its route; None if no route knows the path.
    """
    if template is None:
        path = _LONG.sub("…", path)
    elif not _is_public(template):
        path = template
    return word(path if len(path) <= MOST_PATH else f"{path[:MOST_PATH]}…")


@functools.lru_cache(1024)
def _is_public(template: str) -> bool:
    return SHOWN.issuperset(_PART.findall(template))


def word(text: str) -> str:
    """A value of a line: as it is, or in quotation marks, so that it cannot look like two."""
    if _PLAIN.fullmatch(text):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def _agent(headers: Any) -> str:
    for name, value in headers:
        if name == b"user-agent":
            return _agent_of(bytes(value[:MOST_AGENT]))
    return "-"


def _trace(scope: Message) -> str:
    """The trace of a request, if it is traced."""
    span = scope.get(SPAN)
    return "" if span is None else f" trace={span.get_span_context().trace_id:032x}"


#: Most requests come from few kinds of programs.
_agent_of = functools.lru_cache(256)(lambda value: word(value.decode("latin1")))
