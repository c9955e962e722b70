"""What a storage is: any object with these five methods (the idea is Shrine's).

A key is a relative path of safe segments, `gifs/k3V9/ab12/thumb.gif`: letters, digits, `.`, `_`
and `-`, no segment starting with a dot. Keys are made by the framework, never by a client.

A storage may do two things more, each a protocol of its own below: list what it keeps, so that
sweeps and copies see it, and let clients write into it directly. Whoever writes a storage can hold
it against the contract in `gifster.uploads.testing`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class StorageUnavailable(Exception):
    """A storage did not answer, or would not do as it was told. Trying again later may help."""


class Storage(Protocol):
    """Keeps files under keys.

    Where a storage cannot be reached, each method raises `StorageUnavailable` or an `OSError`.
    """

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

    def url(self, key: str, expires_s: int | None = None) -> str:
        """Where a browser finds it.

        Parameters:
          expires_s: the URL is signed, and good for so many seconds; None leaves it to the storage.

        Raises:
          ValueError: the storage has no way to sign.
        """


@runtime_checkable
class Listing(Protocol):
    """A storage that can say what it keeps.

    One that several objects may stand for, or that may lie within another one, also has a
    `place`: a text that is the same for all of them, and with which the place of what is within it
    begins. It and a key are the full name of a file.
    """

    def walk(self) -> Iterator[tuple[str, float]]:
        """All keys, in any order, and when each was last written (seconds since the epoch).

        Raises an error where it cannot list all of them: what is not listed counts as not there.
        """

    def half_written(self, before: float, remove: bool) -> Iterator[str]:
        """The names of files whose writer died, and last wrote before that moment.

        Parameters:
          remove: whether they go.
        """


@dataclass(frozen=True)
class PresignedUpload:
    """What a client needs to write one file directly into a storage (a request to be made)."""

    method: str
    url: str
    headers: dict[str, str]


@runtime_checkable
class Presigning(Protocol):
    """A storage that clients can be let write into directly."""

    def presign(self, key: str, size: int, content_type: str, expires_s: int) -> PresignedUpload:
        """Let whoever has the result write `key` once, within `expires_s` seconds.

        Parameters:
          size, content_type: of the file (bytes); another one is refused by the storage.
        """


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
