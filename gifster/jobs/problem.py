"""A problem that lasts is logged when it begins and when it ends, not every few seconds."""

import logging
import threading
import time


class Problem:
    """One thing that may go wrong for a while. For any number of threads.

    Parameters:
      logger: gets a warning when the problem begins, changes or ends.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._reported: str | None = None
        self._reported_at = 0.0
        self._lock = threading.Lock()

    def report(self, text: str, meaning: str | None = None) -> None:
        """Log what is wrong, unless that was the last thing logged.

        Parameters:
          meaning: the same for texts that mean the same; None for the text itself.
        """
        meaning = meaning or text
        with self._lock:
            is_new, self._reported = meaning != self._reported, meaning
            self._reported_at = time.monotonic()
        if is_new:
            self._logger.warning("%s", text)

    def resolved(self, text: str = "", *, tried_at: float | None = None) -> None:
        """Note that nothing is wrong any more; log `text` if something was.

        Parameters:
          tried_at: when the attempt that succeeded began (`time.monotonic()`). Where several
            threads try, one may have begun before the problem did, and tells nothing about it.
        """
        if self._reported is None:
            return
        with self._lock:
            if tried_at is not None and tried_at <= self._reported_at:
                return
            was_reported, self._reported = self._reported is not None, None
        if was_reported and text:
            self._logger.warning("%s", text)
