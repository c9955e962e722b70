"""The supervisor behind `gifster dev`: runs everything on this machine from one terminal.

It starts Valkey (where no broker is set), web, workers and scheduler, each as a child in a session
of its own, so that Ctrl-C reaches the supervisor alone and the stop goes in order. A child that
ends is started again, a little later each time; one that cannot start at all ends the whole. When
it is to watch, those that run our code are started anew whenever that changes, or the settings.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import dramatiq
import watchfiles

import gifster
from gifster import jobs
from gifster.app import database
from gifster.app.boot import boot
from gifster.app.logs import escaped
from gifster.app.settings import PREFIX, PROFILE, SUPERVISED, Settings, load
from gifster.app.valkey import choose_url
from gifster.jobs.parent import end_with_parent

LOCK = Path("var/dev.lock")
#: How long a child may take to get ready, and all of them to stop (seconds).
START_S = 45.0
STOP_S = 20.0
#: A child is started again after half a second, then twice as long each time, at most so long;
#: one that has lived for a minute starts from the beginning.
MAX_PAUSE_S = 30.0
HEALTHY_S = 60.0
COLORS = {"gifster": 35, "valkey": 33, "web": 36, "worker": 32, "scheduler": 34}


class SupervisorError(Exception):
    """Why `gifster dev` cannot run; says what to do."""


class Child:
    """One supervised process.

    Parameters:
      name: what its lines in the log are prefixed with.
      command: what to run.
      is_ready: whether it does its work; asked until it says yes.
    """

    def __init__(self, name: str, command: list[str], is_ready: Callable[["Child"], bool]) -> None:
        self.name = name
        self.command = command
        self.ready = False
        self.output = ""
        self._is_ready = is_ready
        self._process: subprocess.Popen[str] | None = None
        self._pause = 0.5
        self._started_at = 0.0
        self._start_at = 0.0
        self._anew = False

    def start(self) -> None:
        """Start it, in a session of its own, with its output in our log."""
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 our own commands
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._copy, args=(self._process.stdout,), daemon=True).start()

    def wait_until_ready(self, stopping: threading.Event) -> None:
        """Raises `SupervisorError` if it ends, or takes longer than `START_S`."""
        while not stopping.is_set() and not self._is_ready(self):
            status = None if self._process is None else self._process.poll()
            if status is not None:
                raise SupervisorError(
                    f"{self.name} cannot start ({_describe(status)}): its lines above say why"
                )
            if time.monotonic() - self._started_at > START_S:
                raise SupervisorError(f"{self.name} was not ready within {START_S:.0f} s")
            stopping.wait(0.05)
        self.ready = True

    def look_after(self) -> None:
        """Start it again if it has ended and its pause is over."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._start_at:
                say(f"starting {self.name} again")
                self.start()
            return
        status = self._process.poll()
        if status is not None and self._anew:
            self._anew, self._pause = False, 0.5
            self.start()
        elif status is not None:
            if now - self._started_at > HEALTHY_S:
                self._pause = 0.5
            say(f"{self.name} ended ({_describe(status)}); again in {self._pause:g} s")
            self._process = None
            self._start_at = now + self._pause
            self._pause = min(self._pause * 2, MAX_PAUSE_S)

    def start_anew(self) -> None:
        """Have it stop in order, and start again as soon as it has."""
        self._anew, self._start_at = True, 0.0
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, deadline: float) -> None:
        """Wait for its end; at the deadline (monotonic seconds) kill it and all it started."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            say(f"{self.name} does not stop: killing it")
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _copy(self, stream: IO[str] | None) -> None:
        for line in stream or ():
            if not self.ready:
                self.output += line
            say(escaped(line.rstrip()), self.name)


def run(port: int | None, *, watch: bool = False) -> None:
    """Run everything until SIGINT or SIGTERM.

    Parameters:
      port: of the web server; None for the one of the settings.
      watch: whether web, worker and scheduler are started anew when the code changes.

    Raises:
      SupervisorError: it is running already, the port is taken, or a child cannot start.
      SettingsError: the settings are wrong.
    """
    os.environ.setdefault(PROFILE, "development")
    os.environ["PYTHONUNBUFFERED"] = "1"
    if port is not None:
        os.environ[f"{PREFIX}WEB__PORT"] = str(port)
    settings = load()
    os.environ[SUPERVISED] = str(os.getpid())
    if os.environ.get("MAKELEVEL"):
        end_with_parent(grace_s=STOP_S + 5)
    with _only_one():
        _check_port(settings.web.host, settings.web.port)
        family = Family()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, family.ask_to_stop)
        try:
            _start(family, settings)
            if watch:
                family.watch()
            family.look_after()
        finally:
            family.stop()


class Family:
    """All the children, in the order of their start."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._stopping = threading.Event()

    def ask_to_stop(self, number: int, frame: object) -> None:
        """The signal handler: at the first signal stop in order, at the second at once."""
        if self._stopping.is_set():
            say("killing everything")
            for child in self._children:
                child.signal(signal.SIGKILL)
        self._stopping.set()

    def start(self, name: str, command: list[str], is_ready: Callable[[Child], bool]) -> None:
        """Start a child, beside those that are still getting ready."""
        self._children.append(Child(name, [sys.executable, "-m", *command], is_ready))
        self._children[-1].start()

    def wait_until_ready(self) -> bool:
        """Wait for all that have been started; False if we were asked to stop meanwhile."""
        for child in self._children:
            child.wait_until_ready(self._stopping)
        return not self._stopping.is_set()

    def watch(self) -> None:
        """From now on, start anew whatever runs our code when that changes: the package, and Python
        files and the settings in this folder."""
        for folder, below in ((Path(gifster.__file__).parent, True), (Path.cwd(), False)):
            threading.Thread(target=self._watch, args=(folder, below), daemon=True).start()

    def _watch(self, folder: Path, below: bool) -> None:
        try:
            for changes in watchfiles.watch(
                folder,
                watch_filter=_is_code,
                recursive=below,
                stop_event=self._stopping,
                raise_interrupt=False,
            ):
                names = sorted({os.path.relpath(path) for _, path in changes})
                children = [child for child in self._children if child.name != "valkey"]
                say(f"changed: {', '.join(names[:3])}; starting anew: web, worker, scheduler")
                for child in children:
                    child.start_anew()
        except OSError as error:
            say(f"{folder} cannot be watched, changes need a restart by hand: {error}")

    def look_after(self) -> None:
        """Start again what ends, until we are asked to stop."""
        while not self._stopping.wait(0.2):
            for child in self._children:
                child.look_after()

    def stop(self) -> None:
        """Stop all, the broker last: a worker hands its jobs back to it."""
        say("stopping")
        deadline = time.monotonic() + STOP_S
        broker = [child for child in self._children if child.name == "valkey"]
        for together in ([c for c in self._children if c not in broker], broker):
            for child in together:
                child.signal(signal.SIGTERM)
            for child in together:
                child.wait(deadline)
        say("stopped")


