"""Giving memory back to the system after many uploads at once.

What they had lies scattered over the heap, and the C library keeps it for the next ones, which may
be a week away.
"""

import ctypes

#: Of fewer at once it is not worth while.
MANY = 16


class Memory:
    """Tells when there is something to give back. To be used on the event loop."""

    def __init__(self) -> None:
        self._now = self._most = 0

    def taken(self) -> None:
        """An upload has begun."""
        self._now += 1
        self._most = max(self._most, self._now)

    def given_back(self) -> bool:
        """An upload has ended: whether it was the last one of many."""
        self._now -= 1
        if self._now or self._most < MANY:
            return False
        self._most = 0
        return True


def trim() -> None:
    """Have the C library give back what it keeps, where it can (glibc); some milliseconds."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
