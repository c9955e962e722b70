"""The cache: where an upload waits, complete, checked and durable, until it is stored.

`CacheWriter` takes an upload piece by piece in constant memory, hashes it, and stops one that is
too large or of the wrong type as soon as that is known. `CachedFile` names the result. The cache is
a storage like any other: on S3, web and workers need share no disk.
"""

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
import time
import unicodedata
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from gifster.imaging.probe import SNIFF_BYTES, ImageInfo, examine, glance
from gifster.uploads.config import storage
from gifster.uploads.errors import (
    CacheFileChanged,
    CacheFileMissing,
    imaging_errors_translated,
)
from gifster.uploads.storage.base import StorageUnavailable
from gifster.uploads.storage.local import LocalStorage
from gifster.uploads.storage.spool import WORK_PREFIX, Writer, writer
from gifster.uploads.text import LONGEST, is_visible, one_line
from gifster.uploads.validation import Limits

logger = logging.getLogger("gifster.uploads")

PIECE_BYTES = 128 * 1024
#: The longest name that is kept of a file (characters).
MAX_FILENAME = 255


@dataclass(frozen=True)
class CachedFile:
    """An upload in the cache. `bytes` is its size, `filename` the name that the client gave it,
    `position` its place in a list-valued mount."""

    storage: str
    key: str
    filename: str
    bytes: int
    sha256: str
    info: ImageInfo
    position: int = 0

    #: Gives who has the file in hand, as long as no row names it. None: a row may name it.
    _holder: ClassVar[Any] = None
    #: By whose rules the file was checked when it came, and when (seconds since the epoch). None of
    #: a file that came in another way than by a `CacheWriter`, or that a row names.
    _checked: ClassVar[tuple[type[Limits], float] | None] = None
    #: Whether others may get at the file, by a cache id that hands it on (see `sources`).
    _shared: ClassVar[bool] = False

    def claim(self, holder: Any) -> bool:
        """Have a file that just came into the cache: one holder has it, until the holder is gone.

        Returns:
          False if it is somebody else's, or a row may name it: it is to be copied then.
        """
        if self._holder is None:
            return False
        present = self._holder()
        if present is not None and present is not holder:
            return False
        object.__setattr__(self, "_holder", weakref.ref(holder))
        return True

    def release(self, *, to_row: bool = False) -> None:
        """Have it no more.

        Parameters:
          to_row: a row names it from now on; otherwise whoever claims it next has it.
        """
        object.__setattr__(self, "_holder", None if to_row else _nobody)

    @property
    def checked(self) -> tuple[type[Limits], float] | None:
        """By whose rules the file was checked when it came, and when (seconds since the epoch), if
        that is known of this object."""
        return self._checked

    @property
    def is_shared(self) -> bool:
        """Whether a cache id was given out that hands this very file on."""
        return self._shared

    def came(self, rules: type[Limits], at: float) -> "CachedFile":
        """The same, as one that has just come, and that the next `claim()` gets."""
        object.__setattr__(self, "_checked", (rules, at))
        self.release()
        return self

    def share(self) -> "CachedFile":
        """The same, as one that others may get at. From now on nobody deletes the file but the job
        of the row that gets it, or the sweep."""
        object.__setattr__(self, "_shared", True)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the object has no claim on the file."""
        return {name: value for name, value in self.__dict__.items() if name[0] != "_"}

    def exists(self) -> bool:
        """Whether the file is (still) there."""
        return storage(self.storage).exists(self.key)

    def delete(self) -> None:
        """Remove the file; no error where it is gone already."""
        storage(self.storage).delete(self.key)

    def discard(self) -> None:
        """Remove the file, which is of no use to its holder, unless it `is_shared`."""
        if not self._shared:
            self.delete()

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """The file as a path on this machine, for as long as the `with` block lasts.

        Raises:
          CacheFileMissing: it is gone.
          CacheFileChanged: it is not what was checked when it came.
        """
        try:
            with local_copy(self.storage, self.key) as path:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                if digest != self.sha256:
                    raise CacheFileChanged("The uploaded file was changed before it was stored.")
                yield path
        except FileNotFoundError:
            if self.exists():
                raise
            raise CacheFileMissing(
                "The uploaded file was lost before it could be stored."
            ) from None

    def dump(self) -> dict[str, Any]:
        """As a dict that goes into JSON."""
        return asdict(self)

    @classmethod
    def load(cls, data: dict[str, Any]) -> "CachedFile":
        """The reverse of `dump()`."""
        return cls(**data | {"info": ImageInfo(**data["info"])})


def _nobody() -> None:
    """The holder of a file that has just come."""


def dumps(value: Any) -> str:
    """One canonical JSON text: equal values have equal texts, so a database can compare them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@contextmanager
