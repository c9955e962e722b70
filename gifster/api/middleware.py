"""What every request meets before its resource.

It must be for a host of ours (`Hosts`), and its texts must be text (`WellFormed`). `Headers`
protects the answer. `same_origin` refuses what comes from a page of another site.
"""

from urllib.parse import urlsplit

import falcon
from falcon.asgi import Request, Response

from gifster.api.assets import STATIC
from gifster.api.bodies import require_text
from gifster.api.forwarded import scheme
from gifster.api.problems import Problem
from gifster.app.boot import MEDIA
from gifster.app.hosts import HostRules, parse_host
from gifster.app.settings import PREFIX, Storage, Web
from gifster.uploads.text import has_controls, is_text

#: How many values of `Host` that are ours are remembered, so that they are not parsed again.
MOST_HOSTS = 64
#: Probes use whatever address they know, and learn only whether the process works.
PROBES = {"/healthz", "/readyz"}
#: The environment variable of `web.public_url`.
PUBLIC_URL = f"{PREFIX}WEB__PUBLIC_URL"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

PAGE_POLICY = (
    "default-src 'none'; img-src 'self' data:{media}; media-src 'self'{media}; "
    "style-src 'self'; script-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Whatever somebody managed to upload, nothing in it runs.
MEDIA_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


#: For content that never changes at its address.
FOR_GOOD = "public, max-age=31536000, immutable"
FOR_AN_HOUR = "private, max-age=3600, immutable"


class Headers:
    """Sets security and caching headers.

    Parameters:
      store: where images may come from.
      members_only: whether only people who are logged in see them.
    """

    def __init__(self, store: Storage, *, members_only: bool = False) -> None:
        self._members_only = members_only
        origins = "".join(f" {origin}" for origin in image_origins(store))
        self._page_policy = PAGE_POLICY.format(media=origins)

    async def process_response(
        self, req: Request, resp: Response, resource: object, succeeded: bool
    ) -> None:
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Referrer-Policy", "same-origin")
        if req.path.startswith(MEDIA + "/"):
            resp.set_header("Content-Security-Policy", MEDIA_POLICY)
            resp.set_header("Cross-Origin-Resource-Policy", "cross-origin")
            if resp.status_code != 302:
                resp.set_header("Cache-Control", self._media_caching(req, succeeded))
        elif resp.get_header("Cross-Origin-Resource-Policy") == "cross-origin":
            pass  # `sharing` has set the headers of what other sites may show
        else:
            resp.set_header("Content-Security-Policy", self._page_policy)
            resp.set_header("Cross-Origin-Opener-Policy", "same-origin")
            resp.set_header("Cross-Origin-Resource-Policy", "same-origin")
            resp.set_header("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
            resp.set_header("Cache-Control", self._caching(req, succeeded))

    def _caching(self, req: Request, succeeded: bool) -> str:
        if not req.path.startswith(STATIC + "/"):
            return "no-store"
        # Without the digest, browsers revalidate static files each time (304), so that no page of a
        # new release runs an old script.
        return FOR_GOOD if succeeded and req.context.get("immutable") else "no-cache"

    def _media_caching(self, req: Request, succeeded: bool) -> str:
        """What caches may do with a file. A GIF may become public, so they must not remember that
        it was not to be found."""
        if not succeeded:
            return "no-store"
        if getattr(req.context, "is_private", False):
            return "private, no-cache"
        # The content of a key never changes: a new image gets new keys. A browser from which
        # somebody logs out shall not keep what members see for a year.
        return FOR_AN_HOUR if self._members_only else FOR_GOOD


def image_origins(store: Storage) -> list[str]:
    """The other origins from which browsers fetch images."""
    endpoint_url = store.endpoint_url
    if store.addressing == "virtual":
        endpoint_url = endpoint_url.replace("://", f"://{store.bucket}.")
    urls = [url for url in (store.base_url, endpoint_url) if url.startswith("http")]
    if store.kind == "s3" and not urls:
        region = store.region or "*"
        urls = [f"https://{store.bucket}.s3.{region}.amazonaws.com",
                f"https://{store.bucket}.s3.amazonaws.com"]  # fmt: skip
    return [f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in urls]


class FixedFiles:
    """Refuses methods that change something for files, whose sinks answer any method."""

    async def process_request(self, req: Request, resp: Response) -> None:
        fixed = req.path.startswith((MEDIA + "/", STATIC + "/"))
        if fixed and req.method not in SAFE_METHODS:
            raise falcon.HTTPMethodNotAllowed(sorted(SAFE_METHODS))


class Hosts:
    """Refuses requests for hosts that are not ours.

    Parameters:
      web: names ours.
    """

    def __init__(self, web: Web) -> None:
        self._rules, self._web = HostRules(web.public_url, web.hosts), web
        #: Values of the header that are ours, as they were sent.
        self._allowed: frozenset[bytes] = frozenset()

    async def process_request(self, req: Request, resp: Response) -> None:
        """Check the Host of a request.

        Raises:
          Problem: 400 for a Host that is missing, malformed or sent twice (RFC 9112, 3.2); 421 for
            one that is not ours (RFC 9110, 15.5.20).
        """
        if req.path in PROBES:
            return
        sent = [value for name, value in req.scope["headers"] if name == b"host"]
        # granian gives an empty Host for a missing one.
        if not any(sent) and req.scope.get("http_version") == "1.0":
            return  # HTTP/1.0 has no Host, and no browser speaks it
        if len(sent) != 1 or not sent[0]:
            raise Problem(400, "host_invalid", "Send exactly one Host header.")
        if sent[0] in self._allowed:
            return
        try:
            host, _ = parse_host(sent[0].decode("latin1"))
        except ValueError as error:
            raise Problem(400, "host_invalid", f"The Host header is malformed: {error}.") from None
        if self._rules.allow(host):
            self._allowed = frozenset([*list(self._allowed)[:MOST_HOSTS], sent[0]])
        else:
            used = f"{scheme(req, self._web)}://{sent[0].decode('latin1')}"
            raise Problem(
                421,
                "host_not_allowed",
                f"Gifster does not answer for the host {host!r}. If it is yours, set "
                "web.public_url to the address that people use "
                f"(such as {PUBLIC_URL}={used}), or add the host to web.hosts.",
            )


class WellFormed:
    """Refuses queries with malformed texts, and answers malformed paths with 404."""

    async def process_request(self, req: Request, resp: Response) -> None:
        for name, values in req.params.items():
            require_text(name, *(values if isinstance(values, list) else [values]))

    async def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, str]
    ) -> None:
        if not all(is_text(value) and not has_controls(value) for value in params.values()):
            raise Problem(404, "not_found", "There is nothing at this address.")
