"""Prints the lines of a supervisor's processes, and its own.

Whoever reads them may be slow, or have stopped: a terminal after Ctrl-S, `less`, a log driver. Then
the processes wait with their lines, as they would without a supervisor. The supervisor itself waits
for nobody, since it has to start and stop processes: a thread of its own prints.
"""

import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from gifster.jobs.escaping import escaped

#: The name of the supervisor in its lines.
SUPERVISOR = "gifster"
#: Prints a line of a process: the line, and the process's name.
Say = Callable[[str, str], None]
#: How many lines may wait.
MOST_LINES = 1_000
#: A reader that has not taken a line within this time has stopped (seconds).
STOPPED_S = 1.0
#: How long the supervisor prints what is left when it ends, at most (seconds).
REST_S = 5.0


class Printer:
    """Prints lines in a thread of its own.

    Parameters:
      say: prints a line.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        #: None ends the thread.
        self._lines: queue.Queue[tuple[str, str] | None] = queue.Queue(MOST_LINES)
        #: Since when a line is being printed (`time.monotonic()`).
        self._since: float | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="printer")
        self._thread.start()

    def say(self, line: str, name: str) -> None:
        """Print a line soon. A process waits if too many lines wait already. A line of the
        supervisor is dropped then, and so are all lines once the supervisor stops."""
        while not (self._stopping and self._reader_has_stopped):
            with suppress(queue.Full):
                self._lines.put((line, name), timeout=STOPPED_S)
                return
            if name == SUPERVISOR:
                return

    def stop_waiting(self) -> None:
        """From now on, let no process wait for a reader that has stopped."""
        self._stopping = True

    def finish(self) -> None:
        """Print what is left, if somebody reads it."""
        self.stop_waiting()
        with suppress(queue.Full):
            self._lines.put(None, timeout=STOPPED_S)
        deadline = time.monotonic() + REST_S
        while self._thread.is_alive() and not self._reader_has_stopped:
            if time.monotonic() > deadline:
                return
            self._thread.join(0.1)

    @property
    def _reader_has_stopped(self) -> bool:
        since = self._since
        return since is not None and time.monotonic() - since > STOPPED_S

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._since = time.monotonic()
            self._say(*line)
            self._since = None


def say(line: str, name: str) -> None:
    """Print a line with the name of its process. Its control characters are escaped: a job's
    arguments, which somebody else may have chosen, must not begin a line or write to the terminal.
    """
    write_line(f"{name:<9} | {escaped(line)}")


def write_line(text: str) -> None:
    """Write a line to standard output. It is lost if nothing can be written there: its reader has
    gone, the terminal was closed, the disk is full.

    Unlike `print()` it holds no lock while it waits: Python ends by SIGABRT if a thread still has
    that one.
    """
    if sys.stdout is None:  # it was closed when this process began
        return
    with suppress(OSError, ValueError):  # ValueError: it was closed since
        output = sys.stdout.fileno()
        rest = f"{text}\n".encode(sys.stdout.encoding or "utf-8", "backslashreplace")
        while rest:
            try:
                rest = rest[os.write(output, rest) :]
            except BlockingIOError:  # a pipe that somebody has made not to block
                select.select([], [output], [])
