"""The uploads that benchmarks send: GIFs of some sizes, over some connections at once."""

import secrets
import socket
import threading
import time

from tests import images

#: The size of a file (MB): width and height of its frames, and how many there are.
SIZES = {0.1: (270, 1), 1.1: (515, 3), 5: (492, 15)}
#: As long as a browser's. To look for a boundary of one letter takes Python eight times as long.
BOUNDARY = b"----WebKitFormBoundary7MA4YWxkTrZu0gW"
MARK = b"a mark of this upload: 0123456789abcdef"


def gif_of(size: float) -> bytes:
    """A GIF of about that many MB, whose last colours are a mark that each upload has of its own.

    It is no comment: Gifster would take that out.
    """
    side, frames = SIZES[size]
    gif = images.noisy_gif((side, side), frames)
    colors_end = 13 + 3 * 256  # of the global color table (GIF89a, 19)
    return gif[: colors_end - len(MARK)] + MARK + gif[colors_end:]


def upload_of(size: float) -> bytes:
    """A whole request that uploads such a GIF."""
    head = b'Content-Disposition: form-data; name="image"; filename="a.gif"\r\n'
    content = head + b"Content-Type: image/gif\r\n\r\n" + gif_of(size)
    body = b"--%b\r\n%b\r\n--%b--\r\n" % (BOUNDARY, content, BOUNDARY)
    return (
        b"POST /api/gifs HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=%b\r\n\r\n" % (len(body), BOUNDARY)
    ) + body


class Sender:
    """Sends the same request over some connections, each time with another mark."""

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        self._port, self._request = port, request
        self._at = request.find(MARK)
        self._connections = connections
        self._times: list[float] = []
        self.failed: list[str] = []

    def run(self, seconds: float) -> tuple[list[float], float]:
        """Send for some seconds, and at least once over each connection.

        Returns:
          the seconds of each request, and of all.
        """
        started = time.perf_counter()
        threads = [
            threading.Thread(target=self._send, args=(started + seconds,))
            for _ in range(self._connections)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.failed, self.failed[0]
        return self._times, time.perf_counter() - started

    def _send(self, until: float) -> None:
        request = bytearray(self._request)
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                began = time.perf_counter()
                if self._at >= 0:
                    request[self._at : self._at + 16] = secrets.token_hex(8).encode()
                connection.sendall(request)
                answer = read_answer(connection)
                self._times.append(time.perf_counter() - began)
                if answer.split(b" ", 2)[1] not in (b"200", b"202"):
                    self.failed.append(answer.decode())
                if self.failed or time.perf_counter() >= until:
                    return


def read_answer(connection: socket.socket) -> bytes:
    """One answer, with its body."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(65536)
        assert piece, f"the server hung up after {answer!r}"
        answer += piece
    head = answer[: answer.index(b"\r\n\r\n")].lower()
    at = head.index(b"content-length:") + len(b"content-length:")
    whole = len(head) + 4 + int(head[at:].split(b"\r\n", 1)[0])
    while len(answer) < whole:
        answer += connection.recv(whole - len(answer))
    return answer
