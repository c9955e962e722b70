"""Servers on this machine to fetch from: web servers, and servers that send given bytes."""

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests import images
from tests.uploads.framework import Person

GIF = images.gif(size=(80, 60))
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(GIF)

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A web server that answers every GET like this; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sends(content: bytes, **headers: str) -> Answer:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def redirects(to: str) -> Answer:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", to)
        request.end_headers()

    return answer


def fetched(url: str) -> Person:
    person = Person()
    person.remote_avatar_url = url
    return person


class Server:
    """Sends raw answers, one for each connection. `heads` are the requests."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self.heads: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self._serve, args=[answers])
        self.thread.start()

    def _serve(self, answers: tuple[bytes, ...]) -> None:
        with self._listener:
            for answer in answers:
                connection, _ = self._listener.accept()
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                        head += piece
                    self.heads.append(head.decode("latin-1"))
                    try:
                        connection.sendall(answer.replace(b"PORT", b"%d" % self.port))
                    except OSError:
                        return

    @property
    def targets(self) -> list[str]:
        return [head.split(" ")[1] for head in self.heads]


@contextmanager
def sending(*answers: bytes) -> Iterator[Server]:
    server = Server(answers)
    yield server
    for _ in answers:  # the answers that nobody asked for
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=60).close()
        except OSError:
            break
    server.thread.join(60)


def moved(location: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % location
