"""A request and a response, as WSGI and ASGI have them in common, and errors as
`application/problem+json` (RFC 9457), each with a stable `code`."""

import errno
import http
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import parse_qs

from gifster.imaging.sandbox import ProcessLost
from gifster.jobs.database_errors import unreadable_column
from gifster.jobs.mounted import LATER, SOON, Head, while_database
from gifster.uploads.errors import TooLarge, TypeNotAllowed, UploadError
from gifster.uploads.storage.base import DISK_ERRORS, StorageUnavailable
from gifster.uploads.versions.making import Busy

logger = logging.getLogger("gifster.uploads")

Headers = dict[str, str]

MAX_PARAMETERS = 20
#: The status that tus has of its own.
CHECKSUM = (460, "Checksum Mismatch")


class Problem(Exception):
    """A request that gets an error. The function `allow` of an application may raise one, too.

    Parameters:
      status: the HTTP status.
      code: stable, for programs.
      detail: a sentence for people.
      headers: more headers of the answer.
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.headers = status, code, dict(headers or {})


class Request(Head):
    """A request to a mounted endpoint."""

    @property
    def content_length(self) -> int | None:
        """The length of the body (bytes), as far as the client tells it."""
        return number(self.headers.get("content-length", ""))

    def parameters(self) -> dict[str, str]:
        """The parameters of the query. If one is repeated, its last value counts.

        Raises:
          Problem: 400, it has too many.
        """
        try:
            found = parse_qs(self.query, errors="replace", max_num_fields=MAX_PARAMETERS)
        except ValueError:
            detail = f"The query has more than {MAX_PARAMETERS} parameters."
            raise Problem(400, "query_invalid", detail) from None
        return {name: values[-1] for name, values in found.items()}


def number(text: str) -> int | None:
    """A number of up to 18 digits; None if the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


@dataclass
class Response:
    """An answer. Its body is `content`, or `length` bytes of an open file."""

    status: int
    headers: Headers = field(default_factory=dict)
    content: bytes = b""
    file: BinaryIO | None = None
    length: int = 0

    @property
    def reason(self) -> str:
        """The reason phrase of the status."""
        return phrase(self.status)


def phrase(status: int) -> str:
    """The reason phrase of a status."""
    return CHECKSUM[1] if status == CHECKSUM[0] else http.HTTPStatus(status).phrase


def as_json(status: int, value: Mapping[str, Any], kind: str = "application/json") -> Response:
    """An answer with an object as JSON, which nobody may keep."""
    content = json.dumps(value, ensure_ascii=False).encode()
    headers = {
        "Content-Type": kind,
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(status, headers, content)


def problem_of(error: Exception, request: Request) -> Problem:
    """What a client gets for an exception. One that is nobody's fault but ours is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UploadError):
        status = {TooLarge: 413, TypeNotAllowed: 415}.get(type(error), 422)
        return Problem(status, error.code, str(error))
    if isinstance(error, Busy):
        return Problem(503, "too_busy", str(error), SOON)
    logger.error("error method=%s path=%r", request.method, request.path, exc_info=error)
    return _failure_of(error)


def _failure_of(error: Exception) -> Problem:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(507, "storage_full", "The server has no room left for the upload.")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return Problem(503, "too_busy", "The server has too many files open now.", SOON)
    of_disk = isinstance(error, OSError) and error.errno in DISK_ERRORS
    if of_disk or isinstance(error, StorageUnavailable):
        return Problem(503, "storage_unavailable", "The storage cannot be reached now.", LATER)
    if isinstance(error, ProcessLost):
        return Problem(503, "check_interrupted", "The file could not be checked now.", LATER)
    if unreadable_column(error):
        detail = "This cannot be read: its entry in the database is damaged."
        return Problem(503, "unreadable", detail)
    bug: tuple[int, str, dict[str, str]] = (500, "internal_error", {})
    status, code, headers = answer = while_database(error) or bug
    of_bug = "Something went wrong on the server. It has been logged."
    detail = of_bug if answer is bug else "The database cannot be used now."
    return Problem(status, code, detail, headers)


def refusal(problem: Problem) -> Response:
    """The answer to a request that has a problem."""
    value = {
        "type": "about:blank",
        "title": phrase(problem.status),
        "status": problem.status,
        "detail": str(problem),
        "code": problem.code,
    }
    response = as_json(problem.status, value, "application/problem+json")
    response.headers |= problem.headers
    return response
