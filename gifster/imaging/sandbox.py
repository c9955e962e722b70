"""Call a function in a process of its own, with limits: the sandbox for files from strangers.

A decoder that hangs, crashes or takes too much memory then costs only its own process. Several
files are worked on at the same time, too, which Python's threads cannot do.

Starting Python takes longer than most images. So each process that uses the sandbox keeps one
server (`sandbox_server`), which has everything imported and forks for each call. (multiprocessing's
fork server would import the application's main module.) The server gets the calls over one socket.
Each call has a pipe, over which its process answers, and a socket, over which the server tells how
that process ended (`sandbox_messages`). The caller's waits have timeouts, whichever of these
processes is stopped or hangs.
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
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

from gifster.imaging.errors import Unreadable
from gifster.imaging.renamed import aliases
from gifster.imaging.sandbox_messages import (
    LENGTH_PREFIX,
    Ended,
    Finished,
    Inbox,
    Limits,
    Started,
    Timeout,
    Yielded,
)
from gifster.imaging.sandbox_server import kill_group

__all__ = ["LIMITS", "Limits", "OutOfTime", "ProcessLost", "call_sandboxed", "run_sandboxed"]

T = TypeVar("T")

LIMITS = Limits()
#: How long the server may take to start a call; a new server has to start Python first (seconds).
START_S = 20.0
#: How long the server may take to tell how a process ended (seconds).
GRACE_S = 5.0
#: The signals of a crash.
_CRASHED = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}


class OutOfTime(Unreadable):
    """The call took longer than its limits allow."""


class ProcessLost(RuntimeError):
    """The process was killed from outside, was stopped (SIGSTOP), or could not be started.

    It is not the fault of the file.
    """


def run_sandboxed(
    function: Callable[..., Any], *arguments: Any, limits: Limits = LIMITS
) -> Generator[Any, None, Any]:
    """Call a function in a process of its own, with limits. Use it with `yield from`.

    The call ends within `limits.wall_s` seconds of waiting, plus `START_S` and `GRACE_S`. Time that
    the caller spends between two items does not count.

    Parameters:
      function: a function or generator function of a module that imports no application. Relative
        paths mean the same as here.
      arguments: its arguments. They must be picklable, like the values that it yields and returns.
      limits: what the process may use.

    Returns:
      a generator that yields each value that the function yields, as soon as it does, and returns
      the value that the function returns. Closing it kills the process.

    Raises:
      Unreadable: the call took too much memory, disk space or time, or the process crashed.
      ProcessLost: the process was killed from outside, was stopped, or could not be started.
      any error that the function raises.
    """
    request = pickle.dumps((limits, function, arguments, _working_folder()))
    finished = yield from _exchange(request, limits)
    if isinstance(finished.error, MemoryError):
        raise Unreadable("Decoding the image takes too much memory.") from finished.error
    if isinstance(finished.error, OSError) and finished.error.errno == errno.EFBIG:
        raise Unreadable("Decoding the image takes too much disk space.") from finished.error
    if finished.error is not None:
        raise finished.error
    return finished.result


def call_sandboxed(function: Callable[..., T], *arguments: Any, limits: Limits | None = None) -> T:
    """What a function returns that is called in a process of its own, with limits.

    Parameters:
      function: a function of a module that imports no application, and no generator function.
      arguments: its arguments. They must be picklable, like what it returns.
      limits: what the process may use; by default `LIMITS`.

    Raises:
      Unreadable, ProcessLost, any error of the function: as `run_sandboxed()` does.
    """
    running = run_sandboxed(function, *arguments, limits=limits or LIMITS)
    try:
        while True:
            next(running)
    except StopIteration as end:
        result: T = end.value
        return result


def _working_folder() -> str | None:
    """The working folder, which may have changed since the server started; None if it is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _exchange(request: bytes, limits: Limits) -> Generator[Any, None, Finished]:
    """Yield the values of a call, and return how its function ended. No process of it is left
    behind: the server kills it when its status is closed.

    Raises:
      Unreadable, ProcessLost: it did not end.
    """
    with _sent(request) as (server, answers, status):
        group, timeout = 0, Timeout(START_S)
        try:
            while not answers.ended and not timeout.is_over:
                message = answers.receive(timeout)
                answer = pickle.loads(message) if message is not None else None  # noqa: S301 our own
                if isinstance(answer, Started):
                    group, timeout = answer.group, Timeout(limits.wall_s)
                elif isinstance(answer, Yielded):
                    yield answer.value
                elif isinstance(answer, Finished):
                    group = 0  # it is about to exit
                    return answer
            if not group and not answers.ended:
                group = _group(status)
                if not group:
                    server.kill()
                raise ProcessLost(f"no image process started within {timeout.seconds:g} seconds")
            if not answers.ended:
                kill_group(group)
            ended = _end(status, Timeout(GRACE_S))
            if ended is not None:
                group = 0
            raise _error(ended, limits, out_of_time=not answers.ended)
        finally:
            # Once it has ended, somebody else may have its number.
            if group and _end(status, Timeout(0)) is None:
                kill_group(group)


