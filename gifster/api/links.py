"""Absolute addresses: what a program, a chat or a mail can use without knowing where it came from.

Pages use addresses without a host (`/media/…`): they work at every address that leads here.
"""

import functools

from falcon.asgi import Request

from gifster.api.forwarded import scheme
from gifster.app.hosts import public_url
from gifster.app.settings import Web


def origin(req: Request, web: Web) -> str:
    """The scheme and host that absolute addresses in the answer begin with, without a slash at the
    end.

    It is `web.public_url`; if that is not set, the scheme that the client used (as far as
    `web.trusted_proxies` allows), and the request's `Host`, which `middleware.Hosts` has checked.
    Without `web.public_url` the client chooses among the hosts that are ours, so nothing that
    others may get is made with it: such answers are `no-store`, or vary by `Host`.
    """
    return web.public_url or asked_at(req, web)


def asked_at(req: Request, web: Web) -> str:
    """The same as the client used it, as far as a proxy in front passes it on."""
    return _written(scheme(req, web), _host(req))


def home(req: Request, web: Web) -> str:
    """The address of the library, as `origin()` and `web.root_path`, without a slash at the end."""
    return origin(req, web) + web.root_path


def absolute(origin: str, url: str) -> str:
    """A storage's URL as an absolute one. Those of buckets already are.

    Parameters:
      origin: `origin()`; empty where a page wants the URL as it is.
    """
    if url[:1] != "/":
        return url
    if url[:2] == "//":  # a `base_url` for both schemes
        return origin.partition("//")[0] + url
    return origin + url


def _host(req: Request) -> str:
    sent = req.get_header("Host")
    if sent:
        return sent
    # HTTP/1.0 needs no Host; the address that the connection came in at leads here.
    name, port = req.scope.get("server") or ("localhost", None)
    name = f"[{name}]" if ":" in name else name
    return name if port is None else f"{name}:{port}"


#: A site has few hosts; a stranger cannot fill more than this.
_written = functools.lru_cache(64)(lambda scheme, host: public_url(f"{scheme}://{host}"))
