"""Which hosts this server answers for (`Hosts`), and whose pages may change something here
(`SameOrigin`)."""

from typing import Any

from gifster.api.forwarded import scheme
from gifster.api.problems import Problem
from gifster.app.hosts import PORTS, HostRules, parse_host, parse_origin
from gifster.app.settings import Web

#: Probes call by whatever address they know, and learn only whether the process works.
PROBES = {"/healthz", "/readyz"}
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class Hosts:
    """Answers requests for our own hosts only.

    Parameters:
      web: says which those are.
    """

    def __init__(self, web: Web) -> None:
        self._rules, self._web = HostRules(web.public_url, web.hosts), web

    async def process_request(self, req: Any, resp: Any) -> None:
        """Refuse a request for a host that is not ours.

        Raises:
          Problem: 400 for a Host that is missing, malformed or sent twice (RFC 9112, 3.2); 421 for
            one that is not ours (RFC 9110, 15.5.20).
        """
        if req.path in PROBES:
            return
        sent = [value for name, value in req.scope["headers"] if name == b"host"]
        # granian has an empty one where none was sent.
        if not any(sent) and req.scope.get("http_version") == "1.0":
            return  # HTTP/1.0 has no Host, and no browser speaks it
        if len(sent) != 1 or not sent[0]:
            raise Problem(400, "host_invalid", "Send the host that you want, in one Host header.")
        try:
            host, _ = parse_host(sent[0].decode("latin1"))
        except ValueError as error:
            raise Problem(400, "host_invalid", f"The Host header is malformed: {error}.") from None
        if not self._rules.allow(host):
            used = f"{scheme(req, self._web)}://{sent[0].decode('latin1')}"
            raise Problem(
                421,
                "host_not_allowed",
                f"Gifster does not answer for the host {host!r}. If that is yours, set "
                "web.public_url to the address that people use "
                f"(such as GIFSTER_WEB__PUBLIC_URL={used}), or add the host to web.hosts.",
            )


class SameOrigin:
    """Refuses what a page of another site makes a browser send, with our cookie on it.

    Browsers say where a request comes from: by `Sec-Fetch-Site` (Fetch Metadata) under https and on
    localhost, and by `Origin` everywhere. Programs say nothing, and carry no cookie. So forms need
    no token.

    Parameters:
      web: has the public address, if that is known.
    """

    def __init__(self, web: Web) -> None:
        self._public = parse_origin(web.public_url) if web.public_url else None

    async def process_request(self, req: Any, resp: Any) -> None:
        """Refuse a request that changes something and comes from a page of another site.

        Raises:
          Problem: 403, `cross_site`.
        """
        if req.method in SAFE_METHODS:
            return
        site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
        ours = site in ("same-origin", "none") if site else not origin or self._is_ours(req, origin)
        if not ours:
            raise Problem(403, "cross_site", self._refusal(req, origin or ""))

    def _refusal(self, req: Any, origin: str) -> str:
        try:
            _, host, _ = parse_origin(origin)
            near = host in (self._public and self._public[1], parse_host(req.host)[0])
        except ValueError:
            near = False
        if self._public is None or not near:
            return "A page of another site sent this."
        scheme, host, port = self._public
        public = f"{scheme}://{host}" + (f":{port}" if port != PORTS[scheme] else "")
        return (
            f"The page has the address {origin}, and the address of this library is {public}. "
            "Open the library there, or set web.public_url to the address that people use."
        )

    def _is_ours(self, req: Any, origin: str) -> bool:
        try:
            scheme, host, port = parse_origin(origin)
            own_host, own_port = parse_host(req.get_header("Host", default=""))
        except ValueError:
            return False
        if self._public is not None and self._public[1] in (host, own_host):
            return (scheme, host, port) == self._public
        # A proxy in front may speak https where we do not, so the scheme is the page's.
        return (host, port) == (own_host, own_port or PORTS[scheme])
