"""Writes the log of a worker process many lines at a time.

The `dramatiq` command gives each worker process a pipe as its standard error, and writes each line
to it by itself. For short jobs these writes take longer than the jobs. Here lines gather for a few
ms, and go through the pipe together: a thread of its own writes what waits, and a thread that has
filled a piece writes it once it holds no lock, so that a busy process cannot fall behind. A thread
that wrote while it holds the lock of its log handler would let all others queue up for that lock,
and from then on each line would be a switch of threads.

When the worker stops, or exits in any other way but by a fatal signal, all lines are written. A
process that is killed with -9 loses those of its last few ms.
"""

import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any

from gifster.jobs.adaptive_lock import AdaptiveLock
from gifster.jobs.signal_event import SignalEvent

#: How long lines gather (seconds).
GATHER_S = 0.005
#: The most bytes that are written at a time. The pipe takes so many at once or none (POSIX), so
#: what a process forked from this one writes comes before or after them. Four are the length that
#: multiprocessing writes before them.
PIECE = select.PIPE_BUF - 4
#: When so many bytes wait, the thread that adds a text writes them, whatever locks it holds: the
#: pipe is full, or nobody calls `write_pieces()`.
MOST_WAITING = 16 * PIECE


class GatheredLines:
    """Stands in for the `write` of a stream.

    Parameters:
      write: the stream's own.
    """

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._texts: deque[str] = deque()
        self._size = 0
        # The handler of a signal logs, too: it may have interrupted whoever holds the lock.
        self._lock = threading.RLock()
        self._waiting, self._told = False, SignalEvent()
        #: Whether each text is written at once: the process ends, or is forked.
        self._at_once = False
        threading.Thread(target=self._run, daemon=True, name="log").start()
        os.register_at_fork(after_in_child=self._forked)

    def write(self, text: str) -> None:
        """Write a text soon, after those before it."""
        self._texts.append(text)
        self._size += len(text)
        if self._at_once or self._size >= MOST_WAITING:
            self.flush()
        elif self._waiting:
            self._waiting = False
            self._told.set()

    def write_pieces(self) -> None:
        """Write what waits if it fills a piece, unless another thread is writing. The caller holds
        no lock that others may wait for."""
        if self._size >= PIECE and self._lock.acquire(blocking=False):
            try:
                self._write_all()
            finally:
                self._lock.release()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._write_all()

    def _write_all(self) -> None:
        self._size = 0
        piece: list[str] = []
        size = 0
        for _ in range(len(self._texts)):
            try:
                text = self._texts.popleft()
            except IndexError:  # the handler of a signal has written the rest
                break
            length = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
            if piece and size + length > PIECE:
                self._write("".join(piece))
                piece, size = [], 0
            piece.append(text)
            size += length
        if piece:
            self._write("".join(piece))

    def finish(self) -> None:
        """Write what waits, and from now on each text at once."""
        self._at_once = True
        self.flush()

    def _run(self) -> None:
        while not self._at_once:
            self._told.clear()
            self._waiting = True
            if not self._texts:
                self._told.wait()
            self._waiting = False
            try:
                self.flush()
            except (OSError, ValueError):
                return  # nobody reads it: the main process has gone
            time.sleep(GATHER_S)

    def _forked(self) -> None:
        self._lock = threading.RLock()
        self._texts.clear()
        self._at_once = True


def gather_lines() -> GatheredLines | None:
    """From now on, gather what this process writes to the pipe of the `dramatiq` command.

    Returns:
      None if its standard error is not such a pipe.
    """
    pipe: Any = sys.stderr
    if type(pipe).__name__ != "StreamablePipe" or "write" in vars(pipe):
        return None
    lines = GatheredLines(pipe.write)
    pipe.write = lines.write
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is pipe:
            handler.lock = AdaptiveLock()  # type: ignore[assignment]
    Finalize(None, lines.finish, exitpriority=1)
    return lines
