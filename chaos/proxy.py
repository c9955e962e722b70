"""A proxy in front of an S3 server, which makes connections fail on request."""

import random
import socket
import threading
import time
from contextlib import suppress

ANSWERS = [
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
]


class FaultProxy:
    """Forwards TCP connections to a port. `fault` says what happens to new connections: `""`
    (nothing), `error` (a third get a 500 or 503), `slow` (each piece waits), `reset` (a third are
    reset after some bytes), `dead` (they get no answer)."""

    def __init__(self, port: int, seed: int) -> None:
        self.fault = ""
        self._target = port
        self._chance = random.Random(seed)
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            fault = self.fault
            if fault == "dead":
                self._hold(client)
                return
            if fault == "error" and self._chance.random() < 0.35:
                client.recv(65536)
                client.sendall(self._chance.choice(ANSWERS))
                return
            cut_after = self._chance.randrange(1, 60_000) if fault == "reset" else None
            if cut_after is not None and self._chance.random() > 0.35:
                cut_after = None
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                back = threading.Thread(target=self._pump, args=(server, client, None), daemon=True)
                back.start()
                self._pump(client, server, cut_after)
                back.join(30)

    def _hold(self, client: socket.socket) -> None:
        """Say nothing until the fault is over."""
        while self.fault == "dead":
            time.sleep(0.1)

    def _pump(self, source: socket.socket, target: socket.socket, cut_after: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while piece := source.recv(16384):
                if self.fault == "slow":
                    time.sleep(0.1)
                if self.fault == "dead":
                    self._hold(source)
                passed += len(piece)
                if cut_after is not None and passed > cut_after:
                    # Reset the connection instead of closing it in order.
                    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    source.close()
                    break
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
