"""A Gifster on several nodes, each in a network namespace with a folder of its own: web servers,
workers and schedulers. PostgreSQL, a broker, an S3 server and Caddy run on the hub.

To the verdict it looks like the `Site` on one machine.
"""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from chaos.databases import NotHere
from chaos.network import HUB_ADDRESS, Network
from chaos.services import BROKERS, BUCKETS, CADDY_PORT, S3_PORT, WEB_PORT, Services
from chaos.site import COMMANDS, Process, end
from tests import s3
from tests.machine import eventually
from tests.stack import Stack, Started

ROLES = {"web": 3, "worker": 3, "scheduler": 2}
#: What each node needs to run: the address of the nodes' proxy is the hub's, on each wire.
DRAIN_S, GRACE_S = 2, 10


class NodeStack(Stack):
    """The commands of one node, or of the hub.

    Parameters:
      namespace: where they run.
      folder: their working folder.
      variables: settings, as environment variables.
    """

    def __init__(self, namespace: str, folder: Path, broker_url: str, **variables: str) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder, broker_url, **variables)
        self._namespace = namespace

    def _started(
        self, command: Sequence[str], out: int, err: int, variables: Mapping[str, str] = {}
    ) -> Started:
        return subprocess.Popen(
            ["ip", "netns", "exec", self._namespace, Path(sys.executable).parent / command[0],
             *command[1:]],
            cwd=self.folder, env={**self.environment, **variables}, stdout=out, stderr=err,
            start_new_session=True,
        )  # fmt: skip


class Cluster:
    """A Gifster on several nodes.

    Parameters:
      folder: has a folder for each node; they share nothing.
      network: its nodes are named as the processes are.
      services: run on the hub.
      variables: settings, as environment variables.
    """

    def __init__(
        self, folder: Path, network: Network, services: Services, **variables: str
    ) -> None:
        self.folder, self.network, self.services = folder, network, services
        settings = {
            "GIFSTER_DATABASE__URL": services.database_url,
            "GIFSTER_UPLOADS__SECRET": "the same on each node, and long enough",
            # Only to count the mails: all nodes write theirs to one place.
            "GIFSTER_MAIL__URL": f"file:{folder}/var/mail",
            "GIFSTER_WEB__HOST": "0.0.0.0",
            "GIFSTER_WEB__PORT": str(WEB_PORT),
            "GIFSTER_WEB__DRAIN_S": str(DRAIN_S),
            "GIFSTER_WEB__GRACE_S": str(GRACE_S),
            "GIFSTER_WEB__TRUSTED_PROXIES": '["10.0.0.0/8"]',
            "GIFSTER_WORKER__PROCESSES": "1",
            "GIFSTER_WORKER__THREADS": "2",
            **{
                name: value
                for section, bucket in BUCKETS.items()
                for name, value in s3.settings(
                    section, bucket, f"http://{HUB_ADDRESS}:{S3_PORT}"
                ).items()
            },
            **services.limits,
            **variables,
        }
        self.stack = NodeStack(network.hub, folder / "hub", services.broker_url, **settings)
        self.stack.client = self.client()
        self._nodes = {
            name: NodeStack(network.namespace(name), folder / name, services.broker_url, **settings)
            for name in names()
        }
        self.processes = [Process(name.partition("-")[0], name) for name in names()]
        self.blows = 0
        #: The nodes that were cut off, and when (seconds since the epoch).
        self.cuts: list[tuple[str, float]] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive)

    def start(self) -> None:
        """Migrate, start all nodes, and restart those that die."""
        migrated = self.stack.run("gifster", "migrate")
        if migrated.returncode:
            raise RuntimeError(migrated.stderr)
        for process in self.processes:
            self._start(process)
        self._keeper.start()
        for process in self.processes:
            if process.role == "web":
                eventually(lambda name=process.name: self.is_ready(name), within=60)
        eventually(self.stack.answers)
        eventually(lambda: self.workers() == ROLES["worker"], within=60)

    def stop(self) -> None:
        """Stop all nodes."""
        self._over.set()
        with suppress(RuntimeError):
            self._keeper.join()
        end(self.processes)
        self.stack.client.close()

    def client(self) -> httpx.Client:
        """A new client of the proxy, for use in one thread."""
        return httpx.Client(base_url=f"http://{self.network.address}:{CADDY_PORT}", timeout=20)

    def on(self, name: str) -> httpx.Client:
        """A client of the web server of one node, past the proxy. The hub passes it on."""
        number = names().index(name)
        return httpx.Client(
            base_url=f"http://{self.network.address}:{self.services.direct_port(number)}",
            timeout=20,
        )

    def is_ready(self, name: str) -> bool:
        """Whether the web server of a node wants requests."""
        with self.on(name) as client, suppress(httpx.TransportError):
            return client.get("/readyz").status_code == 200
        return False

    def workers(self) -> int:
        """How many workers show a heartbeat."""
        ((count,),) = self.services.query("SELECT COUNT(*) FROM worker")
        return int(count)

    @contextmanager
    def cut_off(self, name: str, *ports: int) -> Iterator[None]:
        """Cut a node off, from these ports of the hub or from everything, until the block ends."""
        if not ports:
            self.cuts.append((name, time.time()))
        self.blows += 1
        self.network.cut(name, *ports)
        try:
            yield
        finally:
            self.network.heal()

    def restart(self, name: str) -> None:
        """Stop a node in order, and start it again, as a deployment does; wait until it works."""
        process = next(each for each in self.processes if each.name == name)
        with self._lock:
            popen = process.popen
            assert popen is not None
            popen.terminate()
            popen.wait(DRAIN_S + GRACE_S + 30)
            self._start(process)
        self.blows += 1
        if process.role == "web":
            eventually(lambda: self.is_ready(name), within=30)
            time.sleep(1)  # the proxy asks it, too

    def log(self, role: str) -> str:
        """The logs of all processes of a role."""
        return "".join(self.log_of(each.name) for each in self.processes if each.role == role)

    def log_of(self, name: str) -> str:
        """The log of one node."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _start(self, process: Process) -> None:
        stack = self._nodes[process.name]
        log = self.folder / f"{process.name}.log"
        process.popen = stack.launch(COMMANDS[process.role], log)

    def _keep_alive(self) -> None:
        while not self._over.wait(0.2):
            with self._lock:
                for process in self.processes:
                    if process.popen is not None and process.popen.poll() is not None:
                        self._start(process)


def names() -> list[str]:
    """The names of the nodes."""
    return [f"{role}-{number}" for role, count in ROLES.items() for number in range(count)]


@contextmanager
def cluster(folder: Path, broker: str, **variables: str) -> Iterator[Cluster]:
    """A running cluster, until the block ends.

    Parameters:
      broker: `valkey` or `rabbitmq`.

    Raises:
      NotHere: this machine lacks something.
    """
    if shutil.which("caddy") is None:
        raise NotHere("caddy is not installed")
    BROKERS[broker].check()
    folder.mkdir(parents=True, exist_ok=True)
    with Network(names()) as network, Services(folder / "services", network, broker) as services:
        made = Cluster(folder / "nodes", network, services, **variables)
        try:
            made.start()
            yield made
        finally:
            made.stop()
