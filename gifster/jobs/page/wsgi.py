"""The page as a WSGI application (PEP 3333)."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from gifster.jobs.brokers.fair import QueueWeight
from gifster.jobs.mounted import from_environ
from gifster.jobs.page.access import require_function
from gifster.jobs.page.application import Application
from gifster.jobs.page.messages import MAX_FORM_BYTES, Request


def wsgi(
    *,
    allow: Callable[[WSGIEnvironment], object],
    site: str = "",
    home_url: str = "",
    login_url: str = "",
    weights: Mapping[str, QueueWeight] | None = None,
) -> WSGIApplication:
    """The page of the jobs as a WSGI application, to be mounted in another one:

        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/admin/jobs": page.wsgi(allow=…)})

    Parameters:
      allow: who may see the page. It gets the environ of each request, and returns True for
        somebody who may see and change all, False for somebody who may do nothing, or an `Access`.
        It runs with a connection to the outbox's database.
      site, home_url, login_url, weights: as for `Application`.

    Raises:
      TypeError: `allow` is no function.
    """
    require_function(allow)
    page = Application(site, home_url, login_url, weights)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = page.answer(_request(environ), lambda: allow(environ))
        start_response(f"{response.status} {response.reason}", list(response.headers.items()))
        return [response.body]

    return application


def _request(environ: WSGIEnvironment) -> Request:
    body = _body(environ) if environ["REQUEST_METHOD"] == "POST" else b""
    return Request(**vars(from_environ(environ)), body=body)


def _body(environ: WSGIEnvironment) -> bytes | None:
    length = 0
    with suppress(ValueError):
        length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > MAX_FORM_BYTES:
        return None
    body: bytes = environ["wsgi.input"].read(max(0, length))
    return body
