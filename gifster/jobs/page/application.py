"""Answers the requests to the mounted page, whatever server they come from. All of it blocks.

All links, forms and redirects are relative, so the page needs not know its own address: it works
below any prefix, and behind a proxy that removes one.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from gifster.jobs.admin import AdminError, BadQuery, Conflict, NotFound
from gifster.jobs.brokers.fair import QueueWeight
from gifster.jobs.database_errors import fault_of
from gifster.jobs.job import outbox_database
from gifster.jobs.mounted import is_same_origin, while_database
from gifster.jobs.page import views
from gifster.jobs.page.access import Access, access_of
from gifster.jobs.page.messages import Refusal, Request, Response
from gifster.jobs.page.rendering import STATIC, environment

logger = logging.getLogger("gifster.jobs")

#: No script, style or image but our own; no frame around the page, no form to elsewhere.
POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
STATUSES = {BadQuery: 400, NotFound: 404, Conflict: 409}


class Application:
    """The page, as an application mounts it.

    Parameters:
      site: the name of the application, for the page's titles.
      home_url: where the page's link to the application leads; empty for no link.
      login_url: where people log in who may not see the page; empty for no link.
      weights: by queue; None for those that `jobs.connect()` got in this process.
    """

    def __init__(
        self,
        site: str = "",
        home_url: str = "",
        login_url: str = "",
        weights: Mapping[str, QueueWeight] | None = None,
    ) -> None:
        self._templates, self._weights = environment(), weights
        self._layout = {
            "layout": "jobs/layout.html",
            "here": "./",
            "assets": "./",
            "site": site,
            "home_url": home_url,
            "login_url": login_url,
        }
        self._assets = {f"/{path.name}": Asset(path.read_bytes(), TYPES[path.suffix])
                        for path in STATIC.iterdir() if path.suffix in TYPES}  # fmt: skip

    def answer(self, request: Request, allow: Callable[[], object]) -> Response:
        """The answer to a request.

        Parameters:
          allow: returns what the person may do (see `access.py`). It runs with a database
            connection.
        """
        try:
            response = self._answer(request, allow)
        except Refusal as refusal:
            response = self._error(refusal)
        except Exception as error:  # noqa: BLE001 it is logged, and never shown
            response = self._error(_failure(error, request))
        response.headers = HEADERS | {"Cache-Control": "no-store"} | response.headers
        if response.status != 304:
            response.headers["Content-Length"] = str(len(response.body))
        if request.method == "HEAD":
            response.body = b""
        return response

    def _answer(self, request: Request, allow: Callable[[], object]) -> Response:
        asset = self._assets.get(request.path)
        if asset is None and request.path not in ("", "/"):
            raise Refusal(404, "There is nothing at this address.")
        methods = ("GET", "HEAD") if asset else ("GET", "HEAD", "POST")
        if request.method not in methods:
            allowed = {"Allow": ", ".join(methods)}
            raise Refusal(405, "This address does not take that method.", allowed)
        if asset is not None:
            return asset.answer(request)
        if not request.path:
            last = quote(request.mount.rpartition("/")[2])
            query = f"?{request.query}" if request.query else ""
            return Response(308, headers={"Location": f"{last}/{query}"})
        with _connection():
            access = access_of(allow())
        if access is Access.NONE:
            raise Refusal(403, "You may not see the jobs.")
        with _connection():  # `allow` may have closed the first one, as the end of a request does
            answer = self._change if request.method == "POST" else self._show
            return answer(request, access)

    def _show(self, request: Request, access: Access) -> Response:
        parameters = request.parameters()
        template, view = (
            ("jobs/list.html", views.jobs_in)
            if "state" in parameters
            else ("jobs/overview.html", views.overview)
        )
        try:
            values = view(parameters, self._weights)
        except AdminError as error:
            raise _refusal(error) from None
        return self._page(200, template, values | {"may_change": access is Access.CHANGE})

    def _change(self, request: Request, access: Access) -> Response:
        if not is_same_origin(request.headers):
            raise Refusal(403, _of_another_site(request))
        if access is not Access.CHANGE:
            raise Refusal(403, "You may see the jobs, but change nothing.")
        form = request.form()
        try:
            values = views.question(form)
            if values is not None:
                return self._page(200, "jobs/confirm.html", values)
            query = views.act(form, self._weights)
        except AdminError as error:
            raise _refusal(error) from None
        return Response(303, headers={"Location": f"./?{query}"})

    def _error(self, refusal: Refusal) -> Response:
        values = {"title": refusal.title, "status": refusal.status, "detail": str(refusal)}
        response = self._page(refusal.status, "jobs/error.html", values)
        response.headers |= refusal.headers
        return response

    def _page(self, status: int, template: str, values: Mapping[str, Any]) -> Response:
        text = self._templates.get_template(template).render(self._layout | dict(values))
        # An argument may have half of a surrogate pair, as the name of a file in another encoding.
        content = text.encode("utf-8", "backslashreplace")
        return Response(status, content, {"Content-Type": "text/html; charset=utf-8"})


class Asset:
    """A style sheet, script or image of the page. It has nothing that anybody may not see."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._content, self._kind = content, kind
        self._etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    def answer(self, request: Request) -> Response:
        """The file; or 304, if the browser has it (RFC 9110, 13.1.2)."""
        # Browsers ask each time, so that no page of a new release runs an old script.
        headers = {"ETag": self._etag, "Cache-Control": "no-cache"}
        if self._etag in request.headers.get("if-none-match", ""):
            return Response(304, headers=headers)
        headers["Content-Type"] = f"{self._kind}; charset=utf-8"
        return Response(200, self._content, headers)


def _of_another_site(request: Request) -> str:
    origin, host = (request.headers.get(name, "") for name in ("origin", "host"))
    logger.warning("refused a form of another site: origin=%r host=%r", origin, host)
    return (
        f"A page of another site ({origin or 'unknown'}) sent this form to {host}, so nothing was "
        "changed. If both are yours, let the proxy pass on the browser's Host, or send it as "
        "X-Forwarded-Host."
    )


def _failure(error: Exception, request: Request) -> Refusal:
    """The answer to an error that is nobody's fault but ours, which is logged."""
    where = request.method, request.path
    answer = while_database(error)
    if answer is None:
        logger.error("error method=%s path=%r", *where, exc_info=error)
        return Refusal(500, "Something went wrong on the server. It has been logged.")
    status, code, headers = answer
    fault, reason = fault_of(error), " ".join(str(error).split())
    logger.error("%s method=%s path=%r reason=%r: the database %s", code, *where, reason, fault)
    return Refusal(status, f"The database with the jobs {fault}.", headers)


def _refusal(error: AdminError) -> Refusal:
    return Refusal(STATUSES.get(type(error), 422), str(error))


@contextmanager
def _connection() -> Iterator[None]:
    """A connection for this block, unless the thread has one. The block may close it."""
    database = outbox_database()
    opened = database.connect(reuse_if_open=True)
    try:
        yield
    finally:
        if opened and not database.is_closed():
            database.close()
