"""Errors as `application/problem+json` (RFC 9457), each with a stable `code`, mapped in one place.

A browser that asks for a page gets the same as a page. Nobody ever gets a traceback.
"""

import errno
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import falcon
import falcon.asgi
import peewee
from falcon.asgi import Request, Response
from falcon.media.multipart import MultipartParseError

from gifster.api import schemas
from gifster.api.context import Context, TooBusy
from gifster.api.limits import RateLimited
from gifster.api.way_back import way_back, with_back
from gifster.app import library
from gifster.app.damaged_text import Unreadable
from gifster.app.errors import Unavailable
from gifster.imaging.sandbox import ProcessLost
from gifster.jobs import admin
from gifster.jobs.database_errors import Fault, fault_of, unreadable_column
from gifster.jobs.mounted import DATABASE_ANSWERS, LATER
from gifster.uploads import StorageUnavailable, UploadError
from gifster.uploads import errors as uploads
from gifster.uploads.endpoints.messages import phrase
from gifster.uploads.storage.base import DISK_ERRORS

logger = logging.getLogger("gifster.api")

#: A status, a code, a sentence, and headers.
Refusal = tuple[int, str, str, dict[str, str]]

_UNAVAILABLE = "The library cannot be read or written now."
_DETAILS = {
    Fault.FULL: "The server has no room left.",
    Fault.BUSY: "The server is busy. Try again.",
}
#: What a client gets for a database error that is no fault of the application's.
DATABASE: dict[Fault, Refusal] = {
    Fault.CONFLICT: (409, "conflict", "Somebody else has just changed that. Try again.", {}),
    **{
        fault: (status, code, _DETAILS.get(fault, _UNAVAILABLE), headers)
        for fault, (status, code, headers) in DATABASE_ANSWERS.items()
    },
}

_FULL: Refusal = (507, "storage_full", "The server has no room left for the upload.", {})
_NO_FILES = (503, "too_busy", "The server has too many files open now. Try again soon.", LATER)
_AWAY: Refusal = (503, "storage_unavailable", "The storage cannot be reached now.", LATER)
#: What a client gets when the system refuses something.
SYSTEM: dict[int | None, Refusal] = {
    **dict.fromkeys(DISK_ERRORS, _AWAY),
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EMFILE: _NO_FILES,
    errno.ENFILE: _NO_FILES,
}

#: The most special class first.
STATUSES: list[tuple[type[Exception], int]] = [
    (uploads.TooLarge, 413),
    (uploads.TypeNotAllowed, 415),
    (UploadError, 422),
    (admin.BadQuery, 400),
    (admin.NotFound, 404),
    (admin.Conflict, 409),
    (admin.Invalid, 422),
    (library.BadQuery, 400),
    (library.NotFound, 404),
    (library.Denied, 403),
    (library.Conflict, 409),
    (library.Invalid, 422),
    (Unavailable, 503),
]

