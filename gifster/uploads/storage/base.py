"""A storage keeps files under keys: any object with these five methods (the idea is Shrine's).

Write one for a service that has none yet like this:

1. Write a class with the five methods of `Storage`. It inherits nothing. `MemoryStorage` in
   `gifster.uploads.testing` is a complete one of 40 lines.
2. Hold it against the contract, with pytest:

       from gifster.uploads.testing import StorageContract

       class TestMyStorage(StorageContract):
           @pytest.fixture
           def storage(self):
               return MyStorage(...)  # an empty one for each test

3. Give it to the framework: `configure({"cache": LocalStorage(...), "store": MyStorage(...)})`.

A key is a relative path of safe segments, such as `gifs/k3V9/ab12/thumb.gif`: letters, digits, `.`,
`_` and `-`, at most 512 characters, no segment starting with a dot. The framework makes the keys.
It never takes one from a client, but a storage checks each key all the same (`check_key()`).

`upload()` may take further keywords (`**options`), which an uploader's `upload_options()` gives it.
A storage may do three things more, each a protocol of its own: list its files (`Listing`), so that
sweeps and copies see them, let clients write into it directly (`Presigning`), and say where on this
machine a file is (`OnThisMachine`). The framework finds out by the methods that are there.
"""

import errno
import functools
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable
from urllib.parse import quote

from gifster import jobs

#: What comes before a key in a URL: a text, or a function that returns the text for a key, such as
#: one of several hosts (CarrierWave's `asset_host`).
BaseUrl = str | Callable[[str], str]

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


#: What a system says of one file that it cannot read, or may not: a bad sector, a broken file
#: system, a mode, a folder or a circle of links in its place.
_OF_ONE_FILE = {
    errno.EIO, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.EBADMSG,
    getattr(errno, "EUCLEAN", errno.EIO),
}  # fmt: skip

#: What it says of a disk that fails, has become read-only, is another machine's and away, or may
#: not be written, as somebody has changed the owner or the mode of its folder. Linux remounts a
#: disk read-only after an error, and a dead FUSE process leaves ENOTCONN.
DISK_ERRORS = {
    errno.EACCES, errno.EPERM,
    errno.EIO, errno.EROFS, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN,
    errno.EHOSTDOWN, getattr(errno, "EREMOTEIO", errno.EIO), getattr(errno, "EUCLEAN", errno.EIO),
}  # fmt: skip


class StorageUnavailable(Exception):
    """A storage does not answer, or refuses what it is told. Trying again later may help."""


class Storage(Protocol):
    """Keeps files under keys.

    Many threads, processes and machines use one storage at the same time. No two of them write
    different content under one key.

    Each method may raise:
      ValueError: the key is not a key (see `check_key()`).
      StorageUnavailable, OSError: the storage cannot be used now. Jobs are retried then.
    """

    def upload(self, source: Path, key: str, content_type: str) -> None:
        """Keep a copy of the file `source` under `key`, and replace the file of that key.

        When it returns, the copy is complete and survives a crash. Until then nobody sees any of
        it. If it raises, the key has its old file or none.

        Parameters:
          source: a file on this machine, up to gigabytes. It stays as it is.
          content_type: for storages that serve their files, such as `image/gif`.
        """

    def open(self, key: str) -> BinaryIO:
        """A binary file with the content, at its first byte. It needs `read(size)`, `close()` and
        `with`, and `seek(0)` only if its `seekable()` is true.

        Raises:
          FileNotFoundError: there is no file under `key`.
        """

    def exists(self, key: str) -> bool:
        """Whether there is a file under `key`."""

    def delete(self, key: str) -> None:
        """Delete the file under `key`. No error if there is none."""

    def url(self, key: str, expires_s: int | None = None) -> str:
        """The URL of the file for a browser. The file need not exist.

        Parameters:
          expires_s: sign the URL, so that it expires after that time (seconds). None leaves both to
            the storage.

        Raises:
          ValueError: the storage cannot sign URLs.
        """


@runtime_checkable
class Listing(Protocol):
    """A storage that can list its files.

    It may also have an attribute `place`, a text: storage objects with the same files have the same
    place, and the place of a storage within another begins with the place of that one. So `place`
    and a key together name a file, however it is reached. Without it, each object counts as a
    storage of its own.

    And it may have `now()`, the time by the clock that says when its files were written (see
    `clock_of()`).
    """

    def walk(self) -> Iterator[tuple[str, float]]:
        """All keys in any order, and when each was last written (seconds since the epoch).

        It must raise an error if it cannot list all of them: the sweep takes a file that is not
        listed for missing.
        """

    def half_written(self, before: float, remove: bool) -> Iterator[str]:
        """The names of half-written files whose writer died. A storage that leaves none yields
        nothing.

        Parameters:
          before: only files last written before this moment (seconds since the epoch).
          remove: whether to delete them.
        """


