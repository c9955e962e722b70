"""The server of `sandbox`: for each call it forks a child that runs it, and a monitor.

The child calls the function, under the system's limits. The monitor forwards the child's messages,
and kills it when its time is over; SIGKILL works on a stopped process, too. Both form a process
group, which the caller kills if the monitor itself is stopped. When the caller's process ends, the
server kills all groups and exits.
"""

import contextlib
import os
import pickle
import resource
import signal
import socket
import time
from collections.abc import Generator
from typing import Any, NoReturn

from gifster.imaging.sandbox_messages import (
    LENGTH_PREFIX,
    Finished,
    Inbox,
    Limits,
    Started,
    Timeout,
    Yielded,
    send,
    send_pickled,
)

#: How long a child may take to exit after it has closed its pipe (seconds).
EXIT_S = 2.0


def serve(number: int) -> None:
    """Fork for each call that comes over a socket, until the socket is closed."""
    from gifster import imaging  # noqa: PLC0415 the children inherit it

    imaging.preload()

    monitors = _Monitors()
    with socket.socket(fileno=number) as requests:
        while (request := _request(requests)) is not None:
            content, answer = request
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, 0)
                requests.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _monitor(content, answer)
            monitors.add(pid)
            with contextlib.suppress(OSError):  # the caller is gone
                send(answer, Started(pid))  # so does the monitor: either of us may be stopped
            os.close(answer)
    monitors.kill_all()


def _request(requests: socket.socket) -> tuple[bytes, int] | None:
    """The next call, pickled, and the descriptor for its answers; None after the last call."""
    try:
        head, fds, _, _ = socket.recv_fds(requests, LENGTH_PREFIX.size, 1)
        if not fds:
            return None
        content = bytearray()
        (length,) = LENGTH_PREFIX.unpack(head)
        while len(content) < length:
            piece = requests.recv(length - len(content))
            if not piece:
                return None  # the caller died in the middle of sending
            content += piece
    except ConnectionError:
        return None
    return bytes(content), fds[0]


class _Monitors:
    """The monitors, each the leader of a process group.

    They are reaped when they end, so that a group's id is not taken by other processes later.
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        signal.signal(signal.SIGCHLD, lambda *_: self._reap())

    def add(self, pid: int) -> None:
        """Add a monitor that was just forked."""
        with contextlib.suppress(OSError):  # it has done this itself
            os.setpgid(pid, pid)
        self._groups.add(pid)
        self._reap()  # it may have ended before it was added

    def kill_all(self) -> None:
        """Kill all process groups."""
        for group in list(self._groups):
            kill_group(group)

    def _reap(self) -> None:
        for pid in list(self._groups):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._groups.discard(pid)


def kill_group(group: int) -> None:
    """Kill the processes of a group, even stopped ones."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _monitor(content: bytes, answer: int) -> NoReturn:
    """Run one call in a child, forward its messages, and send how it ended."""
    with contextlib.suppress(OSError):  # the caller is gone
        send(answer, Started(os.getpid()))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.close(answer)
        _call(content, writing)
    os.close(writing)
    limits: Limits = pickle.loads(content)[0]  # noqa: S301 our own
    watched = _Child(child)
    with contextlib.suppress(OSError):  # the caller is gone
        ended = _forward_all(Inbox(reading), answer, watched, Timeout(limits.wall_s))
        if not ended:
            watched.kill()
            send(answer, Finished(out_of_time=True, stopped=watched.was_stopped))
        elif watched.ended_by():
            send(answer, Finished(signal=watched.ended_by()))
    watched.kill()
    os._exit(0)


def _forward_all(inbox: Inbox, answer: int, child: "_Child", timeout: Timeout) -> bool:
    """Forward the messages of a child until it ends.

    Returns:
      False if its time was over before.
    """
    while not inbox.ended:
        message = inbox.receive(timeout)
        if message is not None:
            send_pickled(answer, message)
        elif timeout.is_over:
            return False
        else:
            child.check()
    return True


class _Child:
    """A child process, and how it ended."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._status: int | None = None
        #: Whether any check found it stopped.
        self.was_stopped = False

    def check(self) -> bool:
        """Check whether it has ended or been stopped. Returns whether it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid and (os.WIFSTOPPED(status) or os.WIFCONTINUED(status)):
                self.was_stopped = True
            elif pid:
                self._status = status
        return self._status is not None

    def ended_by(self) -> int:
        """The signal that has ended it, 0 if none has.

        A child that is stopped before it can exit is left to `kill()`.
        """
        until = time.monotonic() + EXIT_S
        while not self.check() and time.monotonic() < until:
            time.sleep(0.005)
        status = self._status
        return os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        if not self.check():
            os.kill(self._pid, signal.SIGKILL)


def _call(content: bytes, writing: int) -> NoReturn:
    limits, function, arguments, folder = pickle.loads(content)  # noqa: S301 our own
    if folder is not None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
    os.nice(limits.nice)
    for limit, most in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_AS, limits.address_bytes),
        (resource.RLIMIT_FSIZE, limits.disk_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # not every system has each
            hard = most + 5 if limit == resource.RLIMIT_CPU else most  # SIGXCPU, then SIGKILL
            resource.setrlimit(limit, (most, hard))
    signal.alarm(2 * limits.wall_s)  # in case monitor and caller are gone
    try:
        finished = Finished(_drained(function(*arguments), writing))
    except BaseException as error:  # noqa: BLE001 the caller raises it
        finished = Finished(error=error)
    send(writing, finished)
    os._exit(0)


def _drained(result: Any, writing: int) -> Any:
    """Send the values that a generator yields, and return what it returns. Return any other result
    as it is."""
    if not isinstance(result, Generator):
        return result
    while True:
        try:
            value = next(result)
        except StopIteration as end:
            return end.value
        send(writing, Yielded(value))
