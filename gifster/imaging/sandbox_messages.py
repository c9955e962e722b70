"""What `sandbox.py` and its server say to each other, and how long each waits for the other.

A message is a pickled object with its length before it. Nobody waits for one without a limit: the
process that is to write it may be stopped, and a stopped process says nothing, not even that its
time is over.
"""

import os
import pickle
import select
import struct
import time
from typing import Any, NamedTuple

LENGTH = struct.Struct("!I")
#: How long one wait lasts at most before the waiter looks around (seconds).
TICK_S = 1.0


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


class Begun(NamedTuple):
    """The server has forked a process for the work, which leads a group of this id."""

    group: int


class Item(NamedTuple):
    """Something that a piece of work has ready before its end."""

    content: Any


class Done(NamedTuple):
    """How a piece of work ended: with a result, an error, a signal, or because its time was over.
    `stopped` tells that the process was stopped for some of that time."""

    result: Any = None
    error: BaseException | None = None
    signal: int = 0
    out_of_time: bool = False
    stopped: bool = False


class Patience:
    """How long somebody waits in all, in seconds of which they were awake.

    One wait counts for two ticks at most. When the whole machine, container or process stood still,
    the time of that is nobody's fault and counts for nothing.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    @property
    def is_over(self) -> bool:
        """Whether there is none left."""
        return self._left <= 0

    def wait(self, fd: int) -> bool:
        """Wait for something to read, for a tick at most.

        Returns:
          whether there is something. What is there already is seen even if no patience is left.
        """
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        began = time.monotonic()
        found = poll.poll(max(0.0, min(self._left, TICK_S)) * 1000)
        self._left -= min(time.monotonic() - began, 2 * TICK_S)
        return bool(found)


class Inbox:
    """The messages that come from a file descriptor, read as they come."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._read = bytearray()
        #: Whether the other side has closed it, or died.
        self.ended = False

    def take(self, patience: Patience) -> bytes | None:
        """The next message, still pickled.

        Returns:
          None if it has not come within a tick, or before the end.
        """
        message = self._whole()
        if message is None and not self.ended and patience.wait(self._fd):
            piece = os.read(self._fd, 65536)
            self._read += piece
            self.ended = not piece
            message = self._whole()
        return message

    def _whole(self) -> bytes | None:
        if len(self._read) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._read)
        end = LENGTH.size + length
        if len(self._read) < end:
            return None
        message = bytes(self._read[LENGTH.size : end])
        del self._read[:end]
        return message


def tell(fd: int, message: Any) -> None:
    """Write a message."""
    pass_on(fd, pickle.dumps(message))


def pass_on(fd: int, content: bytes) -> None:
    """Write a message that is pickled already."""
    rest = memoryview(LENGTH.pack(len(content)) + content)
    while rest:
        rest = rest[os.write(fd, rest) :]
