"""Fetching an upload by its URL, without being sent where the public has no business.

Every address of the host is looked up first, and all must be public; the connection then goes to
the address that was checked, not to the name, which could mean another one a moment later ("DNS
rebinding"). Each redirect is a new URL and is checked the same way. Proxies of the environment are
not used. The content is streamed into the cache under the uploader's limits.
"""

import http.client
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from gifster.uploads.cache import PIECE_BYTES, CachedFile, CacheWriter
from gifster.uploads.config import config
from gifster.uploads.errors import RemoteAddressRefused, RemoteFailed, RemoteUrlInvalid
from gifster.uploads.validation import Limits

MAX_REDIRECTS = 5
#: What a server has to connect and between two pieces, and for the whole file (seconds).
STALL_S = 10.0
TOTAL_S = 60.0

HEADERS = {"User-Agent": "gifster-uploads", "Accept": "*/*", "Accept-Encoding": "identity"}

#: What may stand in a request's target as it is; a per cent sign is taken for an escape.
_SAFE = "/%:@!$&'()*+,;=~?"
_REDIRECTS = {301, 302, 303, 307, 308}
#: IPv6 addresses in it contain an IPv4 address (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def fetch(rules: type[Limits], url: str) -> CachedFile:
    """Take the file that a URL leads to into the cache.

    Raises:
      RemoteUrlInvalid: it is no http or https URL of a host.
      RemoteAddressRefused: the host's address, or that of a redirect, is not public.
      RemoteFailed: the server did not answer, not in time, or not with a file.
      UploadError: the uploader does not take the file; nothing is left behind.
    """
    deadline = time.monotonic() + TOTAL_S
    for _ in range(MAX_REDIRECTS + 1):
        parts = _parse(url)
        with _request(parts, deadline) as answer:
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location:
                return _receive(rules, parts, answer, deadline)
        url = urljoin(url, location)
    raise RemoteFailed(f"The URL redirects more than {MAX_REDIRECTS} times.")


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        valid = valid and not parts.username and not parts.password
    except ValueError:
        valid = False
    if not valid:
        raise RemoteUrlInvalid("The URL must be one of a public host, with http or https.")
    return parts


@contextmanager
def _request(parts: SplitResult, deadline: float) -> Iterator[urllib3.HTTPResponse]:
    host = parts.hostname or ""
    address = _address(host, parts.port or (443 if parts.scheme == "https" else 80))
    connection: HTTPConnection
    if parts.scheme == "https":
        connection = HTTPSConnection(
            address, parts.port, timeout=STALL_S, server_hostname=host, assert_hostname=host
        )
    else:
        connection = HTTPConnection(address, parts.port, timeout=STALL_S)
    # Each wait has its own limit, but a server could send a byte before each is over.
    opened: list[Any] = []
    left_s = max(0.0, deadline - time.monotonic())
    watchdog = threading.Timer(left_s, _cut, [connection, opened])
    watchdog.start()
    try:
        with _translated(parts):
            connection.connect()
            opened.append(connection.sock)  # an answer may take the socket over
            connection.request("GET", _target(parts), headers={"Host": parts.netloc, **HEADERS},
                               preload_content=False, decode_content=False)  # fmt: skip
            answer = connection.getresponse()
        yield answer
    finally:
        watchdog.cancel()
        connection.close()


def _target(parts: SplitResult) -> str:
    return quote(parts.path or "/", safe=_SAFE) + (
        f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    )


def _cut(connection: HTTPConnection, opened: list[Any]) -> None:
    for sock in opened or [connection.sock]:
        with suppress(OSError, AttributeError):
            sock.shutdown(socket.SHUT_RDWR)


def _receive(
    rules: type[Limits], parts: SplitResult, answer: urllib3.HTTPResponse, deadline: float
) -> CachedFile:
    if answer.status != 200:
        raise RemoteFailed(f"{parts.hostname} answered with status {answer.status}.")
    length = answer.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit():
        rules.check_bytes(int(length))
    writer = CacheWriter(rules, unquote(PurePosixPath(parts.path).name))
    try:
        while piece := _read(parts, answer, deadline):
            writer.write(piece)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


def _read(parts: SplitResult, answer: urllib3.HTTPResponse, deadline: float) -> bytes:
    with _translated(parts):
        piece = answer.read(PIECE_BYTES, decode_content=False)
    if time.monotonic() >= deadline:  # what looks like the end may be our own cut
        raise RemoteFailed(f"{parts.hostname} took longer than {TOTAL_S:g} seconds.")
    return piece


@contextmanager
def _translated(parts: SplitResult) -> Iterator[None]:
    try:
        yield
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        reason = type(error).__name__
        raise RemoteFailed(f"{parts.hostname} did not send the file ({reason}).") from error


def _address(host: str, port: int) -> str:
    """The address to connect to."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise RemoteFailed(f"There is no host {host[:100]}.") from None
    addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
    if not config.private_remotes and not all(_public(address) for address in addresses):
        raise RemoteAddressRefused("The URL leads to an address that is not public.")
    return str(addresses[0])


def _public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or [None])[0]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
