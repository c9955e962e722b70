"""Errors as clients of Tenor and GIPHY read them, by the path that was asked for."""

import secrets
from typing import Any

from gifster.api import schemas
from gifster.api.problems import Envelope

#: Google's names of HTTP statuses (google.rpc.Code).
_GOOGLE = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    507: "UNAVAILABLE",
}


def google(problem: schemas.Problem) -> dict[str, Any]:
    """An error of Tenor's. Discourse insists on a list of `details`, and reads the `reason`."""
    return {
        "error": {
            "code": problem["status"],
            "message": problem["detail"],
            "status": _GOOGLE.get(problem["status"], "UNKNOWN"),
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": problem["code"].upper(),
                    "domain": "gifster",
                    "metadata": {"service": "tenor.googleapis.com"},
                }
            ],
        }
    }


def giphy(problem: schemas.Problem) -> dict[str, Any]:
    """An error of GIPHY's. Its clients read `meta.msg`, and at a 429 the `message`."""
    return {
        "data": [],
        "message": problem["detail"],
        "meta": meta(problem["status"], problem["detail"]) | {"error_code": problem["code"]},
    }


def meta(status: int = 200, msg: str = "OK") -> dict[str, Any]:
    """The `meta` of each answer of GIPHY's. Its own client throws an answer away that has no
    `response_id`."""
    return {"status": status, "msg": msg, "response_id": secrets.token_hex(12)}


#: What paths begin with, the longer first.
ENVELOPES: dict[str, Envelope] = {
    "/v1/": giphy,
    "/v2/emoji": giphy,
    "/v2/pingback": giphy,
    "/v2/": google,
    "/proxy/tenor/": google,
    "/proxy/klipy/": google,
}
