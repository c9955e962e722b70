"""Requests to the sign-in service: each is over in time, and its answer has a size that can be.

The limits of `requests` are for each wait alone. A service, or a proxy before it, that sends a byte
now and then would keep a thread for ever, and there are few for all who log in.
"""

import io
import socket
import threading
from contextlib import suppress
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

#: For connecting and each wait, and for a whole answer (seconds).
TIMEOUT_S = 10
#: The most bytes of an answer. The keys of a large service have some 20 kB.
MOST_BYTES = 1_000_000
_PIECE_BYTES = 65_536


class Adapter(HTTPAdapter):
    """Reads each answer whole, within the limits. For one request at a time."""

    def __init__(self) -> None:
        super().__init__()
        #: Each connection, and its socket once it has connected: an answer may take that over.
        self._connections: list[Any] = []
        self._opened: list[socket.socket] = []
        self._over = threading.Event()

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """The pool, whose connections tell their sockets."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        kind = pool.ConnectionCls  # for http or https, for a proxy or none

        def connect(connection: Any) -> None:
            self._connections.append(connection)  # a proxy may be long in connecting
            kind.connect(connection)
            self._opened.append(connection.sock)
            if self._over.is_set():  # the watchdog may not have seen this socket
                self._cut()

        pool.ConnectionCls = type(kind.__name__, (kind,), {"connect": connect})
        return pool

    def send(self, *args: Any, **options: Any) -> requests.Response:
        """The answer to a request.

        Raises:
          requests.RequestException: there is none, or it is too large or took too long.
        """
        watchdog = threading.Timer(TIMEOUT_S, self._cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            answer = super().send(*args, **options | {"stream": True, "timeout": TIMEOUT_S})
            body = self._body(answer)
        except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
            self._check()
            raise requests.ConnectionError(error) from error
        finally:
            watchdog.cancel()
        self._check()
        answer.raw = io.BytesIO(body)
        return answer

    def _body(self, answer: requests.Response) -> bytes:
        body = bytearray()
        for piece in answer.raw.stream(_PIECE_BYTES, decode_content=True):
            body += piece
            if len(body) > MOST_BYTES:
                answer.close()
                raise requests.RequestException(f"the answer has more than {MOST_BYTES} bytes")
        return bytes(body)

    def _check(self) -> None:
        """What looks like the service's end of an answer may be our own cut."""
        if self._over.is_set():
            raise requests.Timeout(f"the whole answer took longer than {TIMEOUT_S} s") from None

    def _cut(self) -> None:
        self._over.set()
        for sock in (*self._opened, *(connection.sock for connection in self._connections)):
            with suppress(OSError, AttributeError):  # closed, or not there yet
                sock.shutdown(socket.SHUT_RDWR)


def limited(session: Any) -> Any:
    """A session of `requests`, whose requests have these limits from now on."""
    adapter = Adapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
