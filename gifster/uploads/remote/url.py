"""URLs from strangers and servers, read as browsers read them, or refused.

The connection and the request are made from the parts checked here, never from the text that came
in.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urljoin, urlsplit

import idna

from gifster.uploads.errors import RemoteUrlInvalid

#: The longest URL (characters): the least that RFC 9110, 4.1, recommends to support.
LONGEST = 8_000
PORTS = {"http": 80, "https": 443}
#: Ports above 1023 of other protocols. Browsers do not open them (Fetch, "port blocking").
OTHER_PORTS = {
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
    6679, 6697, 10080,
}  # fmt: skip
#: Characters that need no escape in a request's target. A percent sign counts as an escape.
_SAFE = "/%:@!$&'()*+,;=~?"
#: Browsers leave these in a query, too, although RFC 3986 does not (WHATWG URL, "query
#: percent-encode set").
_SAFE_IN_QUERY = _SAFE + "[]{}|\\^`"
#: A host and a port, without a user's name, and without the zone of an IPv6 address (RFC 6874),
#: which has a meaning on one machine only.
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@]+))(?::([0-9]*))?", re.ASCII)
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
#: The longest name of a host, with a dot at its end (octets; RFC 1035, 2.3.4).
_LONGEST_NAME = 254


@dataclass(frozen=True)
class RemoteUrl:
    """An http or https URL of a host.

    Parameters:
      text: the whole URL, to resolve references against.
      host: its name in ASCII (A-labels, RFC 5890), or an address without brackets.
      target: path and query, as they go into a request.
      filename: the last segment of the path, decoded.
    """

    text: str
    scheme: str
    host: str
    port: int
    target: str
    filename: str

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def may_know_what(self, other: "RemoteUrl") -> bool:
        """Whether a secret for another URL may be sent to this one: it has the same host, port and
        scheme, or is the same host's https instead of http."""
        if (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port):
            return True
        upgrade = [(url.scheme, url.port) for url in (other, self)]
        return self.host == other.host and upgrade == list(PORTS.items())

    def follow(self, location: str) -> "RemoteUrl":
        """The URL that a `Location` header leads to, relative or absolute.

        Parameters:
          location: as `http.client` returns it, each octet a character. Servers write UTF-8, and
            browsers read it as such. Other octets stay as they are.

        Raises:
          RemoteUrlInvalid
        """
        try:
            reference = location.encode("latin-1").decode("utf-8", "surrogateescape").strip()
            return parse(urljoin(self.text, reference))
        except ValueError:
            raise RemoteUrlInvalid("The URL redirects to something that is not a URL.") from None


def parse(text: str) -> RemoteUrl:
    """Read a URL.

    Raises:
      RemoteUrlInvalid: it is not an http or https URL of a host, or its port is not for the web.
    """
    refusal = RemoteUrlInvalid(
        "The URL must begin with http:// or https:// and name a public host."
    )
    if not isinstance(text, str):  # such as a number of a JSON body
        raise refusal
    try:
        parts = urlsplit(text.strip())
        found = _AUTHORITY.fullmatch(parts.netloc)
        if parts.scheme not in PORTS or found is None or len(text) > LONGEST:
            raise refusal
        address, name, port = found.groups()
        path = quote(parts.path or "/", safe=_SAFE, errors="surrogateescape")
        query = quote(parts.query, safe=_SAFE_IN_QUERY, errors="surrogateescape")
        return RemoteUrl(
            text=parts.geturl(),
            scheme=parts.scheme,
            host=str(ipaddress.IPv6Address(address)) if address else _ascii(name),
            port=_checked(int(port[:6])) if port else PORTS[parts.scheme],
            target=f"{path}?{query}" if query else path,
            filename=unquote(PurePosixPath(parts.path).name),
        )
    except ValueError:
        raise refusal from None


def _ascii(name: str) -> str:
    """A host's name for the look-up, by IDNA 2008 with the mapping of UTS 46, as browsers do it.
    Python's own codec is IDNA 2003, and leads to other hosts.

    Raises:
      ValueError: it is not the name of a host.
    """
    name = name.lower() if name.isascii() else idna.encode(name, uts46=True).decode("ascii")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(name)
    return name


def _checked(port: int) -> int:
    if not 0 < port <= 65535:
        raise ValueError(port)
    if (port < 1024 and port not in PORTS.values()) or port in OTHER_PORTS:
        raise RemoteUrlInvalid(
            f"The URL has port {port}, which is not for the web. Use 80, 443, or a port above 1023."
        )
    return port
