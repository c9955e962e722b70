"""Who a trusted proxy says is logged in (`auth.proxy_header`).

The header counts only if the connection itself comes from one of `auth.proxy_addresses`; what a
header says about the client's address does not matter here. A proxy that adds its header to one
that the client sent, instead of replacing it, lets anybody be anybody: two values are refused.
"""

from dataclasses import dataclass

from falcon.asgi import Request

from gifster.api.forwarded import connection_address
from gifster.api.problems import Problem
from gifster.app.settings import Auth


@dataclass(frozen=True)
class Told:
    """What the proxy tells of the sender of a request: their e-mail address, and their groups."""

    email: str
    groups: tuple[str, ...]


def told(req: Request, auth: Auth) -> Told | None:
    """What the trusted proxy tells; None if there is no such proxy, or it has logged nobody in.

    Raises:
      Problem: 400, the header is there twice, or is not text.
    """
    if not auth.proxy_header:
        return None
    address = connection_address(req)
    if address is None or not any(address in network for network in auth.proxy_addresses):
        return None
    email = _one(req, auth.proxy_header).lower()
    if not email:
        return None
    groups = _one(req, auth.proxy_groups_header) if auth.proxy_groups_header else ""
    return Told(email, tuple(filter(None, (name.strip() for name in groups.split(",")))))


def _one(req: Request, header: str) -> str:
    wanted = header.lower().encode()
    sent = [value for name, value in req.scope["headers"] if name == wanted]
    try:
        (text,) = [value.decode("utf-8").strip() for value in sent] or [""]
    except ValueError:
        raise Problem(
            400,
            "proxy_header_invalid",
            f"The header {header} is there {len(sent)} times, or is not UTF-8: let the proxy "
            "replace what clients send.",
        ) from None
    return str(text)