def _start(family: Family, settings: Settings) -> None:
    embedded = not settings.broker.url
    if embedded:
        choose_url()
    broker = boot(settings)
    if embedded:
        family.start("valkey", ["gifster.app.valkey", str(os.getpid())], lambda _: _pongs(broker))
        family.wait_until_ready()
    broker.close()
    _migrate()
    address = f"http://{settings.web.host}:{settings.web.port}"
    family.start("web", ["gifster", "web"], lambda _: _answers(address))
    family.start("worker", ["gifster", "worker"], lambda c: "ready for action" in c.output)
    family.start("scheduler", ["gifster", "scheduler"], lambda c: "is ready" in c.output)
    if family.wait_until_ready():
        say(f"Gifster is ready: {address} (Ctrl-C stops it)")


def _is_code(change: watchfiles.Change, path: str) -> bool:
    return path.endswith((".py", f"{os.sep}settings.toml"))


def _migrate() -> None:
    try:
        for name in database.migrate():
            say(f"migrated: {name}")
    except database.DatabaseUnavailable as error:
        raise SupervisorError(str(error)) from None


@contextmanager
def _only_one() -> Iterator[None]:
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise SupervisorError(
                f"gifster dev is running in this folder already (process {lock.read().strip()}): "
                "stop that one first, or use another folder"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SupervisorError(
                f"port {port} cannot be used ({error.strerror}): "
                f"choose another one, make dev PORT={port + 1}"
            ) from None


def _pongs(broker: dramatiq.Broker) -> bool:
    try:
        jobs.ping(broker)
    except jobs.BrokerUnavailable:
        return False
    return True


def _answers(address: str) -> bool:
    host, _, port = address.removeprefix("http://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1) as connection:
            connection.sendall(f"GET /readyz HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"


def say(line: str, name: str = "gifster") -> None:
    """Print a line with the name of who says it."""
    prefix = f"{name:<9} |"
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        prefix = f"\x1b[{COLORS.get(name, 37)}m{prefix}\x1b[0m"
    with suppress(BrokenPipeError):
        print(f"{prefix} {line}", flush=True)
