"""The handlers of signals run within the main thread, wherever that is just then. Here they run at
each line of what the main thread may be about, one after the other."""

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

#: More lines than what is interrupted here has, also within the standard library.
MOST_LINES = 1_000


def interrupted(work: Callable[[], object], line: int, handler: Callable[[], object]) -> bool:
    """Do something, and call a handler before the line with that number that it comes to, counted
    through all functions that it calls. Returns whether it came to so many lines."""
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == line:
                sys.settrace(None)
                handler()
        return trace

    def run() -> None:
        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(None)

    # A thread of its own: one that waits forever must not hold up the tests.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), f"the handler of a signal waits forever at line {line}"
    return seen >= line


def at_each_line(do: Callable[[], Callable[[], object]], handler: Callable[[], object]) -> int:
    """Interrupt at each line, one after the other. Returns how many there are."""
    for line in range(1, MOST_LINES):
        if not interrupted(do(), line, handler):
            return line - 1
    raise AssertionError("it never ends")