@runtime_checkable
class OnThisMachine(Protocol):
    """A storage whose files may be on this machine, so that nobody has to copy them to read one."""

    def local_path(self, key: str) -> Path | None:
        """The path of a file, links resolved; None if it is elsewhere.

        Raises:
          FileNotFoundError: nothing is kept under that key.
        """


def is_of_one_file(error: OSError) -> bool:
    """Whether an error of reading a file need not stop the work on others: they may be sound."""
    return error.errno in _OF_ONE_FILE


def check_present(kept: object) -> None:
    """Make sure that a storage is there, before a file that it does not have counts as lost. One
    that can be away as a whole without an error has a method `is_present()`.

    Raises:
      StorageUnavailable: it is away; says what to do.
    """
    if reason := away(kept):
        raise StorageUnavailable(reason)


def away(kept: object) -> str:
    """Why a storage counts as away as a whole, and what to do; empty if it is there, or cannot
    tell."""
    its = getattr(kept, "is_present", None)
    if not callable(its) or its():
        return ""
    where = str(getattr(kept, "place", type(kept).__name__))
    if where.startswith("/"):
        remedy = f" If its files are lost for good, make the folder {where}.used"
    else:
        remedy = ""
    return f"the storage {where} is not there: is its disk mounted?{remedy}"


def local_path(kept: object, key: str) -> Path | None:
    """The path of a storage's file on this machine; None if it is elsewhere. Raises what
    `OnThisMachine.local_path()` raises."""
    return kept.local_path(key) if isinstance(kept, OnThisMachine) else None


@dataclass(frozen=True)
class PresignedUpload:
    """The HTTP request by which a client writes one file directly into a storage.

    Attributes:
      method: such as `PUT`.
      url: signed, for a limited time.
      headers: those that the client must send, as they are a part of the signature.
      fields: of a form (`multipart/form-data`), to be sent before its field `file`. Empty if the
        body is the file itself.
    """

    method: str
    url: str
    headers: dict[str, str]
    fields: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Presigning(Protocol):
    """A storage that can let clients write into it directly."""

    def presign(self, key: str, size: int, content_type: str, expires_s: int) -> PresignedUpload:
        """A request that writes one file under `key`.

        Parameters:
          size, content_type: of the file (bytes). The storage refuses any other.
          expires_s: how long the request may be made (seconds).
        """


@runtime_checkable
class PresigningForms(Protocol):
    """A storage into which clients can write by a form, too."""

    def presign_form(
        self, key: str, sizes: tuple[int, int], content_type: str, expires_s: int
    ) -> PresignedUpload:
        """A form that writes one file under `key`.

        Parameters:
          sizes: how many bytes the file has at least and at most. The storage refuses any other.
          content_type, expires_s: as for `Presigning.presign()`.
        """


def is_key(key: str) -> bool:
    """Whether a text is a key: of the form that the module's docstring describes."""
    return len(key) <= 512 and _KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """The key itself, if it is one.

    Raises:
      ValueError: it is not a key, so it could lead out of the storage.
    """
    if not is_key(key):
        raise ValueError(f"not a storage key: {key[:80]!r}")
    return key


def public_url(base_url: BaseUrl, key: str, name: str = "") -> str:
    """The unsigned URL of a file.

    Parameters:
      name: the storage's own name of the file, if that is not its key.
    """
    base = base_url if isinstance(base_url, str) else base_url(check_key(key))
    return f"{base.rstrip('/')}/{_quoted(name) if name else _path_of(key)}"


#: A list has some four hundred URLs, mostly the same ones each time.
_quoted = functools.lru_cache(4096)(quote)


@functools.lru_cache(4096)
def _path_of(key: str) -> str:
    """A key in a URL.

    Raises:
      ValueError: it is not a key.
    """
    return quote(check_key(key))


def clock_of(storage: object) -> float:
    """The time by the clock that says when the files of a storage were written (seconds since the
    epoch). If the storage does not tell, it is the one of the outbox."""
    its = getattr(storage, "now", None)
    told = its() if callable(its) else None
    return jobs.now() if told is None else float(told)


def supported_options(method: Callable[..., object], **options: object) -> dict[str, Any]:
    """Those options that a storage's method has. Our storages have more than the protocol asks."""
    known = inspect.signature(method).parameters
    return {name: value for name, value in options.items() if name in known}


def takes_options(upload: Callable[..., object]) -> bool:
    """Whether a storage's `upload()` takes further options, as keywords."""
    parameters = inspect.signature(upload).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
