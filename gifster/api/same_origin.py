"""Refuses changes that a page of another site makes a browser send, with our cookie.

Browsers tell where a request comes from: by `Sec-Fetch-Site` (Fetch Metadata) with https and on
localhost, and by `Origin` everywhere. Programs tell nothing, and have no cookie. Where the `Origin`
cannot be compared with anything, pages carry a token (`form_tokens`).
"""

import re
from collections.abc import Collection
from typing import cast
from urllib.parse import parse_qs

from falcon.asgi import Request, Response

from gifster.api.adapter import BODY, Body
from gifster.api.auth import has_session
from gifster.api.bodies import MULTIPART, SMALL_BYTES, URL_ENCODED, media_type
from gifster.api.context import Context
from gifster.api.form_tokens import FIELD, HEADER
from gifster.api.middleware import PUBLIC_URL, SAFE_METHODS
from gifster.api.problems import Problem
from gifster.app.hosts import PORTS, HostRules, is_out_of_reach, parse_host, parse_origin

#: What somebody who is not logged in may send from a page at any address, with a token: what needs
#: a secret besides, and what changes nothing.
ANYWHERE = {
    *("/login", "/login/second-factor", "/login/passkey", "/login/passkey/options"),
    *("/password", "/confirm", "/logout", "/cards", "/duplicates"),
}
FOREIGN = "A page of another site sent this request."
#: Within so many bytes, the first field of a multipart form ends.
FIRST_FIELD_BYTES = 512
_FIRST_FIELD = re.compile(
    rb'--[^\r\n]{1,100}\r\nContent-Disposition: form-data; name="%b"\r\n\r\n([\w-]+)\r\n--'
    % FIELD.encode(),
    re.IGNORECASE,
)


class SameOrigin:
    """Refuses what comes from a page of another site.

    Parameters:
      context: has the public address, if that is known, and the tokens.
      open_to_all: paths whose handlers look at no cookie, and call `check()` where it matters.
    """

    def __init__(self, context: Context, open_to_all: Collection[str] = ()) -> None:
        web = context.settings.web
        self._context, self._open_to_all = context, open_to_all
        self._public = parse_origin(web.public_url) if web.public_url else None
        self._rules = HostRules(web.public_url, web.hosts)

    async def process_request(self, req: Request, resp: Response) -> None:
        """Check where a request comes from, unless it only reads.

        Raises:
          Problem: 403, `cross_site`.
        """
        if req.method in SAFE_METHODS or req.path in self._open_to_all or self._says_so(req):
            return
        host = self._unknown_host(req)
        if host is None or not await self._has_token(req):
            raise self._refusal(req)
        if await has_session(self._context, req) or req.path in ANYWHERE:
            return
        # A page of a stranger whose name leads to the proxy (DNS rebinding) is of the same origin
        # for its browser, so it can read a token. But it has nobody's session.
        if not (is_out_of_reach(host) or self._rules.allow(host)):
            raise self._refusal(req)

    def check(self, req: Request) -> None:
        """Check where a request comes from, by what its browser says alone.

        Raises:
          Problem: 403, `cross_site`.
        """
        if not self._says_so(req):
            raise self._refusal(req)

    def _says_so(self, req: Request) -> bool:
        site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
        if site:
            return site in ("same-origin", "none")
        return not origin or self._is_ours(req, origin)

    def _unknown_host(self, req: Request) -> str | None:
        """The host of the page that sent a request, if nothing tells whether it is ours."""
        if self._public is not None or req.get_header("Sec-Fetch-Site") is not None:
            return None
        try:
            return parse_origin(req.get_header("Origin", default=""))[1]
        except ValueError:
            return None

    async def _has_token(self, req: Request) -> bool:
        """Whether a request has the token of its cookie.

        Raises:
          Problem: 403, it has another one.
        """
        stall_s = self._context.settings.web.body_stall_s
        token = req.get_header(HEADER) or await _field(req, stall_s)
        if token and not self._context.form_tokens.hold(req, token):
            raise Problem(
                403,
                "cross_site",
                "Somebody has logged in or out with this browser since the page was loaded. Load "
                "the page again, then send the form once more.",
            )
        return bool(token)

    def _refusal(self, req: Request) -> Problem:
        return Problem(403, "cross_site", self._advice(req, req.get_header("Origin", default="")))

    def _advice(self, req: Request, origin: str) -> str:
        try:
            _, host, _ = parse_origin(origin)
            near = host in (self._public and self._public[1], parse_host(req.host)[0])
        except ValueError:
            return FOREIGN
        if self._public is None and req.get_header("Sec-Fetch-Site") is None:
            # Perhaps a proxy has put its own Host in the place of the browser's.
            return (
                f"{FOREIGN} Its address is {origin}, and the request is for {req.netloc}. If both "
                f"are this library, set web.public_url ({PUBLIC_URL}={origin}), or have the proxy "
                "pass the browser's Host on (nginx: proxy_set_header Host $http_host)."
            )
        if self._public is None or not near:
            return FOREIGN
        scheme, host, port = self._public
        public = f"{scheme}://{host}" + (f":{port}" if port != PORTS[scheme] else "")
        return (
            f"The page has the address {origin}, and the address of this library is {public}. "
            "Open the library there, or set web.public_url to the address that people use."
        )

    def _is_ours(self, req: Request, origin: str) -> bool:
        try:
            scheme, host, port = parse_origin(origin)
            own_host, own_port = parse_host(req.get_header("Host", default=""))
        except ValueError:
            return False
        if self._public is not None and self._public[1] in (host, own_host):
            return (scheme, host, port) == self._public
        # A proxy in front may speak https where we do not, so the scheme is the page's.
        return (host, port) == (own_host, own_port or PORTS[scheme])


async def _field(req: Request, stall_s: float) -> str:
    """The token in a form, most of which may still have to come; empty if it has none."""
    sent, body = media_type(req), cast("Body | None", req.scope.get(BODY))
    if body is None:  # the server is not ours (`adapter`)
        return ""
    if sent == MULTIPART:
        found = _FIRST_FIELD.match(await body.beginning(FIRST_FIELD_BYTES, stall_s))
        return found[1].decode() if found else ""
    if sent != URL_ENCODED:
        return ""
    # Fields from elsewhere on the page may come before those that are within the form.
    form = await body.beginning(SMALL_BYTES, stall_s)
    try:
        return parse_qs(form.decode("utf-8"), max_num_fields=1_000).get(FIELD, [""])[0]
    except ValueError:
        return ""
