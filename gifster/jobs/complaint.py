"""What goes wrong for a while is said when it begins and when it is over, not every few seconds."""

import logging


class Complaint:
    """One thing that may be wrong for a while.

    Parameters:
      logger: where it is said, as a warning.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said: str | None = None

    def say(self, text: str) -> None:
        """Log what is wrong, unless that was the last thing said."""
        if text != self._said:
            self._logger.warning("%s", text)
        self._said = text

    def over(self, text: str = "") -> None:
        """It is wrong no more; `text` says so in the log if it was."""
        if self._said is not None and text:
            self._logger.warning("%s", text)
        self._said = None
