"""The server of `sandbox.py`: forks two processes for each piece of work, and holds them to time.

The child does the work, under the system's limits. The attendant passes on what the child tells,
and ends it when its time is over, also when it is stopped: SIGKILL needs nobody's help. Both are a
process group of their own, which whoever asked can end, should the attendant itself stand still.
When whoever asked is gone, the server ends all of them, and itself.
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
    LENGTH,
    Begun,
    Done,
    Inbox,
    Item,
    Limits,
    Patience,
    pass_on,
    tell,
)

#: How long a child that has told its end may take for it (seconds).
EXIT_S = 2.0


def serve(number: int) -> None:
    """Fork for each request that comes on a socket, until that is closed."""
    from gifster import imaging  # noqa: PLC0415 so that the children have it

    imaging.load()

    attendants = _Attendants()
    with socket.socket(fileno=number) as requests:
        while (request := _request(requests)) is not None:
            content, answer = request
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, 0)
                requests.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _attend(content, answer)
            attendants.add(pid)
            with contextlib.suppress(OSError):  # nobody listens any more
                tell(answer, Begun(pid))  # as it does itself: one of us may be stopped here
            os.close(answer)
    attendants.end()


def _request(requests: socket.socket) -> tuple[bytes, int] | None:
    """The next piece of work, and where its answer goes; None if there is no more."""
    try:
        head, fds, _, _ = socket.recv_fds(requests, LENGTH.size, 1)
        if not fds:
            return None
        content = bytearray()
        (length,) = LENGTH.unpack(head)
        while len(content) < length:
            piece = requests.recv(length - len(content))
            if not piece:
                return None  # whoever asked died while asking
            content += piece
    except ConnectionError:
        return None
    return bytes(content), fds[0]


class _Attendants:
    """The process groups at work. They are reaped as they end, so that no id is taken for another
    process's later."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        signal.signal(signal.SIGCHLD, lambda *_: self._reap())

    def add(self, pid: int) -> None:
        """One that has just been forked."""
        with contextlib.suppress(OSError):  # it has done so itself
            os.setpgid(pid, pid)
        self._groups.add(pid)
        self._reap()  # it may have ended before it was known

    def end(self) -> None:
        """End them all."""
        for group in list(self._groups):
            end_group(group)

    def _reap(self) -> None:
        for pid in list(self._groups):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._groups.discard(pid)


def end_group(group: int) -> None:
    """End the processes of a group, stopped ones as well."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _attend(content: bytes, answer: int) -> NoReturn:
    """Have one piece of work done by a child, pass on what it tells, and tell how it ended."""
    with contextlib.suppress(OSError):  # nobody listens any more
        tell(answer, Begun(os.getpid()))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.close(answer)
        _work(content, writing)
    os.close(writing)
    limits: Limits = pickle.loads(content)[0]  # noqa: S301 our own
    watched = _Child(child)
    with contextlib.suppress(OSError):  # nobody listens any more
        ended = _pass_on_all(Inbox(reading), answer, watched, Patience(limits.wall_s))
        if not ended:
            watched.kill()
            tell(answer, Done(out_of_time=True, stopped=watched.was_stopped))
        elif watched.ended_by():
            tell(answer, Done(signal=watched.ended_by()))
    watched.kill()
    os._exit(0)


def _pass_on_all(told: Inbox, answer: int, child: "_Child", patience: Patience) -> bool:
    """Pass on what the child tells until it ends.

    Returns:
      False if its time is over before.
    """
    while not told.ended:
        message = told.take(patience)
        if message is not None:
            pass_on(answer, message)
        elif patience.is_over:
            return False
        else:
            child.look()
    return True


class _Child:
    """What becomes of a child process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._status: int | None = None
        #: Whether it was ever seen stopped.
        self.was_stopped = False

    def look(self) -> bool:
        """See whether it has ended, or been stopped. Returns whether it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid and (os.WIFSTOPPED(status) or os.WIFCONTINUED(status)):
                self.was_stopped = True
            elif pid:
                self._status = status
        return self._status is not None

    def ended_by(self) -> int:
        """The signal that has ended it, 0 if none has. One that closed its pipe and does not end,
        as it is stopped there, is left to `kill()`."""
        until = time.monotonic() + EXIT_S
        while not self.look() and time.monotonic() < until:
            time.sleep(0.005)
        status = self._status
        return os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0

    def kill(self) -> None:
        """End it, if it has not ended."""
        if not self.look():
            os.kill(self._pid, signal.SIGKILL)


def _work(content: bytes, writing: int) -> NoReturn:
    limits, function, arguments = pickle.loads(content)  # noqa: S301 our own
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
    signal.alarm(2 * limits.wall_s)  # should all who watch be gone
    try:
        done = Done(_drained(function(*arguments), writing))
    except BaseException as error:  # noqa: BLE001 it is raised where it was asked for
        done = Done(error=error)
    tell(writing, done)
    os._exit(0)


def _drained(result: Any, writing: int) -> Any:
    """Tell what a generator yields; what it returns, or what was no generator."""
    if not isinstance(result, Generator):
        return result
    while True:
        try:
            item = next(result)
        except StopIteration as end:
            return end.value
        tell(writing, Item(item))
