"""A problem that lasts is logged when it begins and when it ends, not every few seconds."""

import logging


class Problem:
    """One thing that may go wrong for a while.

    Parameters:
      logger: gets a warning when the problem begins, changes or ends.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._reported: str | None = None

    def report(self, text: str) -> None:
        """Log what is wrong, unless that was the last thing logged."""
        if text != self._reported:
            self._logger.warning("%s", text)
        self._reported = text

    def resolved(self, text: str = "") -> None:
        """Note that nothing is wrong any more; log `text` if something was."""
        if self._reported is not None and text:
            self._logger.warning("%s", text)
        self._reported = None
