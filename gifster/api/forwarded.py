"""The client's address, and the scheme that it used, also behind proxies.

A header counts only if the request comes from one of `web.trusted_proxies`, and only the header
that the settings name: the proxy overwrites or extends that one, and passes on any other as the
client sent it. Falcon's `access_route`, `remote_addr` and `forwarded_*` believe every client, so
Gifster does not use them.
"""

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from falcon.asgi import Request

from gifster.app.settings import Web

#: How much of a header is read, from its end, where our own proxies write (characters).
MOST = 1_024
#: Headers that proxies add.
PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
#: The address of a client whose connection has none.
UNKNOWN = "unknown"

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# RFC 7239, 4. A value without quotes may also have the colons and brackets of addresses, which many
# proxies do not quote. No part can match in two ways, so garbage costs no time.
_PAIR = r"""[\w!#$%&'*+.^`|~-]++=(?:[^\s",;=\\]++|"(?:[^"\\]|\\.)*+")[ \t]*+"""
_ELEMENT = re.compile(rf"[ \t]*+(?:{_PAIR})?+(?:;[ \t]*+(?:{_PAIR})?+)*+", re.ASCII)
_NAMED = re.compile(
    r"""([\w!#$%&'*+.^`|~-]++)=(?:([^\s",;=\\]++)|"((?:[^"\\]|\\.)*+)")""", re.ASCII
)


def client_address(req: Request, web: Web) -> str:
    """The IP address of the client.

    It is the connection's, unless that belongs to a trusted proxy. Then it is the nearest address
    in `web.client_address_header` that belongs to no trusted proxy. If a proxy names no address
    (`unknown`, an obfuscated identifier, garbage), the proxy's own address is returned: RFC 7239
    allows a new identifier for each request, which would be a way around the limits.

    Returns:
      the address; `unknown` if the connection has none.
    """
    address, _ = _client(req, web)
    return UNKNOWN if address is None else str(address)


@functools.lru_cache(1024)
def client_network(address: str) -> str:
    """The key by which a client is counted: its IPv4 address, or the /64 network of its IPv6
    address, which belongs to one customer."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), 64), strict=False))
    return str(parsed)


def is_proxied(scope: Mapping[str, Any], web: Web) -> bool:
    """Whether a request, by its ASGI scope, comes from one of our proxies."""
    address = _peer(str((scope.get("client") or ("",))[0]))
    return address is not None and _is_trusted(address, web)


def scheme(req: Request, web: Web) -> str:
    """The scheme that the client used, `http` or `https`. A trusted proxy tells it in
    `web.client_scheme_header`."""
    said = _said(req, web, web.client_scheme_header, "proto").lower()
    return said if said in ("http", "https") else str(req.scheme)


def is_https(req: Request, web: Web) -> bool:
    """Whether cookies can be `Secure`: the client used https, or `web.public_url` has it."""
    return "https" in (scheme(req, web), web.public_url.partition(":")[0])


def is_from(req: Request, web: Web, networks: Collection[Network]) -> bool:
    """Whether a request certainly comes from one of these networks. One that a proxy has passed on
    may come from anywhere, if the proxy is not named in `web.trusted_proxies`, or if it does not
    name a client beyond these proxies."""
    address, proxies = _client(req, web)
    if address is None:
        return False
    if _was_passed_on(req, web) and (not proxies or _is_trusted(address, web)):
        return False
    return any(address in network for network in networks)


def _was_passed_on(req: Request, web: Web) -> bool:
    return any(map(req.get_header, (*PASSED_ON, web.client_address_header)))


def connection_address(req: Request) -> Address | None:
    """The address at the other end of the connection: a client's, or the nearest proxy's. None if
    it has none, as on a Unix socket."""
    return _peer(str((req.scope.get("client") or ("",))[0]))


def _client(req: Request, web: Web) -> tuple[Address | None, int]:
    """The client's address, and the number of trusted proxies that the request came through."""
    address = connection_address(req)
    if address is None or not _is_trusted(address, web):
        return address, 0
    proxies = 1
    for proxies, node in enumerate(_values(req, web.client_address_header, "for"), 1):  # noqa: B007
        before = _parsed(node)
        if before is None:
            break
        address = before
        if not _is_trusted(address, web):
            break
    return address, proxies


def _is_trusted(address: Address, web: Web) -> bool:
    return any(address in network for network in web.trusted_proxies)


def _said(req: Request, web: Web, header: str, parameter: str) -> str:
    """The value from the proxy that met the client, or an empty text. If a proxy further in has
    overwritten the header, its one value counts."""
    _, proxies = _client(req, web)
    values = list(_values(req, header, parameter)) if proxies else []
    return values[min(proxies, len(values)) - 1] if values else ""


def _values(req: Request, header: str, parameter: str) -> Iterator[str]:
    """The values of a header, the nearest proxy's first. For `Forwarded`, the values of a
    parameter, empty where an element lacks it."""
    text = (req.get_header(header) or "")[-MOST:]
    if header.lower() == "forwarded":
        for element in _elements(text):
            yield element.get(parameter, "")
    else:
        yield from filter(None, (part.strip() for part in reversed(text.split(","))))


def _elements(text: str) -> Iterator[dict[str, str]]:
    """The elements of a `Forwarded`, the last one first. As they are read from the end, a quote
    that a client has opened does not swallow elements that a proxy has added."""
    comma = end = len(text)
    while comma >= 0:
        comma = text.rfind(",", 0, comma)
        if _ELEMENT.fullmatch(text, comma + 1, end):
            pairs = _NAMED.findall(text, comma + 1, end)
            if pairs:
                yield {
                    name.lower(): plain or re.sub(r"\\(.)", r"\1", quoted)
                    for name, plain, quoted in pairs
                }
            end = comma


def _parsed(node: str) -> Address | None:
    """The address of a node, which may have a port, brackets and quotes (RFC 7239, 6)."""
    node = node.strip().strip('"')
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    try:
        address = ip_address(node)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


#: The same for the address of a connection; a client has many requests.
_peer = functools.lru_cache(1024)(_parsed)
