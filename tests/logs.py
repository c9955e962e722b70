"""What a part of Gifster has logged. Other parts' threads may log at any moment, too."""

import logging

import pytest


def said_by(logger: str, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The records of that logger and those below it."""
    below = f"{logger}."
    return [each for each in caplog.records if f"{each.name}.".startswith(below)]
