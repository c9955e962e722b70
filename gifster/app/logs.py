"""Logs and lines on terminals in which foreign text is harmless: one record is one line.

A path, a file name or an error's message may have any character. A line feed would begin a line
that looks like a record of ours, and an escape sequence can rewrite the terminal's screen.
"""

import copy
import logging
import re
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
#: C0 and C1 controls, DEL; line and paragraph separator; the characters that change the direction
#: of text (Unicode TR 36, 3.6); half of a surrogate pair, which UTF-8 cannot encode.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: The beginning of a traceback's lines, so that none looks like a record.
_INDENT = "    "

ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


def escaped(text: str) -> str:
    """A text without control characters: each is written as in JSON, `\\n` or `\\u001b`."""
    if text.isprintable():  # then it has none of them, and this is quicker
        return text
    return _UNPRINTABLE.sub(lambda found: _SHORT.get(found[0], f"\\u{ord(found[0]):04x}"), text)


def escaped_lines(text: str) -> str:
    """A text of several lines, each of them `escaped()`."""
    return "\n".join(escaped(line) for line in text.split("\n"))


class OneLineFormatter(logging.Formatter):
    """Formats a record as one line, whatever its values contain. A traceback follows, indented."""

    _second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        if not record.exc_info and not record.exc_text and not record.stack_info:
            record.message = record.getMessage()
            record.asctime = self.formatTime(record, self.datefmt)
            return self.formatMessage(record)
        record = copy.copy(record)
        record.exc_text = None  # another formatter's, if there is one
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """As in Python's own format, which formats each second only once."""
        if datefmt is not None:
            return super().formatTime(record, datefmt)
        second, text = self._second
        if second != int(record.created):
            second = int(record.created)
            text = time.strftime(self.default_time_format, self.converter(second))
            self._second = second, text
        return f"{text},{int(record.msecs):03d}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record))

    def formatException(self, ei: ExceptionInfo) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join(_INDENT + line for line in escaped_lines(text).split("\n"))


def log_to_stderr(quiet: Sequence[str] = ("apscheduler", "PIL")) -> None:
    """Write logs to standard error, one line for each event.

    Parameters:
      quiet: loggers of libraries, of which only warnings are logged.
    """
    logging.basicConfig(level=logging.INFO, format=FORMAT, stream=sys.stderr)
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)
    # As Dramatiq does in workers: while RabbitMQ is away, the relay says so, once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    log_in_lines()


def log_in_lines() -> None:
    """Make all current handlers, ours and those of Dramatiq and granian, write each record as one
    line. Their formats stay."""
    known = [logging.getLogger(name) for name in ("_granian", "granian.access", "dramatiq")]
    for handler in {handler for logger in (logging.root, *known) for handler in logger.handlers}:
        before: Any = handler.formatter or logging.Formatter()
        if type(before) is logging.Formatter:
            after = OneLineFormatter(before._fmt, before.datefmt, validate=False)
            after._style = before._style
            handler.setFormatter(after)
