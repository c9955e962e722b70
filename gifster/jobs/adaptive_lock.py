"""A lock for a few quick steps that all threads of a worker take again and again.

A thread that has waited for a `threading.Lock` gets it while another thread has Python's own lock
(the GIL). Until it has that one, too, it holds the lock and stands still: all others that come to
the lock go to sleep, and wake up in the same way. From then on, each use of the lock is a switch of
threads, which takes longer than a short job. That is a lock convoy (Blasgen, Gray, Mitoma and
Price: "The convoy phenomenon", 1979).

Here, a thread takes the lock only while it runs. If the lock is taken, the thread gives Python's
lock away and tries again, as adaptive mutexes do (Solaris', and glibc's
`PTHREAD_MUTEX_ADAPTIVE_NP`). Only after many attempts does it sleep.
"""

import threading
import time

#: How often a thread tries before it sleeps. Whoever holds the lock for so long is waiting itself,
#: such as for a full pipe.
ATTEMPTS = 50


class AdaptiveLock:
    """A reentrant lock that forms no convoys. It can be the lock of a handler of `logging`, too."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._acquire = self._lock.acquire
        self.release = self._lock.release
        # What `threading.Condition` and a forked process of `logging` call
        self._is_owned = self._lock._is_owned  # type: ignore[attr-defined]
        self._release_save = self._lock._release_save  # type: ignore[attr-defined]
        self._at_fork_reinit = self._lock._at_fork_reinit  # type: ignore[attr-defined]

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As `threading.RLock.acquire()`."""
        if self._acquire(False):
            return True
        if blocking and timeout < 0:
            for _ in range(ATTEMPTS):
                time.sleep(0)
                if self._acquire(False):
                    return True
        return self._acquire(blocking, timeout)

    def __enter__(self) -> bool:
        return self._acquire(False) or self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def condition(self) -> threading.Condition:
        """A condition of this lock."""
        return threading.Condition(self)  # type: ignore[arg-type]

    def _acquire_restore(self, state: tuple[int, int]) -> None:
        """Take the lock as often as a thread had it that waits in `threading.Condition`."""
        for _ in range(state[0]):
            self.acquire()
