"""The processes that `gifster dev` starts: one `Child` each, all of them in a `ProcessGroup`.

Each child runs in a session of its own, so that Ctrl-C reaches the supervisor alone, which stops
them in order. A child that ends is started again, a little later each time. One that cannot start
at all ends the supervisor.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import watchfiles

import gifster
from gifster.app.logs import escaped
from gifster.cli.root import Refused

#: How long a child may take to get ready, and all of them to stop (seconds).
START_S = 45.0
STOP_S = 20.0
#: A child that ends is started again after half a second, then after twice as long each time, up to
#: `MAX_PAUSE_S`. A child that has run for `HEALTHY_S` begins with half a second again.
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0
HEALTHY_S = 60.0
COLORS = {"gifster": 35, "valkey": 33, "web": 36, "worker": 32, "scheduler": 34}


class Child:
    """One supervised process.

    Parameters:
      name: the prefix of its lines in the log.
      command: the program and its arguments.
      environment: its environment variables.
      is_ready: whether it does its work; called until it returns True.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        is_ready: Callable[["Child"], bool],
    ) -> None:
        self.name = name
        self.command = command
        self.environment = environment
        self.ready = False
        self.output = ""
        self._is_ready = is_ready
        self._process: subprocess.Popen[str] | None = None
        self._pause = FIRST_PAUSE_S
        self._started_at = 0.0
        self._start_at = 0.0
        self._restarting = False

    def start(self) -> None:
        """Start it, in a session of its own, with its output in our log."""
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 our own commands
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._copy, args=(self._process.stdout,), daemon=True).start()

    def wait_until_ready(self, stopping: threading.Event) -> None:
        """Wait until it does its work.

        Raises:
          Refused: it ended, or took longer than `START_S`.
        """
        while not stopping.is_set() and not self._is_ready(self):
            status = None if self._process is None else self._process.poll()
            if status is not None:
                raise Refused(
                    f"{self.name} cannot start ({_describe(status)}): its lines above say why"
                )
            if time.monotonic() - self._started_at > START_S:
                raise Refused(
                    f"{self.name} was not ready within {START_S:.0f} s: its lines above may say why"
                )
            stopping.wait(0.05)
        self.ready = True

    def keep_running(self) -> None:
        """Start it again if it has ended and its pause is over. Call it every so often."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._start_at:
                say(f"starting {self.name} again")
                self.start()
            return
        status = self._process.poll()
        if status is not None and self._restarting:
            self._restarting, self._pause = False, FIRST_PAUSE_S
            self.start()
        elif status is not None:
            if now - self._started_at > HEALTHY_S:
                self._pause = FIRST_PAUSE_S
            say(f"{self.name} ended ({_describe(status)}); again in {self._pause:g} s")
            self._process = None
            self._start_at = now + self._pause
            self._pause = min(self._pause * 2, MAX_PAUSE_S)

    def restart(self) -> None:
        """Have it stop in order; `keep_running()` starts it again at once."""
        self._restarting, self._start_at = True, 0.0
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, deadline: float) -> None:
        """Wait until it ends; at the deadline (monotonic seconds) kill it and all it started."""
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


class ProcessGroup:
    """The children, in the order of their start.

    Parameters:
      environment: the environment variables of all children.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._children: list[Child] = []
        self._stopping = threading.Event()

    def ask_to_stop(self, number: int, frame: object) -> None:
        """Handle a signal: the first stops the children in order, the second kills them."""
        if self._stopping.is_set():
            say("killing everything")
            for child in self._children:
                child.signal(signal.SIGKILL)
        self._stopping.set()

    def start(self, name: str, command: list[str], is_ready: Callable[[Child], bool]) -> None:
        """Start a child. Others may still be getting ready."""
        child = Child(name, [sys.executable, "-m", *command], self._environment, is_ready)
        self._children.append(child)
        child.start()

    def wait_until_ready(self) -> bool:
        """Wait for all children that were started; False after a signal to stop."""
        for child in self._children:
            child.wait_until_ready(self._stopping)
        return not self._stopping.is_set()

    def watch(self) -> None:
        """From now on, restart web, worker and scheduler when their code changes: the package, and
        the Python files and the settings in this folder."""
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
                say(f"changed: {', '.join(names[:3])}; restarting web, worker, scheduler")
                if any(Path(name).parent.name == "migrations" for name in names):
                    say("a migration has changed: once it is finished, run gifster migrate")
                for child in children:
                    child.restart()
        except OSError as error:
            say(f"{folder} cannot be watched ({error}): after a change, restart gifster dev")

    def keep_running(self) -> None:
        """Start children again that end, until a signal asks us to stop."""
        while not self._stopping.wait(0.2):
            for child in self._children:
                child.keep_running()

    def stop(self) -> None:
        """Stop all children, the broker last: workers hand their jobs back to it."""
        say("stopping")
        deadline = time.monotonic() + STOP_S
        broker = [child for child in self._children if child.name == "valkey"]
        for together in ([c for c in self._children if c not in broker], broker):
            for child in together:
                child.signal(signal.SIGTERM)
            for child in together:
                child.wait(deadline)
        say("stopped")


def _is_code(change: watchfiles.Change, path: str) -> bool:
    return path.endswith((".py", f"{os.sep}settings.toml"))


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"


def say(line: str, name: str = "gifster") -> None:
    """Print a line with the name of its process."""
    prefix = f"{name:<9} |"
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        prefix = f"\x1b[{COLORS.get(name, 37)}m{prefix}\x1b[0m"
    with suppress(BrokenPipeError):
        print(f"{prefix} {line}", flush=True)
