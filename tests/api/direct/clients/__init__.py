"""tus-js-client, unpatched, as `make clients` has installed it; and a bad connection."""

import os
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.api import installed_clients

HERE = Path(__file__).parent
FOLDER = installed_clients.FOLDER / "direct"


def require() -> None:
    """Skip the test if the client cannot run."""
    installed_clients.require(FOLDER, [HERE / "package-lock.json"])


def node(script: str, **variables: str) -> "subprocess.Popen[str]":
    """A running script, whose output can be read."""
    return subprocess.Popen(
        ["node", "--eval", script],
        cwd=FOLDER,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class BadConnection:
    """A way to a server on this machine whose first connections are lost on the way.

    Parameters:
      port: the server's.
      cuts: after how many bytes of the client's each of the first connections is lost.
    """

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._to, self._cuts = port, list(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        #: How many connections were lost.
        self.lost = 0

    def __enter__(self) -> "BadConnection":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                cut = self._cuts.pop(0) if self._cuts else None
                threading.Thread(target=self._connect, args=(client, cut), daemon=True).start()

    def _connect(self, client: socket.socket, cut: int | None) -> None:
        with suppress(OSError), client:
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                threading.Thread(target=_copy, args=(server, client, None), daemon=True).start()
                self.lost += _copy(client, server, cut)


def _copy(source: socket.socket, target: socket.socket, most: int | None) -> bool:
    """Copy bytes until one side ends. Returns whether it was cut off after `most`."""
    copied = 0
    with suppress(OSError):
        while most is None or copied < most:
            piece = source.recv(16_384 if most is None else min(16_384, most - copied))
            if not piece:
                break
            target.sendall(piece)
            copied += len(piece)
        for end in (source, target):
            end.shutdown(socket.SHUT_RDWR)
    return most is not None and copied >= most
