"""Doing something to a file from a stranger in a process of its own, with limits.

A decoder that hangs, explodes or crashes then costs that process and nothing else, and several
files are worked on at once, which Python's threads would not.

Starting Python takes longer than most pictures do. So each process that asks keeps one server,
which has imported what it needs and forks a child for each piece of work (multiprocessing's fork
server would import the application's main module). The child tells what it has ready, over a socket
of its own. Between it and the server stands another, which waits for it and tells how it ended.
When who asked dies, the server ends.
"""

import atexit
import contextlib
import errno
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any, BinaryIO, NamedTuple, NoReturn

from gifster.uploads.errors import Unreadable


class Limits(NamedTuple):
    """What one piece of work may take: memory of its own, which with the program's makes 300 MB;
    address space, which comes to more; space for a file (bytes); CPU and wall-clock time (s). And
    how much the web server and other jobs come first (see nice(2))."""

    memory_bytes: int = 264 * 2**20
    address_bytes: int = 2**30
    disk_bytes: int = 2**31
    cpu_s: int = 120
    wall_s: int = 300
    nice: int = 10


LIMITS = Limits()
#: How a process ends that was made to crash.
_CRASHED = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
_LENGTH = struct.Struct("!I")


class OutOfTime(Unreadable):
    """It took more time than it may."""


class ProcessLost(RuntimeError):
    """The process was ended from outside, or could not be started. It is no fault of the file."""


class _Item(NamedTuple):
    """Something that a piece of work has ready before its end."""

    content: Any


class _Done(NamedTuple):
    """How a piece of work ended: what it returned or raised, unless a signal ended it."""

    result: Any = None
    error: BaseException | None = None
    signal: int = 0


def run_apart(
    function: Callable[..., Any], *arguments: Any, limits: Limits = LIMITS
) -> Generator[Any, None, Any]:
    """Call a function in a process of its own, with limits. To be used with `yield from`.

    Parameters:
      function: of a module that imports nothing of an application. It may be a generator.
      arguments: what it is called with; like what it yields and returns, they must be picklable.

    Returns:
      a generator that yields, as soon as it is there, what the function yields, and returns what it
      returns. Closing it ends the process, when that next has something to tell.

    Raises:
      Unreadable: it took too much memory or time, or its process crashed.
      ProcessLost: its process was ended from outside, or could not be started.
      whatever the function raises.
    """
    mine, theirs = socket.socketpair()
    with mine, mine.makefile("rb") as answers:
        with theirs:
            try:
                _servers.one().send(pickle.dumps((limits, function, arguments)), theirs)
            except OSError as error:
                raise ProcessLost(f"no process for images could be started: {error}") from error
        while isinstance(told := _message(answers), _Item):
            yield told.content
    if told is None:
        raise ProcessLost("the process for images was ended from outside")
    if told.signal in (signal.SIGXCPU, signal.SIGALRM):
        most = limits.cpu_s if told.signal == signal.SIGXCPU else limits.wall_s
        raise OutOfTime(f"The image took more than {most} seconds to be decoded.")
    if told.signal in _CRASHED:
        raise Unreadable("The image is damaged: it crashes the decoder.")
    if told.signal:
        raise ProcessLost(f"the process for images was ended by signal {told.signal}")
    if isinstance(told.error, MemoryError):
        raise Unreadable("The image takes too much memory to be decoded.") from told.error
    if isinstance(told.error, OSError) and told.error.errno == errno.EFBIG:
        raise Unreadable("The image takes too much space to be decoded.") from told.error
    if told.error is not None:
        raise told.error
    return told.result


def _message(file: BinaryIO) -> _Item | _Done | None:
    """The next message, or None if there is none."""
    content = _content(file)
    return None if content is None else pickle.loads(content)  # noqa: S301 our own


def _content(file: BinaryIO) -> bytes | None:
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = file.read(length)
    return content if len(content) == length else None


def _tell(file: BinaryIO, content: bytes) -> None:
    file.write(_LENGTH.pack(len(content)) + content)
    file.flush()


class _Server:
    """The process that forks, and the socket on which it is told to."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        path = os.pathsep.join(path or os.getcwd() for path in sys.path)
        code = f"from {__name__} import serve; serve({theirs.fileno()})"
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 ourselves
                [sys.executable, "-P", "-c", code],  # -P: only what we have, too
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for who asked
                env=os.environ | {"PYTHONPATH": path},
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
    from gifster.uploads import imaging  # noqa: PLC0415 so that the children have it

    imaging.load()

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
    """Have one piece of work done by a child, pass on what it tells, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.close(answer)
        _work(content, writing)
    os.close(writing)
    try:
        with os.fdopen(answer, "wb") as file:
            with os.fdopen(reading, "rb") as pipe:
                while (told := _content(pipe)) is not None:
                    _tell(file, told)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                _tell(file, pickle.dumps(_Done(signal=os.WTERMSIG(status))))
    except BrokenPipeError:  # nobody listens any more
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    os._exit(0)


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
    signal.alarm(limits.wall_s)
    with os.fdopen(writing, "wb") as pipe:
        try:
            done = _Done(_drained(function(*arguments), pipe))
        except BaseException as error:  # noqa: BLE001 it is raised where it was asked for
            done = _Done(error=error)
        _tell(pipe, pickle.dumps(done))
    os._exit(0)


def _drained(result: Any, pipe: BinaryIO) -> Any:
    """Tell what a generator yields; what it returns, or what was no generator."""
    if not isinstance(result, Generator):
        return result
    while True:
        try:
            item = next(result)
        except StopIteration as end:
            return end.value
        _tell(pipe, pickle.dumps(_Item(item)))
