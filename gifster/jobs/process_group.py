"""A supervisor's processes: one `Child` each, all of them in a `ProcessGroup`.

Each child runs in a session of its own, so that Ctrl-C reaches the supervisor alone, which stops
them in order. A child that ends is started again, a little later each time. One that cannot start
at all ends the supervisor. If the supervisor is killed, the children end, too (`parent.py`).
"""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO

from gifster.jobs.parent import SUPERVISED
from gifster.jobs.printer import SUPERVISOR, Printer, Say
from gifster.jobs.signal_event import SignalEvent

#: How long a child may take to get ready, and all of them to stop (seconds).
START_S = 45.0
STOP_S = 20.0
#: How long to wait for the last lines of a child that has ended: something that it has started in
#: another session may keep its output open (seconds).
LAST_LINES_S = 1.0
#: A child that ends is started again after half a second, then after twice as long each time, up to
#: `MAX_PAUSE_S`. A child that has run for `HEALTHY_S` begins with half a second again.
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0
HEALTHY_S = 60.0


class CannotStart(Exception):
    """A child cannot start; says which."""


class Child:
    """One supervised process.

    Parameters:
      name: the prefix of its lines in the log.
      command: the program and its arguments.
      environment: its environment variables.
      is_ready: whether it does its work; called until it returns True.
      say: prints a line of it.
      last: whether it stops after all others.
    """

    def __init__(  # noqa: PLR0913
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        is_ready: Callable[["Child"], bool],
        say: Say,
        *,
        last: bool = False,
    ) -> None:
        self.name = name
        self.last = last
        self.say = say
        self.command = command
        self.environment = environment
        self.ready = False
        self.output = ""
        self._is_ready = is_ready
        self._process: subprocess.Popen[str] | None = None
        self._copying: threading.Thread | None = None
        self._pause = FIRST_PAUSE_S
        self._started_at = 0.0
        self._start_at = 0.0
        self._to_restart = self._restarting = False
        self._kill_at = 0.0

    def start(self) -> None:
        """Start it, in a session of its own, with its output in our log."""
        self._started_at = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 our own commands
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        copying = threading.Thread(target=self._copy, args=(process.stdout,), daemon=True)
        try:
            copying.start()
        except RuntimeError:
            process.kill()
            process.wait()
            raise OSError(errno.EAGAIN, "there is no thread left for its lines") from None
        self._process, self._copying = process, copying

    def wait_until_ready(self, stopping: SignalEvent) -> None:
        """Wait until it does its work.

        Raises:
          CannotStart: it ended, or took longer than `START_S`.
        """
        while not stopping.is_set() and not self._is_ready(self):
            status = None if self._process is None else self._process.poll()
            if status is not None:
                raise CannotStart(
                    f"{self.name} cannot start ({_describe(status)}): its lines above say why"
                )
            if time.monotonic() - self._started_at > START_S:
                raise CannotStart(
                    f"{self.name} was not ready within {START_S:.0f} s: its lines above may say why"
                )
            stopping.wait(0.05)
        self.ready = True

    def keep_running(self) -> None:
        """Start it again if it has ended and its pause is over. Call it every so often."""
        now = time.monotonic()
        if self._to_restart:
            self._to_restart, self._restarting = False, True
            self._kill_at, self._start_at = now + STOP_S, 0.0
            self.signal(signal.SIGTERM)
        if self._process is None:
            if now >= self._start_at:
                self._note(f"starting {self.name} again")
                self._start_again()
            return
        status = self._process.poll()
        if status is None:
            if self._restarting and now >= self._kill_at:
                self._kill()
        elif self._restarting:
            self._pause = FIRST_PAUSE_S
            self._start_again()
        else:
            if now - self._started_at > HEALTHY_S:
                self._pause = FIRST_PAUSE_S
            self._put_off(f"{self.name} ended ({_describe(status)})")

    def _start_again(self) -> None:
        self._restarting = False
        try:
            self.start()
        except OSError as error:  # the machine has no memory or no process left
            self._put_off(f"{self.name} cannot be started ({error})")

    def _put_off(self, why: str) -> None:
        self._note(f"{why}; again in {self._pause:g} s")
        self._process = None
        self._start_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, MAX_PAUSE_S)

    def restart(self) -> None:
        """Have `keep_running()` stop it in order, within `STOP_S`, and start it again at once. Any
        thread may call this."""
        self._to_restart = True

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        process = self._process  # another thread may take it away meanwhile
        if process is not None and process.poll() is None:
            process.send_signal(number)

    def wait(self, deadline: float) -> None:
        """Wait until it ends; at the deadline (monotonic seconds) kill it and all it started."""
        if self._process is None:
            return
        if self._process.returncode is None:  # else somebody else may have its number
            try:
                self._process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._note(f"{self.name} does not stop: killing it")
            self._kill()
            self._process.wait()
        if self._copying is not None:
            self._copying.join(LAST_LINES_S)

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _copy(self, stream: IO[str] | None) -> None:
        for line in stream or ():
            if not self.ready:
                self.output += line
            self.say(line.rstrip(), self.name)

    def _note(self, line: str) -> None:
        self.say(line, SUPERVISOR)


