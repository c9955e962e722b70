"""Which pages may send uploads: those of this site, and those of the origins that the application
names (CORS).

Without this check, a page of any site could upload with the cookie of a person's browser (CSRF):
see `gifster/jobs/mounted.py`.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from gifster.jobs.mounted import is_same_origin
from gifster.uploads.endpoints.messages import Headers, Problem, Request, Response

#: How long a browser remembers the answer to a preflight request (seconds).
PREFLIGHT_S = 3600
#: The headers that a script may read of every answer (Fetch, 2.2.2), and those of no use to one.
READABLE = {"cache-control", "content-length", "content-type"}
FOR_BROWSERS = {"allow", "connection", "vary", "x-content-type-options"}


class Origins:
    """The origins whose pages may use an endpoint.

    Parameters:
      others: besides this site's own, such as `https://app.example.org`.

    Raises:
      TypeError: it is one text.
      ValueError: one is no origin.
    """

    def __init__(self, others: Collection[str]) -> None:
        if isinstance(others, str):
            raise TypeError(f"origins is a text: give a list, [{others!r}]")
        for origin in others:
            parts = urlsplit(origin)
            if not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
                raise ValueError(f"{origin!r} is no origin: write scheme and host, https://host")
        self._others = frozenset(others)

    def check(self, request: Request) -> None:
        """Raise `Problem` (403) for a request that a page of another site has made."""
        origin = request.headers.get("origin")
        if origin not in self._others and not is_same_origin(request.headers):
            raise Problem(
                403, "cross_origin", "A page of another site sent this request: it is refused."
            )

    def headers(self, request: Request, answer: Headers) -> Headers:
        """The headers by which a browser lets a page of another origin read the answer, with the
        headers that it has: `Retry-After`, those of tus, and the application's own."""
        origin = request.headers.get("origin")
        if not self._others or origin is None:
            return {}
        if origin not in self._others:
            return {"Vary": "Origin"}
        found = {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
        }
        # `*` stands for no header of a request with credentials.
        exposed = ", ".join(name for name in answer if _is_hidden(name.lower()))
        return found | ({"Access-Control-Expose-Headers": exposed} if exposed else {})

    def preflight(self, request: Request, methods: str) -> Response:
        """The answer to a browser that asks whether it may send a request (Fetch, 3.2.2)."""
        self.check(request)
        wanted = request.headers.get("access-control-request-headers", "")
        wanted = wanted if wanted.isascii() and wanted.isprintable() else ""
        headers = {
            "Allow": methods,
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": wanted,
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        }
        return Response(204, {name: value for name, value in headers.items() if value})


def _is_hidden(name: str) -> bool:
    """Whether a script needs a header of an answer that its browser hides."""
    return name not in READABLE | FOR_BROWSERS and not name.startswith("access-control-")
