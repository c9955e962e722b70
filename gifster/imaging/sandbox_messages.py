"""The messages between `sandbox` and `sandbox_server`, and the timeouts of both.

A message is a pickled object with its length before it. Every wait has a timeout, because a process
that is stopped (SIGSTOP) sends nothing, not even that its time is over.
"""

import os
import pickle
import select
import struct
import time
from typing import Any, NamedTuple

LENGTH_PREFIX = struct.Struct("!I")
#: The longest single wait, after which the waiter checks on the other process (seconds).
TICK_S = 1.0


class Limits(NamedTuple):
    """What one call in a sandbox may use.

    Attributes:
      memory_bytes: data; with Python and its libraries the process has 300 MB then.
      address_bytes: address space, of which a process uses more than memory.
      disk_bytes: the size of a file that it writes.
      cpu_s, wall_s: CPU and wall-clock time (seconds).
      nice: how far it lets other processes go first (see nice(2)).
    """

    memory_bytes: int = 264 * 2**20
    address_bytes: int = 2**30
    disk_bytes: int = 2**31
    cpu_s: int = 120
    wall_s: int = 300
    nice: int = 10


class Started(NamedTuple):
    """The call runs in a process group with this id."""

    group: int


class Yielded(NamedTuple):
    """The function is a generator, and has yielded this."""

    value: Any


class Finished(NamedTuple):
    """The function has returned a result or raised an error."""

    result: Any = None
    error: BaseException | None = None


class Ended(NamedTuple):
    """The process has ended: by a signal, or by itself (0). `was_stopped` tells whether it was
    stopped (SIGSTOP) for some of the time."""

    signal: int
    was_stopped: bool


class Timeout:
    """A timeout for several waits together (seconds), which counts only time awake.

    One wait counts for two ticks at most. So the timeout does not pass while the whole machine,
    container or process is suspended.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = self._left = seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return self._left <= 0

    def wait(self, fd: int) -> bool:
        """Wait up to a tick for something to read.

        Returns:
          whether there is something to read. Data that is there already is found even after the
          time is over.
        """
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        began = time.monotonic()
        found = poll.poll(max(0.0, min(self._left, TICK_S)) * 1000)
        self._left -= min(time.monotonic() - began, 2 * TICK_S)
        return bool(found)


class Inbox:
    """Receives messages from a file descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._received = bytearray()
        #: Whether the sender has closed it or died.
        self.ended = False

    def receive(self, timeout: Timeout) -> bytes | None:
        """The next message, still pickled.

        Returns:
          None if no message came within a tick, or the sender has ended.
        """
        message = self._complete()
        if message is None and not self.ended and timeout.wait(self._fd):
            piece = os.read(self._fd, 65536)
            self._received += piece
            self.ended = not piece
            message = self._complete()
        return message

    def _complete(self) -> bytes | None:
        if len(self._received) < LENGTH_PREFIX.size:
            return None
        (length,) = LENGTH_PREFIX.unpack_from(self._received)
        end = LENGTH_PREFIX.size + length
        if len(self._received) < end:
            return None
        message = bytes(self._received[LENGTH_PREFIX.size : end])
        del self._received[:end]
        return message


def send(fd: int, message: Any) -> None:
    """Send a message."""
    content = pickle.dumps(message)
    rest = memoryview(LENGTH_PREFIX.pack(len(content)) + content)
    while rest:
        rest = rest[os.write(fd, rest) :]