class ProcessGroup:
    """The children, in the order of their start.

    Parameters:
      environment: the environment variables of all children.
      say: prints a line of a child, or of the supervisor, whose name is `SUPERVISOR`.
      stop_s: how long all children may take to stop before they are killed (seconds).
    """

    def __init__(self, environment: Mapping[str, str], say: Say, stop_s: float = STOP_S) -> None:
        self.environment = {**environment, SUPERVISED: str(os.getpid())}
        self.children: list[Child] = []
        self.stopping = SignalEvent()
        self._killed = False
        self._printer, self._stop_s = Printer(say), stop_s

    def note(self, line: str) -> None:
        """Print a line of the supervisor."""
        self._printer.say(line, SUPERVISOR)

    def ask_to_stop(self, number: int, frame: object) -> None:
        """Handle a signal: the first stops the children in order, the second kills them. It prints
        nothing, since it may have interrupted somebody who prints."""
        if self.stopping.is_set():
            self._killed = True
            for child in list(self.children):
                child.signal(signal.SIGKILL)
        self.stopping.set()

    def start(
        self,
        name: str,
        command: list[str],
        is_ready: Callable[[Child], bool],
        *,
        last: bool = False,
    ) -> Child:
        """Start a child, `python -m COMMAND`. Others may still be getting ready.

        Parameters:
          last: whether it stops after all others.
        """
        command = [sys.executable, "-m", *command]
        child = Child(name, command, self.environment, is_ready, self._printer.say, last=last)
        self.children.append(child)
        child.start()
        return child

    def wait_until_ready(self) -> bool:
        """Wait for all children that were started; False after a signal to stop.

        Raises:
          CannotStart: one of them ended, or is not ready in time.
        """
        for child in self.children:
            child.wait_until_ready(self.stopping)
        return not self.stopping.is_set()

    def keep_running(self) -> None:
        """Start children again that end, until a signal asks us to stop."""
        while not self.stopping.wait(0.2):
            for child in self.children:
                child.keep_running()

    def stop(self) -> None:
        """Stop all children. Those that were started with `last` stop after the others."""
        self._printer.stop_waiting()
        self.note("stopping")
        deadline = time.monotonic() + self._stop_s
        for last in (False, True):
            together = [child for child in self.children if child.last is last]
            for child in together:
                child.signal(signal.SIGTERM)
            for child in together:
                child.wait(deadline)
        self.note("killed everything" if self._killed else "stopped")
        self._printer.finish()


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    names = {number.value: number.name for number in signal.Signals}  # most of real time have none
    return f"signal {names.get(-status, -status)}"
