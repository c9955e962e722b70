"""The server of `sandbox`: for each call it forks a process that runs it under the system's limits.

That process leads a process group of its own, and answers its caller itself. The server tells the
caller what only a parent learns: how the process ended, and whether it was stopped. It kills the
process, even a stopped one, when the caller has closed the call, and all of them when the caller's
process has ended.
"""

import contextlib
import gc
import os
import pickle
import resource
import select
import signal
import socket
from collections.abc import Generator
from typing import Any, NoReturn

from gifster.imaging.sandbox_messages import (
    LENGTH_PREFIX,
    Ended,
    Finished,
    Started,
    Yielded,
    send,
)


def serve(number: int) -> None:
    """Fork for each call that comes over a socket, until the socket is closed."""
    from gifster import imaging  # noqa: PLC0415 the processes inherit it

    imaging.preload()
    gc.freeze()  # a collection in a process would copy the memory that it looks through

    with socket.socket(fileno=number) as requests:
        calls = _Calls()
        poll = calls.poll
        poll.register(requests, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            calls.check(ready)
            if number in ready:
                request = _request(requests)
                if request is None:
                    calls.kill_all()
                    return
                if calls.start(*request):
                    requests.close()
                    _call(*request[:2])


def _request(requests: socket.socket) -> tuple[bytes, int, int] | None:
    """The next call, pickled, and the descriptors for its answers and for its status; None after
    the last call."""
    try:
        head, fds, _, _ = socket.recv_fds(requests, LENGTH_PREFIX.size, 2)
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
    return bytes(content), fds[0], fds[1]


class _Calls:
    """The running calls, each in a process that leads a group. They are reaped when they end, and
    not before that is told: a group's id is not taken by other processes meanwhile."""

    def __init__(self) -> None:
        #: Reports also what `check()` is for.
        self.poll = select.poll()
        #: The descriptor for the status of each process.
        self._status: dict[int, int] = {}
        self._stopped: set[int] = set()
        self._woken, self._waking = os.pipe()
        os.set_blocking(self._waking, False)
        self.poll.register(self._woken, select.POLLIN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waking)

    def start(self, content: bytes, answers: int, status: int) -> bool:
        """Fork. Returns whether this is the new process, which has nothing of the others' calls."""
        try:
            pid = os.fork()
        except OSError:  # too many processes: the caller sees that nobody answers
            os.close(answers)
            os.close(status)
            return False
        self._status[pid] = status
        if pid == 0:
            self._forget()
            os.setpgid(0, 0)
            return True
        with contextlib.suppress(OSError):  # it has done this itself
            os.setpgid(pid, pid)
        os.close(answers)
        os.set_blocking(status, False)
        self.poll.register(status, 0)  # it is only closed
        self._tell(pid, Started(pid))  # it does so, too: either of us may be stopped
        return False

    def check(self, ready: set[int]) -> None:
        """Do what the poll reports, before a new call gets the number of an old descriptor."""
        for pid, status in self._status.items():
            if status in ready:  # the caller needs the process no more; it may be stopped
                self.poll.unregister(status)
                kill_group(pid)
        if self._woken in ready:
            os.read(self._woken, 4096)
            for pid in list(self._status):
                self._reap(pid)

    def kill_all(self) -> None:
        """Kill all calls."""
        for pid in self._status:
            kill_group(pid)

    def _reap(self, pid: int) -> None:
        """Tell the caller if the process has ended, and remember whether it was stopped."""
        ended, how = os.waitpid(pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        if ended and (os.WIFSTOPPED(how) or os.WIFCONTINUED(how)):
            self._stopped.add(pid)
        elif ended:
            number = os.WTERMSIG(how) if os.WIFSIGNALED(how) else 0
            self._tell(pid, Ended(number, was_stopped=pid in self._stopped))
            self._stopped.discard(pid)
            status = self._status.pop(pid)
            with contextlib.suppress(KeyError):  # the caller has closed it before
                self.poll.unregister(status)
            os.close(status)

    def _tell(self, pid: int, message: Any) -> None:
        with contextlib.suppress(OSError):  # the caller is gone
            send(self._status[pid], message)

    def _forget(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (self._woken, self._waking, *self._status.values()):
            os.close(fd)


def kill_group(group: int) -> None:
    """Kill the processes of a group, even stopped ones."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _call(content: bytes, answers: int) -> NoReturn:
    """Run a call, answer it, and end this process."""
    with contextlib.suppress(OSError):  # the caller is gone
        send(answers, Started(os.getpid()))
        send(answers, _finished(content, answers))
    os._exit(0)


def _finished(content: bytes, answers: int) -> Finished:
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
    signal.alarm(2 * limits.wall_s)  # in case server and caller are gone
    try:
        return Finished(_drained(function(*arguments), answers))
    except BaseException as error:  # noqa: BLE001 the caller raises it
        return Finished(error=error)


def _drained(result: Any, answers: int) -> Any:
    """Send the values that a generator yields, and return what it returns. Return any other result
    as it is."""
    if not isinstance(result, Generator):
        return result
    while True:
        try:
            value = next(result)
        except StopIteration as end:
            return end.value
        send(answers, Yielded(value))
