"""Text of SQLite that is no UTF-8, as a bad sector leaves it: it is shown as far as it can be.

A connection has the function here. So this module knows of no database: the function would keep the
connection open when the process ends, and SQLite's log would stay beside the file.
"""

import sqlite3
from collections.abc import Iterable

import peewee

#: How JSON begins, of the values that Gifster keeps as JSON.
_JSON = (b"{", b"[", b'"')


class DamagedText(str):
    """A text with replacement characters. It is never written back, and finds no row.

    Attributes:
      kept: what SQLite has.
    """

    kept: bytes

    @property
    def place(self) -> peewee.SQL:
        """What a walk compares a column with, for the rows that come after this one."""
        return peewee.SQL("CAST(? AS TEXT)", (self.kept,))


class Unreadable(Exception):
    """What a row has is not as it was written, so nothing can be done with it."""


def as_text(kept: bytes) -> str:
    """The text of a value of SQLite."""
    try:
        return kept.decode()
    except UnicodeDecodeError:
        # JSON stays unreadable, as files are deleted and jobs are run by it.
        start = "\ufffd" if kept[:1] in _JSON else ""
        text = DamagedText(start + kept.decode(errors="replace"))
        text.kept = kept
        return text


def whole(values: Iterable[str]) -> list[str]:
    """Those of some values that can be asked for."""
    return [value for value in values if not isinstance(value, DamagedText)]


def _refuse(text: DamagedText) -> None:
    raise Unreadable(f"the database has text that is no UTF-8: {text[:80]!r}")


sqlite3.register_adapter(DamagedText, _refuse)
