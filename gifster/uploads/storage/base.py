"""What a storage is: any object with these five methods (the idea is Shrine's).

A key is a relative path of safe segments, `gifs/k3V9/ab12/thumb.gif`: letters, digits, `.`, `_`
and `-`, no segment starting with a dot. Keys are made by the framework, never by a client.
"""

import re
from pathlib import Path
from typing import BinaryIO, Protocol

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class Storage(Protocol):
    """Keeps files under keys."""

    def upload(self, source: Path, key: str, content_type: str) -> None:
        """Keep a copy of the file `source` under `key`, in place of what was there.

        When it returns, the copy is complete and survives a crash; before, nobody sees it.
        """

    def open(self, key: str) -> BinaryIO:
        """Open for reading, from the first byte.

        Raises:
          FileNotFoundError: nothing is kept under `key`.
        """

    def exists(self, key: str) -> bool:
        """Whether something is kept under `key`."""

    def delete(self, key: str) -> None:
        """Forget what is kept under `key`; no error where nothing is."""

    def url(self, key: str) -> str:
        """Where a browser finds it."""


def is_key(key: str) -> bool:
    """Whether a text is of the form above."""
    return len(key) <= 512 and _KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """The key itself.

    Raises:
      ValueError: it is not of the form above, so it could lead out of the storage.
    """
    if not is_key(key):
        raise ValueError(f"not a storage key: {key[:80]!r}")
    return key
