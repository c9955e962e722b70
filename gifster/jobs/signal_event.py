"""An event that the handler of a signal may set.

Python runs such a handler within the main thread, between any two steps of what that does. If it is
just inside `threading.Event.wait()`, it holds the event's lock, for which `Event.set()` in the
handler then waits forever: the process does not stop, and hears no second signal. The queue here is
reentrant (`queue.SimpleQueue`: "reentrancy is guaranteed"), so the handler waits for nobody.
"""

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue


class SignalEvent:
    """As `threading.Event`, for one thread that waits at a time."""

    def __init__(self) -> None:
        self._is_set = False
        self._told: SimpleQueue[None] = SimpleQueue()

    def set_at(self, *numbers: int) -> None:
        """Let the first of these signals set it. Call it in the main thread."""
        for number in numbers:
            signal.signal(number, lambda *_: self.set())

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, in a handler or in any thread."""
        self._is_set = True
        self._told.put(None)

    def clear(self) -> None:
        """Wait anew from now on."""
        self._is_set = False
        with suppress(Empty):
            while True:
                self._told.get_nowait()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, but no longer than `timeout` seconds. Returns whether it is."""
        if not self._is_set:
            with suppress(Empty):
                self._told.get(timeout=timeout)
        return self._is_set