def local_copy(name: str, key: str) -> Iterator[Path]:
    """A storage's file as a path on this machine, for as long as the `with` block lasts.

    Raises:
      FileNotFoundError: nothing is kept under that key.
    """
    kept = storage(name)
    if isinstance(kept, LocalStorage):
        yield kept.path(key).resolve(strict=True)
        return
    with tempfile.NamedTemporaryFile(prefix=WORK_PREFIX) as copy:
        with kept.open(key) as file:
            shutil.copyfileobj(file, copy, PIECE_BYTES)
        copy.flush()
        yield Path(copy.name)


class CacheWriter:
    """Takes one upload into the cache of an uploader.

    Parameters:
      rules: whose limits hold; an uploader class.
      filename: the name that the client gave the file; kept as a label, never used as a path.

    Raises:
      ExtensionNotAllowed: the uploader does not take files of such a name.
    """

    def __init__(self, rules: type[Limits], filename: str) -> None:
        self.bytes = 0
        self._rules = rules
        self._filename = clean_filename(filename)
        rules.check_name(self._filename)
        self._key = new_key(rules)
        self._file: Writer | None = None
        self._committing = False
        self._hash = hashlib.sha256()
        self._head = b""

    def write(self, piece: bytes) -> None:
        """Append a piece; anything up to some hundred kilobytes.

        Raises:
          TooLarge: that made it more than the uploader takes.
          TypeNotAllowed: its first bytes show a type that the uploader does not take.
        """
        self.bytes += len(piece)
        self._rules.check_bytes(self.bytes)
        if len(self._head) < SNIFF_BYTES:
            self._head += piece[:SNIFF_BYTES]
            if len(self._head) >= SNIFF_BYTES:
                self._rules.check_type(self._head)
        if self._file is None:
            self._file = writer(storage(self._rules.cache), self._key)
        self._hash.update(piece)
        self._file.write(piece)

    def finish(self) -> CachedFile:
        """Check the file as a whole, and make it durable. What has very many parts is checked in a
        process of its own, and may have to wait for that.

        Raises:
          UploadError: it is empty, damaged, or over a limit. Call `abort()` then.
          ProcessLost: the process was ended from outside.
        """
        return self.finish_quickly() or self.finish_slowly()

    def finish_quickly(self) -> CachedFile | None:
        """The same, unless the file has very many parts. Then it returns None, and
        `finish_slowly()` is to be called where waiting keeps nobody else from anything."""
        self._rules.check_complete(self.bytes, self._head)
        if self._file is None:
            raise ValueError("nothing was written")
        self._file.flush()
        with imaging_errors_translated():
            info = glance(self._file.path, self._rules.max_frames)
        return None if info is None else self._commit(self._file, info)

    def finish_slowly(self) -> CachedFile:
        """The rest of `finish()`, after `finish_quickly()` has done nothing."""
        if self._file is None:
            raise ValueError("nothing was written")
        with imaging_errors_translated():
            info = examine(self._file.path, self._rules.max_frames)
        return self._commit(self._file, info)

    def _commit(self, file: Writer, info: ImageInfo) -> CachedFile:
        self._rules.check_info(info)
        self._committing = True
        file.commit(info.content_type)
        cached = CachedFile(
            self._rules.cache, self._key, self._filename, self.bytes, self._hash.hexdigest(), info
        )
        return cached.came(self._rules, time.time())

    def abort(self) -> None:
        """Leave nothing behind, finished or not."""
        if self._file is not None:
            self._file.abort()
        if self._committing:
            try:
                storage(self._rules.cache).delete(self._key)
            except (OSError, StorageUnavailable) as error:  # the sweep will find it
                logger.warning("left in the cache key=%s reason=%r", self._key, str(error))


def new_key(rules: type[Limits]) -> str:
    """A key for a new file in the cache, which nobody can guess."""
    token = secrets.token_hex(16)
    prefix = f"{rules.cache_dir.strip('/')}/" if rules.cache_dir else ""
    return f"{prefix}{token[:2]}/{token}"


def safe_name(filename: str) -> str:
    """A client's file name as a part of a key: its stem in letters, digits, `-` and `_` of ASCII.

    `My Cat (1).gif` becomes `My-Cat-1`; a name of which nothing remains becomes `file`.
    """
    stem = PurePosixPath(clean_filename(filename)).stem
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", ascii_only).strip("-")[:100] or "file"


def clean_filename(name: str) -> str:
    """A client's file name as a label: no folders, one line without control characters or overrides
    of direction (see `text.one_line`), at most 255 characters, and something to see.

    Letters of all scripts stay. It is shown to people; it never becomes a path.
    """
    name = os.path.basename(name.replace("\\", "/"))
    name = one_line(_shortened(name, LONGEST)).strip(" .")
    name = _shortened(name, MAX_FILENAME).strip(" .")
    stem, dot, extension = name.rpartition(".")
    if dot and not is_visible(stem):
        name = f"upload.{extension}"
    return name if is_visible(name) else "upload"


def _shortened(name: str, most: int) -> str:
    """A file name of at most so many characters, which keeps a short extension."""
    if len(name) <= most:
        return name
    stem, dot, extension = name.rpartition(".")
    keep = dot + extension if stem and len(extension) <= 10 else ""
    return name[: most - len(keep)] + keep
