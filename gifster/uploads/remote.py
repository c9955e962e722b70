"""Fetches an upload by its URL, from public servers only.

It looks up all addresses of the host first; all must be public. It then connects to an address that
it has checked, not to the name, which could mean another address a moment later ("DNS rebinding").
It checks each redirect in the same way, and does not use the proxies of the environment. The
content goes straight into the cache, under the uploader's limits. The error messages say only what
a public web server answered; other reasons go to the log, as they would describe a private network.
"""

import http.client
import ipaddress
import logging
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from gifster.uploads.addresses import is_public as _public
from gifster.uploads.cache import PIECE_BYTES, CachedFile, CacheWriter
from gifster.uploads.config import config
from gifster.uploads.errors import RemoteAddressRefused, RemoteFailed, RemoteUrlInvalid
from gifster.uploads.remote_url import RemoteUrl, parse
from gifster.uploads.text import has_controls
from gifster.uploads.validation import Limits

logger = logging.getLogger("gifster.uploads")

MAX_REDIRECTS = 5
#: The number of interim responses (1xx) before the final one.
MAX_INTERIM = 20
#: How long a server may take to connect and between two pieces, and for the whole file (seconds).
STALL_S = 10.0
TOTAL_S = 60.0

HEADERS = {"User-Agent": "gifster-uploads", "Accept": "*/*", "Accept-Encoding": "identity"}

_REDIRECTS = {301, 302, 303, 307, 308}
#: Content codings that some servers use although they are asked not to (RFC 9110, 8.4.1).
_CODINGS = {"gzip", "x-gzip", "deflate"}
#: Tells zlib to accept the header of gzip or of zlib.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def fetch(rules: type[Limits], url: str) -> CachedFile:
    """Fetch the file of a URL into the cache, and check it.

    Parameters:
      rules: the uploader class that is to take it.
      url: `http` or `https`.

    Raises:
      RemoteUrlInvalid: the URL, or one of a redirect, is not an http or https URL of a host.
      RemoteAddressRefused: the host, or one of a redirect, is not on the public internet.
      RemoteFailed: the server did not send a file, or not in time.
      UploadError: the uploader does not take the file; nothing is left behind.
    """
    deadline = time.monotonic() + TOTAL_S
    if has_controls(url):
        raise RemoteUrlInvalid("The URL contains control characters. Copy it again.")
    place = parse(url)
    for _ in range(MAX_REDIRECTS + 1):
        with _request(place, deadline) as answer:
            location = (answer.headers.get("Location") or "").strip()
            if answer.status not in _REDIRECTS or not location:
                return _receive(rules, place, answer, deadline)
        place = place.follow(location)
    raise RemoteFailed(f"The URL redirects more than {MAX_REDIRECTS} times.")


class _Answer(http.client.HTTPResponse):
    """Skips all interim responses (RFC 9110, 15.2); `http.client` stops at a 103."""

    def begin(self) -> None:
        for _ in range(MAX_INTERIM):
            super().begin()
            if not 100 <= self.status < 200 or self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                break
            self.headers = self.msg = None  # type: ignore[assignment]
        else:
            raise http.client.HTTPException(f"more than {MAX_INTERIM} interim answers")
        if not 200 <= self.status < 600:
            raise http.client.UnknownProtocol(str(self.status))
        coding = self.headers.get("Transfer-Encoding", "chunked")
        if coding.strip().lower() != "chunked":
            raise http.client.UnknownTransferEncoding(coding)


@contextmanager
def _request(place: RemoteUrl, deadline: float) -> Iterator[urllib3.HTTPResponse]:
    host, address = place.host, _address(place.host, place.port)
    connection: HTTPConnection
    if place.scheme == "https":
        # Neither certificates nor the handshake (RFC 6066, 3) have a dot at the end of a name.
        name = host.rstrip(".")
        connection = HTTPSConnection(
            address, place.port, timeout=STALL_S, server_hostname=name, assert_hostname=name
        )
    else:
        connection = HTTPConnection(address, place.port, timeout=STALL_S)
    connection.response_class = _Answer
    # Each wait has its own limit, but a server could send one byte within each.
    opened: list[socket.socket | None] = []
    left_s = max(0.0, deadline - time.monotonic())
    watchdog = threading.Timer(left_s, _cut, [connection, opened])
    watchdog.start()
    try:
        with _reported(place, "the server did not answer like a web server"):
            connection.connect()
            opened.append(connection.sock)  # a response may take the socket over
            connection.request("GET", place.target, headers={"Host": place.authority, **HEADERS},
                               preload_content=False, decode_content=False)  # fmt: skip
            answer = connection.getresponse()
        yield answer
    finally:
        watchdog.cancel()
        connection.close()


