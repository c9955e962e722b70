"""Doing something to a file from a stranger in a process of its own, with limits.

A decoder that hangs, explodes or crashes then costs that process and nothing else, and several
files are worked on at once, which Python's threads would not.

Starting Python takes longer than most pictures do. So each process that asks keeps one server,
which has imported what it needs and forks a child for each piece of work (multiprocessing's fork
server would import the application's main module). The child talks over a socket of its own.
Between it and the server stands another, which waits for it and tells how it ended. When who asked
dies, the server ends.
"""

import atexit
import contextlib
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from gifster.uploads.errors import Unreadable


class Limits(NamedTuple):
    """What one piece of work may take: address space (bytes), CPU and wall-clock time (s)."""

    memory_bytes: int = 2**30
    cpu_s: int = 120
    wall_s: int = 300


LIMITS = Limits()
#: How much the web server and other jobs come first (see nice(2)).
NICE = 10
#: How a process ends that was made to crash.
_CRASHED = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
_LENGTH = struct.Struct("!I")


class _Done(NamedTuple):
    """How a piece of work ended: what it returned or raised, unless a signal ended it."""

    result: Any = None
    error: BaseException | None = None
    signal: int = 0


def run_apart(function: Callable[..., Any], *arguments: Any, limits: Limits = LIMITS) -> Any:
    """Call a function in a process of its own, with limits.

    Parameters:
      function: of a module that imports nothing of an application.
      arguments: what it is called with; like what it returns, they must be picklable.

    Raises:
      Unreadable: it took too much memory or time, or its process crashed.
      RuntimeError: its process was ended from outside, or could not be started.
      whatever the function raises.
    """
    mine, theirs = socket.socketpair()
    with mine:
        with theirs:
            _servers.one().send(pickle.dumps((limits, function, arguments)), theirs)
        with mine.makefile("rb") as answer:
            content = answer.read()
    if not content:
        raise RuntimeError("the process for images was ended from outside")
    done: _Done = pickle.loads(content)  # noqa: S301 our own
    if done.signal in (signal.SIGXCPU, signal.SIGALRM):
        most = limits.cpu_s if done.signal == signal.SIGXCPU else limits.wall_s
        raise Unreadable(f"The image took more than {most} seconds to be decoded.")
    if done.signal in _CRASHED:
        raise Unreadable("The image is damaged: it crashes the decoder.")
    if done.signal:
        raise RuntimeError(f"the process for images was ended by signal {done.signal}")
    if isinstance(done.error, MemoryError):
        raise Unreadable("The image takes too much memory to be decoded.") from done.error
    if done.error is not None:
        raise done.error
    return done.result


class _Server:
    """The process that forks, and the socket on which it is told to."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 ourselves
                [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for who asked
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    @property
    def is_there(self) -> bool:
        """Whether it can be used: it lives, and was not left behind by a fork."""
        return self.pid == os.getpid() and self._process.poll() is None

    def send(self, content: bytes, answer: socket.socket) -> None:
        """Have something done, and the answer written to a socket."""
        with self._lock:
            socket.send_fds(self._socket, [_LENGTH.pack(len(content))], [answer.fileno()])
            self._socket.sendall(content)

    def stop(self) -> None:
        """End it; what it has begun is finished."""
        self._socket.close()
        if self.pid == os.getpid():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)


class _Servers:
    """The server of this process, started when it is first needed, and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Server | None = None
        atexit.register(self._stop)

    def one(self) -> _Server:
        with self._lock:
            if self._running is None or not self._running.is_there:
                self._running = _Server()
            return self._running

    def _stop(self) -> None:
        if self._running is not None:
            self._running.stop()


_servers = _Servers()


def serve(number: int) -> None:
    """The server: forks a child for each request that comes on a socket, until that is closed."""
    from gifster.uploads import imaging  # noqa: F401, PLC0415 so that the children have it

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(fileno=number) as requests:
        while True:
            head, fds, _, _ = socket.recv_fds(requests, _LENGTH.size, 1)
            if not fds:
                return
            content = bytearray()
            (length,) = _LENGTH.unpack(head)
            while len(content) < length:
                piece = requests.recv(length - len(content))
                if not piece:
                    return  # who asked died while asking
                content += piece
            if os.fork() == 0:
                requests.close()
                _attend(bytes(content), fds[0])
            os.close(fds[0])


def _attend(content: bytes, answer: int) -> NoReturn:
    """Do one piece of work in a child, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.close(answer)
        _work(content, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        told = pickle.dumps(_Done(signal=os.WTERMSIG(status)))
    with os.fdopen(answer, "wb") as file, contextlib.suppress(BrokenPipeError):
        file.write(told)
    os._exit(0)


def _work(content: bytes, writing: int) -> NoReturn:
    limits, function, arguments = pickle.loads(content)  # noqa: S301 our own
    os.nice(NICE)
    for limit, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # not every system has each
            hard = most + 5 if limit == resource.RLIMIT_CPU else most  # SIGXCPU, then SIGKILL
            resource.setrlimit(limit, (most, hard))
    signal.alarm(limits.wall_s)
    try:
        done = _Done(function(*arguments))
    except BaseException as error:  # noqa: BLE001 it is raised where it was asked for
        done = _Done(error=error)
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(pickle.dumps(done))
    os._exit(0)
