"""A RabbitMQ server for tests, where Debian's `rabbitmq-server` is installed."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.machine import eventually, free_port

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def installed() -> bool:
    return SERVER.exists() and shutil.which("epmd") is not None


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URL of a server that has its files in this folder."""
    port = free_port()
    environment = os.environ | {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"gifster{port}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    with (folder / "out.log").open("wb") as log:
        # Erlang's register of names: left to itself the server makes one that stays for ever.
        names = subprocess.Popen(["epmd"], env=environment, stdout=log, stderr=log)
        server = subprocess.Popen(
            [SERVER], env=environment, stdout=log, stderr=log, start_new_session=True
        )

    def answers() -> bool:
        assert server.poll() is None, (folder / "out.log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        eventually(answers)
        yield f"amqp://guest:guest@127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        names.kill()
        server.wait()
        names.wait()