def _cut(connection: HTTPConnection, opened: list[socket.socket | None]) -> None:
    for sock in opened or [connection.sock]:
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _receive(
    rules: type[Limits], place: RemoteUrl, answer: urllib3.HTTPResponse, deadline: float
) -> CachedFile:
    if answer.status != http.HTTPStatus.OK:
        raise RemoteFailed(f"{place.host} answered with status {answer.status}.")
    length = answer.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit():
        rules.check_bytes(int(length[:20]))
    pieces = _pieces(place, answer, deadline)
    if coding := _coding(place, answer):
        logger.info("fetch coded host=%s coding=%s", place.host, coding)
        pieces = _decoded(rules, place, pieces)
    writer = CacheWriter(rules, place.filename)
    try:
        for piece in pieces:
            writer.write(piece)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


def _coding(place: RemoteUrl, answer: urllib3.HTTPResponse) -> str | None:
    """The content coding, if there is one."""
    field = answer.headers.get("Content-Encoding", "").lower()
    codings = {name.strip() for name in field.split(",")} - {"", "identity"}
    if not codings:
        return None
    if field.strip() not in _CODINGS:
        raise RemoteFailed(
            f"{place.host} sent the file with an unsupported compression: {field[:40]!a}."
        )
    return field.strip()


def _pieces(place: RemoteUrl, answer: urllib3.HTTPResponse, deadline: float) -> Iterator[bytes]:
    while True:
        with _reported(place, "the server did not send the whole file"):
            piece = answer.read(PIECE_BYTES, decode_content=False)
        if time.monotonic() >= deadline:  # this end may be our own cut
            raise RemoteFailed(f"{place.host} took longer than {TOTAL_S:g} seconds.")
        if not piece:
            return
        yield piece


def _decoded(rules: type[Limits], place: RemoteUrl, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a compressed file, in pieces of the usual size. The compressed bytes count
    against the uploader's limit, and so does the content. Bytes after the end are ignored."""
    received, inflater = 0, zlib.decompressobj(_GZIP_OR_ZLIB)
    for piece in pieces:
        left = piece
        received += len(piece)
        rules.check_bytes(received)
        while left and not inflater.eof:
            with _reported(place, "the server compressed the file incorrectly"):
                content = inflater.decompress(left, PIECE_BYTES)
            yield content
            left = inflater.unconsumed_tail
    while not inflater.eof:
        with _reported(place, "the server did not send the whole file"):
            content = inflater.decompress(b"", PIECE_BYTES)
            if not content:
                raise EOFError
        yield content


@contextmanager
def _reported(place: RemoteUrl, what: str) -> Iterator[None]:
    """Tell the client `what` went wrong, and only the log why: the reason would show a stranger
    which ports of a host are open."""
    try:
        yield
    except (
        urllib3.exceptions.HTTPError,
        http.client.HTTPException,
        OSError,
        ValueError,
        EOFError,
        zlib.error,
    ) as error:
        logger.info("fetch failed host=%s reason=%s", place.authority, ascii(error)[:300])
        raise RemoteFailed(f"The file could not be fetched from {place.host}: {what}.") from error


def _address(host: str, port: int) -> str:
    """The address to connect to.

    The error is the same for a name that does not exist and for one that only a private network
    knows. Otherwise a stranger could find out the names of that network.
    """
    addresses = _look_up(host, port)
    if config.private_remotes:
        if not addresses:
            raise RemoteFailed(f"There is no host {host[:100]}. Check the URL.")
    elif not addresses or not all(_public(address) for address in addresses):
        found = ",".join(str(address) for address in addresses)
        logger.info("fetch refused host=%s addresses=%s", host, found)
        raise RemoteAddressRefused("The URL's host cannot be found on the public internet.")
    return str(addresses[0])


def _look_up(host: str, port: int) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(entry[4][0]) for entry in found]
