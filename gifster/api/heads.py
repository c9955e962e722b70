"""The head of a request, measured before Falcon or anything of ours reads it.

The time that a parser takes grows with the length of a header, in some with its square: Falcon
needs a minute for a `Content-Type` of 200 kB of semicolons in quotes. So a head that is too long is
refused here, unread. The server has limits of its own (32 kB, 99 headers); its 431 has no body.
"""

import http
import json
from typing import Any

from gifster.api.problems import MOST_ACCEPT

#: The method, the path and the query (bytes). RFC 9112, 3, asks for 8,000 at least.
MOST_LINE = 8_192
#: All headers together (bytes), each with its name, its colon and its end of line.
MOST_HEADERS = 8_192
#: What Falcon reads slowly gets less (bytes): it would need 40 ms for 8,192 of Content-Type.
MOST_OF = {b"accept": MOST_ACCEPT, b"content-type": 512, b"cookie": MOST_HEADERS}
_AROUND = len(b": \r\n")


class Refusal(Exception):
    """The head is too long.

    Parameters:
      status: 431 (RFC 6585, 5) or 414 (RFC 9110, 15.5.15).
      code: stable, for programs.
      detail: a sentence for people.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code = status, code

    @property
    def answer(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The two ASGI messages of the answer, which is `application/problem+json` (RFC 9457)."""
        title = http.HTTPStatus(self.status).phrase
        problem = {
            "type": "about:blank",
            "title": title,
            "status": self.status,
            "detail": str(self),
            "code": self.code,
        }
        body = json.dumps(problem).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            # A body that follows is not read, so the next request would begin in the middle of it.
            (b"connection", b"close"),
        ]
        start = {"type": "http.response.start", "status": self.status, "headers": headers}
        return start, {"type": "http.response.body", "body": body}


def check(scope: dict[str, Any]) -> None:
    """Measure the head of a request.

    Parameters:
      scope: the ASGI scope of the request.

    Raises:
      Refusal: the request line or a header is too long, or all headers together are.
    """
    path = scope.get("raw_path") or scope["path"].encode()
    line = len(scope["method"]) + len(path) + len(scope["query_string"])
    if line > MOST_LINE:
        detail = f"The path and the query have {line:,} bytes; at most {MOST_LINE:,} are taken."
        raise Refusal(414, "uri_too_long", f"{detail} Ask for less at once.")
    total, of = 0, dict.fromkeys(MOST_OF, 0)
    for name, value in scope["headers"]:
        total += len(name) + len(value) + _AROUND
        if name in of:
            of[name] += len(value)
    for name, size in of.items():
        if size > MOST_OF[name]:
            title = name.decode().title()
            detail = f"The header {title} has {size:,} bytes; at most {MOST_OF[name]:,} are taken."
            advice = (
                "Delete the cookies of this site" if name == b"cookie" else "Send a shorter one"
            )
            raise Refusal(431, "header_too_long", f"{detail} {advice}.")
    if total > MOST_HEADERS:
        detail = f"The headers have {total:,} bytes; at most {MOST_HEADERS:,} are taken."
        raise Refusal(
            431,
            "headers_too_long",
            f"{detail} Send fewer; in a browser, delete the cookies of this site.",
        )
