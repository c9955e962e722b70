"""One Gifster under attack: its processes, and the broker, database and storages that scenarios
take away. Killed processes restart, as under a supervisor."""

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import redis

from gifster.app.valkey import _executable
from tests.machine import eventually, free_port, signal_group
from tests.stack import Stack, Started

COMMANDS = {
    "web": ["gifster", "web"],
    "worker": ["gifster", "worker"],
    "scheduler": ["gifster", "scheduler"],
}


@dataclass
class Process:
    """A role, the process that currently has it, and the times at which it was killed; and
    variables of its own."""

    role: str
    name: str
    variables: dict[str, str] = field(default_factory=dict)
    popen: Started | None = None
    killed_at: list[tuple[int, float]] = field(default_factory=list)


def end(processes: list[Process]) -> None:
    """Ask processes to stop, and kill those of their groups that are left after 15 seconds each."""
    started = [process.popen for process in processes if process.popen is not None]
    for popen in started:
        popen.terminate()
    for popen in started:
        with suppress(subprocess.TimeoutExpired):
            popen.wait(15)
        signal_group(popen, signal.SIGKILL)


class Site:
    """A Gifster in its own folder.

    Parameters:
      folder: its working folder.
      roles: how many processes of each role.
      own: variables of single processes, such as `worker-1`.
      variables: settings, as environment variables.
    """

    def __init__(
        self,
        folder: Path,
        roles: dict[str, int],
        own: dict[str, dict[str, str]] | None = None,
        **variables: str,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.valkey_port = free_port()
        self.valkey: subprocess.Popen[bytes] | None = None
        self.start_valkey()
        self.stack = Stack(
            folder,
            f"redis://127.0.0.1:{self.valkey_port}/0",
            GIFSTER_WORKER__PROCESSES="1",
            GIFSTER_WORKER__THREADS="2",
            **variables,
        )
        self.processes = [
            Process(role, f"{role}-{number}", (own or {}).get(f"{role}-{number}", {}))
            for role, count in roles.items()
            for number in range(count)
        ]
        #: How often a scenario has done something to it.
        self.blows = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive)

    # Starting and stopping.

    def start(self) -> None:
        """Migrate, start all processes, and restart those that die."""
        migrated = self.stack.run("gifster", "migrate")
        if migrated.returncode:
            raise RuntimeError(migrated.stderr)
        for process in self.processes:
            self._start(process)
        self._keeper.start()
        eventually(self.stack.answers)

    def add(self, roles: dict[str, int]) -> None:
        """Start more processes, and restart these, too."""
        more = [
            Process(role, f"{role}-{number}")
            for role, count in roles.items()
            for number in range(count)
        ]
        with self._lock:
            self.processes += more
            for process in more:
                self._start(process)

    def stop(self) -> None:
        """Stop everything."""
        self._over.set()
        with suppress(RuntimeError):
            self._keeper.join()
        end(self.processes)
        self.kill_valkey()
        self.stack.client.close()

    def _start(self, process: Process) -> None:
        log = self.folder / f"{process.name}.log"
        process.popen = self.stack.launch(COMMANDS[process.role], log, **process.variables)

    def _keep_alive(self) -> None:
        while not self._over.wait(0.2):
            with self._lock:
                for process in self.processes:
                    if process.popen is not None and process.popen.poll() is not None:
                        self._start(process)

    # For scenarios.

    def kill(self, role: str, choose: Callable[[list[Process]], Process]) -> None:
        """Kill one process of a role, with its children, with -9. It restarts."""
        with self._lock:
            alive = [p for p in self.processes if p.role == role and p.popen is not None]
            process = choose(alive)
            if process.popen is None or process.popen.poll() is not None:
                return
            process.killed_at.append((process.popen.pid, time.time()))
            signal_group(process.popen, signal.SIGKILL)

    def start_valkey(self, *, empty: bool = False) -> None:
        """Start the broker with its data, or empty."""
        data = self.folder / "valkey"
        if empty:
            shutil.rmtree(data, ignore_errors=True)
        data.mkdir(exist_ok=True)
        self.valkey = subprocess.Popen(
            [str(_executable()), "--port", str(self.valkey_port), "--bind", "127.0.0.1",
             "--dir", str(data), "--appendonly", "yes", "--save", "", "--daemonize", "no"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        eventually(self._valkey_answers)

    def _valkey_answers(self) -> bool:
        try:
            return bool(redis.Redis(port=self.valkey_port).ping())
        except redis.RedisError:
            return False

    def kill_valkey(self) -> None:
        """Kill the broker with -9."""
        if self.valkey is not None:
            self.valkey.kill()
            self.valkey.wait()
            self.valkey = None

    def log(self, role: str) -> str:
        """The logs of all processes of a role."""
        return "".join(
            path.read_text(errors="replace") for path in sorted(self.folder.glob(f"{role}-*.log"))
        )

    def client(self) -> httpx.Client:
        """A new client, for use in one thread."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.stack.port}", timeout=20)