#: The codes of Falcon's own errors, and what to say where Falcon says nothing.
FALCON = {
    400: ("bad_request", "The request cannot be read."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method."),
    416: ("range_not_satisfiable", "The file has no such range."),
}

#: Makes the JSON of a problem that other clients read.
Envelope = Callable[[schemas.Problem], dict[str, Any]]
#: What the header of a page needs to know, such as the user.
Header = Callable[[Context, Request], Awaitable[dict[str, object]]]
#: The parameters of a path. Error handlers get them, and need none.
Params = dict[str, str]
Handler = Callable[[Request, Response, Any, Params], Awaitable[None]]


class Problem(falcon.HTTPError):
    """An error answer.

    Parameters:
      status: the HTTP status.
      code: stable, for programs.
      detail: a sentence that says what is wrong and what to do.
      headers: more headers of the answer.
      for_people: what a page says in place of the detail, if that is about programs.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: dict[str, str] | None = None,
        *,
        for_people: str = "",
    ) -> None:
        title = phrase(status)
        super().__init__(status, title=title, description=detail, headers=headers)
        self.problem_code, self.for_people = code, for_people


def install(
    app: falcon.asgi.App[Request, Response],
    context: Context,
    envelopes: Mapping[str, Envelope] | None = None,
    *,
    header: Header,
) -> None:
    """Make an application answer all errors this way.

    Parameters:
      envelopes: what makes another JSON of a problem, by the beginning of the paths.
      header: what tells the header of an error page.
    """
    others = envelopes or {}

    async def known(req: Request, resp: Response, error: Exception, params: Params) -> None:
        raise problem_for(error) from error

    async def malformed_form(
        req: Request, resp: Response, error: Exception, params: Params
    ) -> None:
        raise Problem(400, "multipart_malformed", "The multipart body is malformed or incomplete.")

    async def refused(req: Request, resp: Response, error: OSError, params: Params) -> None:
        if error.errno not in SYSTEM:
            return await unknown(req, resp, error, params)
        status, code, detail, headers = SYSTEM[error.errno]
        where = req.method, path_to_log(req)
        logger.error("%s method=%s path=%s error=%r", code, *where, str(error))
        raise Problem(status, code, detail, headers=headers)

    async def unavailable(req: Request, resp: Response, error: Exception, params: Params) -> None:
        logger.error("storage away method=%s path=%s error=%s", req.method, path_to_log(req), error)
        raise Problem(*_AWAY)

    async def busy(req: Request, resp: Response, error: Exception, params: Params) -> None:
        raise Problem(503, "too_busy", str(error), headers=LATER)

    async def lost(req: Request, resp: Response, error: Exception, params: Params) -> None:
        logger.error("check lost method=%s path=%s error=%s", req.method, path_to_log(req), error)
        raise Problem(503, "check_interrupted", "The file could not be checked now.", headers=LATER)

    async def gone(req: Request, resp: Response, error: Exception, params: Params) -> None:
        raise Problem(404, "not_found", "That has just been deleted.")

    async def unknown(req: Request, resp: Response, error: Exception, params: Params) -> None:
        fault = fault_of(error)
        if fault is not None:
            context.readiness.refused(fault)
            reason = " ".join(str(error).split())
            logger.error(
                "database %s path=%r reason=%r: it %s", req.method, path_to_log(req), reason, fault
            )
            status, code, detail, headers = DATABASE[fault]
            raise Problem(status, code, detail, headers=headers) from error
        raise _unexpected(req, error) from error

    def serialize(req: Request, resp: Response, error: falcon.HTTPError) -> None:
        write = next((others[begin] for begin in others if req.path.startswith(begin)), None)
        answer(context, req, resp, error, write)

    def handle(kind: type[Exception], handler: Handler) -> None:
        app.add_error_handler(kind, _with_page(handler, context, header))

    handle(Exception, unknown)
    handle(OSError, refused)
    handle(peewee.DoesNotExist, gone)
    handle(StorageUnavailable, unavailable)
    handle(TooBusy, busy)
    handle(ProcessLost, lost)
    handle(falcon.HTTPError, _pass_on)
    handle(MultipartParseError, malformed_form)
    handle(UploadError, known)
    handle(library.LibraryError, known)
    handle(admin.AdminError, known)
    handle(RateLimited, known)
    app.set_error_serializer(serialize)


def _unexpected(req: Request, error: Exception) -> Problem:
    """The answer to an error that no handler is for: a row that is damaged, or a bug of ours."""
    where = req.method, path_to_log(req)
    column = unreadable_column(error)
    if column or isinstance(error, Unreadable):
        logger.error("unreadable method=%s path=%s column=%s error=%r", *where, column, error)
        detail = "This cannot be read: its entry in the database is damaged."
        return Problem(503, "unreadable", detail)
    logger.error("error method=%s path=%s", *where, exc_info=error)
    detail = "Something went wrong on the server. It has been logged."
    return Problem(500, "internal_error", detail)


def problem_for(error: Exception) -> Problem:
    """The answer to an error of the framework or the application."""
    if isinstance(error, RateLimited):
        wait = {"Retry-After": str(error.wait_s)}
        return Problem(429, "rate_limited", str(error), headers=wait)
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    wait = LATER if status == 503 else {}
    return Problem(status, getattr(error, "code", "refused"), str(error), headers=wait)


def answer(
    context: Context,
    req: Request,
    resp: Response,
    error: falcon.HTTPError,
    write: Envelope | None = None,
) -> None:
    """Write an error into a response: a page for people, else problem+json.

    Parameters:
      write: what makes another JSON of it.
    """
    code, detail = FALCON.get(error.status_code, ("refused", error.title))
    problem: schemas.Problem = {
        "type": "about:blank",
        "title": phrase(error.status_code),
        "status": error.status_code,
        "detail": error.description or detail,
        "code": getattr(error, "problem_code", code),
    }
    req.context.problem_code = problem["code"]  # for the access log
    has_body = req.content_length or req.get_header("Transfer-Encoding")
    if has_body and req.scope.get("http_version", "1.1").startswith("1"):
        # The rest of the body is not read, and the server closes the connection. Unless the answer
        # says so, a client sends its next request in vain (RFC 9112, 9.6).
        resp.set_header("Connection", "close")
    if write is not None:
        resp.text = json.dumps(write(problem), ensure_ascii=False)
        resp.content_type = falcon.MEDIA_JSON
    elif wants_page(req):
        resp.content_type = falcon.MEDIA_HTML
        page = context.templates.get_template("error.html")
        problem["detail"] = getattr(error, "for_people", "") or problem["detail"]
        resp.text = page.render(
            problem=problem,
            form_token=context.form_tokens.for_page(req, resp),
            log_in=with_back("/login", way_back(req)) if error.status_code == 401 else "",
            **getattr(req.context, "header", {}),
        )
    else:
        resp.text = json.dumps(problem, ensure_ascii=False)
        resp.content_type = "application/problem+json"


def path_to_log(req: Request) -> str:
    """A request's path as a log may have it: without the secret of a link that came by mail."""
    template = req.uri_template or ""
    return template if "{secret}" in template else str(req.path)


def wants_page(req: Request) -> bool:
    """Whether the client is a browser that is going to show the answer."""
    if req.path.startswith("/api/"):
        return False
    return req.client_prefers(["application/problem+json", "text/html"]) == "text/html"


async def _pass_on(req: Request, resp: Response, error: Exception, params: Params) -> None:
    raise error


def _with_page(handler: Handler, context: Context, header: Header) -> Handler:
    """A handler that also finds out what the page of its problem shows."""

    async def handled(req: Request, resp: Response, error: Exception, params: Params) -> None:
        try:
            await handler(req, resp, error, params)
        except falcon.HTTPError as problem:
            await _ready_a_page(context, req, problem, header)
            raise

    return handled


async def _ready_a_page(
    context: Context, req: Request, problem: falcon.HTTPError, header: Header
) -> None:
    """Find out what the page of a problem shows, which is written where nothing can wait.

    Raises:
      HTTPSeeOther: to the log-in, for a browser that asks for a page of people who are logged in.
    """
    if not wants_page(req):
        return
    code = getattr(problem, "problem_code", "")
    if code == "sign_in_first" and req.method in ("GET", "HEAD"):
        raise falcon.HTTPSeeOther(with_back("/login", way_back(req)))
    if problem.status_code in (503, 507):
        return  # who asks is in a database that is away, or asking would take a thread from others
    try:
        req.context.header = await header(context, req)
    except falcon.HTTPError as error:  # a wrong token: the page has no header for anybody
        logger.debug("no header path=%s error=%s", path_to_log(req), error)
    except Exception as error:  # noqa: BLE001 an error page must not fail itself
        logger.warning("no header path=%s error=%r", path_to_log(req), str(error))
