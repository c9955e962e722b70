"""Names of hosts as HTTP and URLs write them, and which of them are ours.

An attacker can make their own name lead to this server (DNS rebinding): a browser then treats the
attacker's page and this server as one site. A list of names prevents that, like Django's
`ALLOWED_HOSTS`. Addresses and names without a dot need no entry: an attacker does not control them.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence

LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST = re.compile(
    rf"(\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>{LABEL}(\.{LABEL})*)\.?)(:(?P<port>[0-9]{{0,5}}))?"
)
LONGEST_NAME = 253
#: What names end with that the public DNS does not have and never will: RFC 6761 (`localhost`,
#: `test`), RFC 6762 with its appendix G, and RFC 8375.
OUT_OF_REACH = (
    *(".localhost", ".test", ".local", ".home.arpa", ".internal"),
    *(".intranet", ".private", ".corp", ".home", ".lan"),
)
#: A path that reads the same in a URL, a header, a cookie and a page.
ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}")
PORTS = {"http": 80, "https": 443}


def parse_host(text: str) -> tuple[str, int | None]:
    """The name or address, in lower case and without a dot at its end; the port, or None.

    Parameters:
      text: `uri-host [":" port]` (RFC 9110, 7.2), with an IPv6 address in brackets.

    Raises:
      ValueError: the text is malformed, or has user information or a zone.
    """
    found = HOST.fullmatch(text)
    if found is None or len(found["v6"] or found["name"]) > LONGEST_NAME:
        raise ValueError(f"{text[:100]!r} is not a host")
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > 65_535:
        raise ValueError(f"{port} is not the port of a host")
    if found["v6"] is None:
        return found["name"].lower(), port
    try:
        return str(ipaddress.IPv6Address(found["v6"])), port
    except ValueError:
        raise ValueError(f"{text[:100]!r} is not the address of a host") from None


def parse_origin(text: str) -> tuple[str, str, int]:
    """The scheme, host and port of a web page's origin (RFC 6454, 7).

    Raises:
      ValueError: the text is malformed, or not the origin of a web page (`null`).
    """
    scheme, _, rest = text.partition("://")
    if scheme not in PORTS:
        raise ValueError(f"{text[:100]!r} is not the origin of a web page")
    try:
        host, port = parse_host(rest)
    except ValueError as error:
        raise ValueError(f"{text[:100]!r} is not an origin: {error}") from None
    return scheme, host, port or PORTS[scheme]


def public_url(text: str) -> str:
    """The setting `web.public_url` as browsers write the origin of a page: in lower case and ASCII,
    without a default port, and without a slash at the end.

    Raises:
      ValueError: it is neither empty nor the origin of a web page.
    """
    if not text:
        return ""
    scheme, _, rest = text.lower().removesuffix("/").partition("://")
    try:
        scheme, host, port = parse_origin(f"{scheme}://{_in_ascii(rest)}")
    except ValueError:
        raise ValueError(
            "must be like https://gifs.example.org, without a path: web.root_path has the path"
        ) from None
    written = f"[{host}]" if ":" in host else host
    return f"{scheme}://{written}" + ("" if port == PORTS[scheme] else f":{port}")


def root_path(text: str) -> str:
    """The setting `web.root_path`, without a slash at the end.

    Raises:
      ValueError: it is no plain path.
    """
    path = text.rstrip("/")
    if path and (ROOT_PATH.fullmatch(path) is None or {".", ".."} & set(path.split("/"))):
        raise ValueError(
            "must be a path like /gifs, of letters, digits and the characters . _ ~ -, or empty"
        )
    return path


def host_entry(text: str) -> str:
    """An entry of the setting `web.hosts`, in lower case and ASCII.

    Raises:
      ValueError: it is not a name, a name with a dot before it, an address, a network or a star.
    """
    try:
        return str(ipaddress.ip_network(text.strip("[]")))
    except ValueError:
        pass
    try:
        name, port = parse_host(_in_ascii(text.removeprefix(".")))
    except ValueError:
        name, port = "", None
    if text == "*" or (name and port is None and not text.endswith(":")):
        return text if text == "*" else f".{name}" if text.startswith(".") else name
    raise ValueError(
        "must be a name like gifs.example.org or .example.org (with all names below it), an "
        'address, a network like 10.0.0.0/8, or "*"'
    )


def _in_ascii(host: str) -> str:
    """Browsers send names of other scripts in Punycode (RFC 5891)."""
    return host if host.isascii() else host.encode("idna").decode("ascii")


def is_out_of_reach(host: str) -> bool:
    """Whether no stranger decides where a host leads: an address, or a name that the public DNS
    does not have.

    Parameters:
      host: as `parse_host()` returns it.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(OUT_OF_REACH)
    return True


class HostRules:
    """Which hosts are ours.

    Parameters:
      url: the public address of this installation, as `public_url()` returns it; empty if unknown.
      entries: more hosts, as `host_entry()` returns them.
    """

    def __init__(self, url: str, entries: Sequence[str]) -> None:
        self._public = bool(url)
        self._all = "*" in entries
        self._networks = []
        self._names = {parse_origin(url)[1]} if url else _names_of_this_machine()
        self._suffixes = (".localhost", *(entry for entry in entries if entry.startswith(".")))
        for entry in entries:
            try:
                self._networks.append(ipaddress.ip_network(entry))
            except ValueError:
                self._names.add(entry.removeprefix("."))

    def allow(self, host: str) -> bool:
        """Whether a host, as `parse_host()` returns it, is ours."""
        if self._all or host in self._names or host.endswith(self._suffixes):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # No public DNS has a name without a dot: localhost, a container, a machine at home.
            return "." not in host
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        # If the public name is known, only the operator's own programs use addresses: probes,
        # scrapers, and proxies that pass their own Host.
        inside = not self._public or not address.is_global
        return inside or any(address in network for network in self._networks)


def _names_of_this_machine() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name.partition('.')[0]}.local"}
