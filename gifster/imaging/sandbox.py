"""Doing something to a file from a stranger in a process of its own, with limits.

A decoder that hangs, explodes or crashes then costs that process and nothing else, and several
files are worked on at once, which Python's threads would not.

Starting Python takes longer than most pictures do. So each process that asks keeps one server
(`sandbox_server.py`), which has imported what it needs and forks for each piece of work
(multiprocessing's fork server would import the application's main module). The server is told the
work over one socket, and the work has a socket of its own for its answers. Whoever asks waits with
a limit, whichever of these processes stands still.
"""

import atexit
import contextlib
import errno
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

from gifster.imaging.errors import Unreadable
from gifster.imaging.sandbox_messages import LENGTH, Begun, Done, Inbox, Item, Limits, Patience
from gifster.imaging.sandbox_server import end_group

__all__ = ["LIMITS", "Limits", "OutOfTime", "ProcessLost", "run_apart"]

LIMITS = Limits()
#: How long the server may take to begin; a new one has Python to start before (seconds).
START_S = 20.0
#: How much longer than the work's own time its answer is waited for (seconds).
GRACE_S = 5.0
#: How a process ends that was made to crash.
_CRASHED = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}


class OutOfTime(Unreadable):
    """It took more time than it may."""


class ProcessLost(RuntimeError):
    """The process was ended from outside, was stopped, or could not be started. It is no fault of
    the file."""


def run_apart(
    function: Callable[..., Any], *arguments: Any, limits: Limits = LIMITS
) -> Generator[Any, None, Any]:
    """Call a function in a process of its own, with limits. To be used with `yield from`.

    The answer comes within `limits.wall_s` seconds and a little (`START_S`, `GRACE_S`), in which
    the caller waits. The time between two waits is the caller's own.

    Parameters:
      function: of a module that imports nothing of an application. It may be a generator.
      arguments: what it is called with; like what it yields and returns, they must be picklable.

    Returns:
      a generator that yields, as soon as it is there, what the function yields, and returns what it
      returns. Closing it ends the process.

    Raises:
      Unreadable: it took too much memory or time, or its process crashed.
      ProcessLost: its process was ended from outside, was stopped, or could not be started.
      whatever the function raises.
    """
    done = yield from _answers(pickle.dumps((limits, function, arguments)), limits)
    if done.out_of_time and done.stopped:
        raise ProcessLost("the process for images was stopped until its time was over")
    if done.out_of_time or done.signal == signal.SIGXCPU:
        most = limits.wall_s if done.out_of_time else limits.cpu_s
        raise OutOfTime(f"The image took more than {most} seconds to be decoded.")
    if done.signal in _CRASHED:
        raise Unreadable("The image is damaged: it crashes the decoder.")
    if done.signal:
        raise ProcessLost(f"the process for images was ended by signal {done.signal}")
    if isinstance(done.error, MemoryError):
        raise Unreadable("The image takes too much memory to be decoded.") from done.error
    if isinstance(done.error, OSError) and done.error.errno == errno.EFBIG:
        raise Unreadable("The image takes too much space to be decoded.") from done.error
    if done.error is not None:
        raise done.error
    return done.result


def _answers(request: bytes, limits: Limits) -> Generator[Any, None, Done]:
    """Yield what the work has ready, and return how it ended; leave no process of it behind."""
    mine, theirs = socket.socketpair()
    with mine:
        with theirs:
            try:
                server = _servers.one()
                server.send(request, theirs)
            except OSError as error:
                raise ProcessLost(f"no process for images could be started: {error}") from error
        inbox, group = Inbox(mine.fileno()), 0
        patience = Patience(START_S)
        try:
            while not inbox.ended:
                message = inbox.take(patience)
                told = pickle.loads(message) if message is not None else None  # noqa: S301 our own
                if isinstance(told, Begun):
                    if not group:  # it is told twice, by server and attendant
                        group, patience = told.group, Patience(limits.wall_s + GRACE_S)
                elif isinstance(told, Item):
                    yield told.content
                elif isinstance(told, Done):
                    group = 0
                    return told
                elif patience.is_over:
                    if not group:
                        server.kill()
                    raise ProcessLost("the process for images stands still")
            raise ProcessLost("the process for images was ended from outside")
        finally:
            if group:
                end_group(group)


class _Server:
    """The process that forks, and the socket on which it is told to."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(START_S)  # a server that is stopped reads nothing
        path = os.pathsep.join(path or os.getcwd() for path in sys.path)
        code = f"from {__name__}_server import serve; serve({theirs.fileno()})"
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 ourselves
                [sys.executable, "-P", "-c", code],  # -P: only what we have, too
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for whoever asked
                env=os.environ | {"PYTHONPATH": path},
            )

    @property
    def is_there(self) -> bool:
        """Whether it can be used: it lives, and was not left behind by a fork."""
        return self.pid == os.getpid() and self._process.poll() is None

    def send(self, content: bytes, answer: socket.socket) -> None:
        """Have something done, and the answer written to a socket.

        Raises:
          OSError: the server cannot be told. It is ended, as it may have read one half.
        """
        try:
            with self._lock:
                socket.send_fds(self._socket, [LENGTH.pack(len(content))], [answer.fileno()])
                self._socket.sendall(content)
        except OSError:
            self.kill()
            raise

    def stop(self) -> None:
        """End it, and what it has begun."""
        self._socket.close()
        if self.pid == os.getpid():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self.kill()

    def kill(self) -> None:
        """End it at once, also if it is stopped. What it has begun goes on."""
        if self.pid == os.getpid() and self._process.poll() is None:
            end_group(self._process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)


class _Servers:
    """The server of this process, started when it is first needed, and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Server | None = None
        atexit.register(self._stop)

    def one(self) -> _Server:
        """The server; a new one if there is none that lives."""
        with self._lock:
            if self._running is None or not self._running.is_there:
                self._running = _Server()
            return self._running

    def _stop(self) -> None:
        if self._running is not None:
            self._running.stop()


_servers = _Servers()