@contextlib.contextmanager
def _sent(request: bytes) -> Iterator[tuple["_Server", Inbox, Inbox]]:
    """Send a call to the server: a `with` block with the server, the answers of the call's process,
    and what the server tells of that.

    Raises:
      ProcessLost: the server does not accept it.
    """
    with contextlib.ExitStack() as mine, contextlib.ExitStack() as theirs:
        try:
            reading, writing = os.pipe()
            mine.callback(os.close, reading)
            theirs.callback(os.close, writing)
            status, telling = socket.socketpair()
            mine.enter_context(status)
            theirs.enter_context(telling)
            server = _current.server()
            server.send(request, writing, telling.fileno())
        except OSError as error:
            raise ProcessLost(f"no image process could be started: {error}") from error
        theirs.close()
        yield server, Inbox(reading), Inbox(status.fileno())


def _group(status: Inbox) -> int:
    """The process group of a call whose process has not said anything; 0 if the server has not
    forked it."""
    message = status.receive(Timeout(0))
    return pickle.loads(message).group if message is not None else 0  # noqa: S301 our own


def _end(status: Inbox, timeout: Timeout) -> Ended | None:
    """How the server says that a process ended; None if it does not say it in time."""
    while not status.ended:
        message = status.receive(timeout)
        told = pickle.loads(message) if message is not None else None  # noqa: S301 our own
        if isinstance(told, Ended):
            return told
        if message is None and timeout.is_over:
            break
    return None


def _error(ended: Ended | None, limits: Limits, *, out_of_time: bool) -> Exception:
    """What is to be raised for a call whose process ended without an answer.

    Parameters:
      out_of_time: whether it was killed because its time was over.
    """
    if ended is None:
        return ProcessLost("the image process or its server was killed from outside, or stopped")
    if out_of_time and ended.was_stopped:
        return ProcessLost("the image process was stopped (SIGSTOP) until its time was over")
    if out_of_time or ended.signal == signal.SIGXCPU:
        seconds = limits.wall_s if out_of_time else limits.cpu_s
        return OutOfTime(f"Decoding the image took more than {seconds} seconds.")
    if ended.signal in _CRASHED:
        return Unreadable("The image is damaged: it crashes the decoder.")
    return ProcessLost(f"the image process was killed by signal {ended.signal}")


def _start_server(number: int) -> "subprocess.Popen[bytes]":
    """Start Python with the server, which gets its calls over the socket of this number."""
    path = os.pathsep.join(path or os.getcwd() for path in sys.path)
    code = f"from {__name__}_server import serve; serve({number})"
    return subprocess.Popen(  # noqa: S603 ourselves
        [sys.executable, "-P", "-c", code],  # -P: no module from the working directory
        pass_fds=[number],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C is for this process
        env=os.environ | {"PYTHONPATH": path},
    )


class _Server:
    """A server process, and the socket over which it gets its calls."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(START_S)  # a stopped server reads nothing
        with theirs:
            self._process = _start_server(theirs.fileno())

    @property
    def is_usable(self) -> bool:
        """Whether it runs, and was started by this process rather than before a fork."""
        return self.pid == os.getpid() and self._process.poll() is None

    def send(self, content: bytes, answers: int, status: int) -> None:
        """Send a call, and the descriptors for its answers and its status.

        Raises:
          OSError: the server does not accept it. The server is killed then, as it may have read
            half of the call.
        """
        try:
            with self._lock:
                head = LENGTH_PREFIX.pack(len(content))
                socket.send_fds(self._socket, [head], [answers, status])
                self._socket.sendall(content)
        except OSError:
            self.kill()
            raise

    def stop(self) -> None:
        """End the server and all its calls."""
        self._socket.close()
        if self.pid == os.getpid():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self.kill()

    def kill(self) -> None:
        """Kill the server, even if it is stopped. Its calls go on."""
        if self.pid == os.getpid() and self._process.poll() is None:
            kill_group(self._process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)


class _CurrentServer:
    """The server of this process, started at the first call, and again after it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Server | None = None
        atexit.register(self._stop)

    def server(self) -> _Server:
        """The server; a new one if none is running."""
        with self._lock:
            if self._running is None or not self._running.is_usable:
                self._running = _Server()
            return self._running

    def _stop(self) -> None:
        if self._running is not None:
            self._running.stop()


_current = _CurrentServer()

__getattr__ = aliases(__name__, {"run_apart": "gifster.imaging.sandbox.run_sandboxed"})
