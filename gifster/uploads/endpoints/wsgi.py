"""An endpoint as a WSGI application (PEP 3333)."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from gifster.jobs.mounted import from_environ
from gifster.uploads.endpoints.bodies import PIECE_BYTES, Body, Pace, Pieces
from gifster.uploads.endpoints.handler import Handler
from gifster.uploads.endpoints.messages import (
    Problem,
    Request,
    Response,
    number,
    problem_of,
    refusal,
)


def answer(
    handler: Handler,
    allow: Callable[[Any], object],
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> Iterable[bytes]:
    """Answer one request.

    Parameters:
      allow: gets the environ.
    """
    request = Request(**vars(from_environ(environ)))
    try:
        begun = handler.begin(request, lambda: allow(environ))
        response = begun if isinstance(begun, Response) else _receive(begun, environ)
    except Exception as error:  # noqa: BLE001 logged, unless it is the client's
        response = refusal(problem_of(error, request))
    response.headers |= handler.extra_headers(request, response.headers)
    start_response(f"{response.status} {response.reason}", list(response.headers.items()))
    if request.method == "HEAD":
        Pieces(response).close()
        return []
    return [response.content] if response.file is None else Pieces(response)


def _receive(body: Body, environ: WSGIEnvironment) -> Response:
    """Read a body under WSGI. The server's own timeout cuts one that stalls altogether."""
    try:
        for piece in _pieces_of(environ):
            body.feed(piece)
        return body.finish()
    except BaseException as error:
        body.abort(error)
        raise


def _pieces_of(environ: WSGIEnvironment) -> Iterator[bytes]:
    left = number(environ.get("CONTENT_LENGTH") or "")
    if left is None and not environ.get("wsgi.input_terminated"):
        return  # Nothing would tell where the body ends (PEP 3333).
    pace, source = Pace(), environ["wsgi.input"]
    while left is None or left > 0:
        try:
            piece = source.read(PIECE_BYTES if left is None else min(left, PIECE_BYTES))
        except OSError:  # so some servers say that the client has gone
            raise incomplete() from None
        if not piece:
            break
        left = None if left is None else left - len(piece)
        pace.note(len(piece))
        yield piece
    if left:
        raise incomplete()


def incomplete() -> Problem:
    """The error of a body that ends early."""
    return Problem(400, "body_incomplete", "The upload is incomplete. Send it again.")
