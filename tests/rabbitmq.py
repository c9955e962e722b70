"""A RabbitMQ server for tests, where Debian's `rabbitmq-server` is installed."""

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.machine import eventually, free_port, one_at_a_time

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def installed() -> bool:
    return SERVER.exists() and shutil.which("epmd") is not None


@contextmanager
def shared(folder: Path, hosts: Sequence[str]) -> Iterator[str]:
    """The URL of a server for all processes that name the same folder, without a virtual host."""
    with starting(folder, hosts) as server:
        eventually(lambda: _answers(server, folder))
        yield server["url"]


@contextmanager
def starting(folder: Path, hosts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A server for all processes that name the same folder; it may not answer yet. The first of
    them starts it, and the last one ends it: a server costs nine seconds of CPU.

    Parameters:
      hosts: the virtual hosts that it has.
    """
    lock, noted = folder.with_suffix(".lock"), folder.with_suffix(".json")
    with one_at_a_time(lock):
        if noted.exists():
            server = json.loads(noted.read_text())
        else:
            folder.mkdir(exist_ok=True)
            server = _start(folder, hosts) | {"users": 0}
        server["users"] += 1
        noted.write_text(json.dumps(server))
    try:
        yield server
    finally:
        with one_at_a_time(lock):
            server = json.loads(noted.read_text())
            server["users"] -= 1
            noted.write_text(json.dumps(server))
            if not server["users"]:
                noted.unlink()
                for pid, began_at in server["leaders"]:
                    with suppress(psutil.NoSuchProcess):  # and one with its number is a stranger
                        if psutil.Process(pid).create_time() == began_at:
                            os.killpg(pid, signal.SIGKILL)
                shutil.rmtree(folder, ignore_errors=True)


def _answers(server: dict[str, Any], folder: Path) -> bool:
    pid, _ = server["leaders"][0]
    runs = psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    assert runs, (folder / "out.log").read_text()
    with suppress(OSError), socket.create_connection(("127.0.0.1", server["port"]), 1):
        return True
    return False


def _start(folder: Path, hosts: Sequence[str]) -> dict[str, Any]:
    """Start a server that has its files in this folder: its URL, and the leaders of
    its groups of processes, with the times at which they began."""
    port = free_port()
    (folder / "hosts.json").write_text(json.dumps(_definitions(hosts)))
    (folder / "rabbitmq.conf").write_text(f"load_definitions = {folder}/hosts.json\n")
    environment = os.environ | {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"gifster{port}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    # Erlang's register of names: left to itself the server makes one that stays for ever.
    with (folder / "out.log").open("wb") as log:
        names, server = (
            subprocess.Popen(
                [command], env=environment, stdout=log, stderr=log, start_new_session=True
            )
            for command in ("epmd", SERVER)
        )
    leaders = [(pid, psutil.Process(pid).create_time()) for pid in (server.pid, names.pid)]
    return {"url": f"amqp://guest:guest@127.0.0.1:{port}", "port": port, "leaders": leaders}


def _definitions(hosts: Sequence[str]) -> dict[str, object]:
    """The user, and what it may, as RabbitMQ imports it. A password is kept as its salt, and the
    SHA-256 of salt and password."""
    salt = os.urandom(4)
    digest = base64.b64encode(salt + hashlib.sha256(salt + b"guest").digest()).decode()
    all_of_it = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [{"name": "guest", "password_hash": digest, "tags": "administrator",
                   "hashing_algorithm": "rabbit_password_hashing_sha256"}],
        "vhosts": [{"name": host} for host in hosts],
        "permissions": [{"user": "guest", "vhost": host} | all_of_it for host in hosts],
    }  # fmt: skip
