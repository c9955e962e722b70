"""One request for a remote file, and the content of its answer.

Each wait has a limit, and so has the whole fetch. The error messages say only what a public web
server answered; other reasons go to the log, as they would describe a private network.
"""

import http.client
import logging
import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from gifster.uploads.errors import RemoteFailed
from gifster.uploads.files.cache import PIECE_BYTES
from gifster.uploads.files.validation import Limits
from gifster.uploads.remote.url import RemoteUrl

logger = logging.getLogger("gifster.uploads")

#: The number of interim responses (1xx) before the final one.
MAX_INTERIM = 20

#: Content codings that some servers use although they are asked not to (RFC 9110, 8.4.1).
_CODINGS = {"gzip", "x-gzip", "deflate"}
#: Statuses after which a request may succeed (RFC 9110, 15.5.9 and 15.6; RFC 6585, 4).
_MAY_RECOVER = {408, 425, 429, 500, 502, 503, 504}
#: Tells zlib to accept the header of gzip or of zlib.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class TryAgain(RemoteFailed):
    """The server did not send the file, but it may do so soon."""


@dataclass(frozen=True)
class Times:
    """How long a fetch may take.

    Parameters:
      stall_s: to connect, and between two pieces (seconds).
      total_s: in all (seconds).
      deadline: the moment at which it ends (`time.monotonic()`).
    """

    stall_s: float
    total_s: float
    deadline: float

    def check(self, host: str) -> None:
        """Raise `RemoteFailed` if that time is over.

        Parameters:
          host: the name of the server that took so long.
        """
        if time.monotonic() >= self.deadline:
            raise RemoteFailed(f"{host} took longer than {self.total_s:g} seconds.")


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
def request(
    place: RemoteUrl, addresses: Sequence[str], headers: Mapping[str, str], times: Times
) -> Iterator[urllib3.HTTPResponse]:
    """The answer to a GET, for as long as the `with` block lasts.

    Parameters:
      addresses: of the host; the next one is tried when one takes no connection.
    """
    connect_s = times.stall_s / len(addresses)
    connections = [_connection(place, address, connect_s) for address in addresses]
    # Each wait has its own limit, but a server could send one byte within each.
    opened: list[socket.socket | None] = []
    left_s = max(0.0, times.deadline - time.monotonic())
    watchdog = threading.Timer(left_s, _cut, [connections, opened])
    watchdog.start()
    try:
        with _reported(place, "the server did not answer like a web server"):
            connection = _connected(connections, times)
            # The watchdog cannot cut what is not connected yet, and comes only once.
            times.check(place.host)
            connection.timeout = times.stall_s
            opened.append(connection.sock)  # a response may take the socket over
            connection.request("GET", place.target, headers={"Host": place.authority, **headers},
                               preload_content=False, decode_content=False)  # fmt: skip
            answer = connection.getresponse()
        yield answer
    finally:
        watchdog.cancel()
        for connection in connections:
            connection.close()


def _connection(place: RemoteUrl, address: str, connect_s: float) -> HTTPConnection:
    connection: HTTPConnection
    if place.scheme == "https":
        # Neither certificates nor the handshake (RFC 6066, 3) have a dot at the end of a name.
        name = place.host.rstrip(".")
        connection = HTTPSConnection(
            address, place.port, timeout=connect_s, server_hostname=name, assert_hostname=name
        )
    else:
        connection = HTTPConnection(address, place.port, timeout=connect_s)
    connection.response_class = _Answer
    return connection


def _connected(connections: Sequence[HTTPConnection], times: Times) -> HTTPConnection:
    """The first connection that comes about. Many machines have an IPv6 address that leads
    nowhere, and many names have addresses of both kinds."""
    for connection in connections[:-1]:
        try:
            connection.connect()
        except (OSError, urllib3.exceptions.HTTPError):
            connection.close()
            if time.monotonic() >= times.deadline:
                raise
        else:
            return connection
    connections[-1].connect()
    return connections[-1]


def _cut(connections: Sequence[HTTPConnection], opened: list[socket.socket | None]) -> None:
    for sock in opened or [connection.sock for connection in connections]:
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def content(
    rules: type[Limits], place: RemoteUrl, answer: urllib3.HTTPResponse, times: Times
) -> Iterator[bytes]:
    """The content of a file, decoded, in pieces.

    Raises:
      RemoteFailed: there is none.
    """
    if answer.status != http.HTTPStatus.OK:
        failed = TryAgain if answer.status in _MAY_RECOVER else RemoteFailed
        raise failed(f"{place.host} answered with status {answer.status}.")
    length = answer.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit():
        rules.check_bytes(int(length[:20]))
    pieces = _pieces(place, answer, times)
    if coding := _coding(place, answer):
        logger.info("fetch coded host=%s coding=%s", place.host, coding)
        pieces = _decoded(rules, place, pieces)
    return pieces


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


def _pieces(place: RemoteUrl, answer: urllib3.HTTPResponse, times: Times) -> Iterator[bytes]:
    while True:
        with _reported(place, "the server did not send the whole file"):
            piece = answer.read(PIECE_BYTES, decode_content=False)
        times.check(place.host)  # this end may be our own cut
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
        raise TryAgain(f"The file could not be fetched from {place.host}: {what}.") from error
