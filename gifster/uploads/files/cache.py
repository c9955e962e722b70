"""The cache: where an upload waits, complete, checked and durable, until it is stored.

`CacheWriter` writes an upload into the cache piece by piece in constant memory, hashes it, and
stops one that is too large or of the wrong type as soon as that is known. The result is a
`CachedFile`. The cache is a storage like any other: on S3, web and workers need not share a disk.
"""

import hashlib
import json
import logging
import secrets
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from gifster import jobs
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.probe import examine, glance
from gifster.uploads.config import storage
from gifster.uploads.content_types import HEAD_BYTES, extension
from gifster.uploads.errors import (
    CacheFileChanged,
    CacheFileMissing,
    imaging_errors_translated,
)
from gifster.uploads.files.access import delete_file, local_copy
from gifster.uploads.files.content import Content
from gifster.uploads.files.extraction import (
    LocalFile,
    extract_at_once,
    metadata_of,
    without_empty_metadata,
)
from gifster.uploads.files.filenames import clean_filename
from gifster.uploads.files.kept_file import KeptFile
from gifster.uploads.files.validation import Limits
from gifster.uploads.instrumentation import instrument
from gifster.uploads.storage.base import StorageUnavailable, check_present
from gifster.uploads.storage.shapes import folder_of

logger = logging.getLogger("gifster.uploads")

PIECE_BYTES = 128 * 1024
#: How long after it came a file may still be saved as it is (seconds). The sweep takes an older one
#: for abandoned ten minutes later.
YOUNG_S = 3000


class _Nobody:
    pass


#: The holder of a file that has just come: a reference to an object that is gone.
_NOBODY: weakref.ref[object] = weakref.ref(_Nobody())


class UploadAborted(Exception):
    """The sender went away, or the receiver gave up, before the upload was complete."""


@dataclass(frozen=True)
class CachedFile(KeptFile):
    """An upload in the cache.

    Attributes:
      storage, key: the name of its storage, and its key there.
      filename: the client's name for it, cleaned; only a label.
      bytes: its size.
      sha256: of its content, in hexadecimal.
      info: what was read of the content: type, pixels, frames.
      position: its place in a list-valued column.
      metadata: the facts that its uploader declares, by name.
    """

    storage: str
    key: str
    filename: str
    bytes: int
    sha256: str
    info: ImageInfo
    position: int = 0
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)

    #: The holder of the file while no row names it. None: a row may name the file.
    _holder: ClassVar[weakref.ref[object] | None] = None
    #: The rules that the file was checked by when it came, and the time (seconds since the epoch).
    #: None for a file that no `CacheWriter` wrote here, or that a row names.
    _checked: ClassVar[tuple[type[Limits], float] | None] = None
    #: Whether a cache id gives others this very file (see `cache_ids`).
    _shared: ClassVar[bool] = False
    #: The hash of the file as it was sent, if metadata has been taken out since; else empty.
    _sent_sha256: ClassVar[str] = ""
    #: The key of the cached file that it was copied from; empty for any other.
    _copy_of: ClassVar[str] = ""

    def claim(self, holder: object) -> bool:
        """Become the holder of a file that has just come into the cache. A file has one holder at a
        time, until that object is gone.

        Returns:
          False if another holder has it, or a row may name it. Then copy the file instead.
        """
        if self._holder is None:
            return False
        present = self._holder()
        if present is not None and present is not holder:
            return False
        object.__setattr__(self, "_holder", weakref.ref(holder))
        return True

    def release(self, *, to_row: bool = False) -> None:
        """Give the file up.

        Parameters:
          to_row: a row names it from now on. Otherwise the next `claim()` gets it.
        """
        object.__setattr__(self, "_holder", None if to_row else _NOBODY)

    @property
    def checked(self) -> tuple[type[Limits], float] | None:
        """The rules that the file was checked by when it came, and the time (seconds since the
        epoch). None if this object does not know."""
        return self._checked

    @property
    def is_old(self) -> bool:
        """Whether the sweep takes the file for abandoned soon, unless a row names it."""
        return self._checked is not None and jobs.now() - self._checked[1] > YOUNG_S

    @property
    def is_shared(self) -> bool:
        """Whether a cache id gives others this very file."""
        return self._shared

    @property
    def copy_of(self) -> str:
        """The key of the file of which a cache id made this copy; empty for any other file."""
        return self._copy_of

    @property
    def sent_sha256(self) -> str:
        """The SHA-256 of the file as it was sent, before its metadata was taken out; empty if there
        was none, or if this object does not know."""
        return self._sent_sha256

    def copied(self, key: str) -> "CachedFile":
        """This file, marked as the copy of another one in the cache."""
        object.__setattr__(self, "_copy_of", key)
        return self

    def received(self, rules: type[Limits], at: float, sent_sha256: str = "") -> "CachedFile":
        """This file, marked as one that has just come. The next `claim()` gets it.

        Parameters:
          rules: those that it was checked by.
          at: the time of that (seconds since the epoch).
          sent_sha256: of the file as it was sent, if metadata has been taken out since.
        """
        object.__setattr__(self, "_checked", (rules, at))
        object.__setattr__(self, "_sent_sha256", sent_sha256)
        self.release()
        return self

    def share(self) -> "CachedFile":
        """This file, marked as shared by a cache id. From now on only the job of the row that gets
        the file deletes it, or the sweep."""
        object.__setattr__(self, "_shared", True)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the object has no claim on the file."""
        return {name: value for name, value in self.__dict__.items() if name[0] != "_"}

    def delete(self) -> None:
        """Remove the file; no error where it is gone already."""
        delete_file(self.storage, self.key)

    def discard(self) -> None:
        """Remove a file that its holder has no use for, unless it `is_shared`."""
        if not self._shared:
            self.delete()

    @property
    def content_type(self) -> str:
        """The type that the content shows."""
        return self.info.content_type

    @property
    def identifier(self) -> str:
        """A name for the upload, the same as later that of its `StoredFile`."""
        return folder_of(self.key)

    def as_json(self) -> dict[str, Any]:
        """What others may know of it, for JSON. It has no URL, and its key is a secret."""
        return {"filename": self.filename, "content_type": self.content_type, "bytes": self.bytes}

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """The file as a path on this machine, for as long as the `with` block lasts. The path has
        the extension of its type, although the key has none.

        Its content is hashed once more: of a storage elsewhere while it is copied here.

        Raises:
          CacheFileMissing: it is gone.
          StorageUnavailable: the whole storage is.
          CacheFileChanged: its content is not the content that was checked when it came.
        """
        digest = hashlib.sha256()
        try:
            name = extension(self.content_type, self.filename)
            with local_copy(self.storage, self.key, digest, extension=name) as path:
                if digest.hexdigest() != self.sha256:
                    raise CacheFileChanged("The uploaded file changed before it was stored.")
                yield path
        except FileNotFoundError:
            if self.exists():
                raise
            check_present(storage(self.storage))
            raise CacheFileMissing(
                "The uploaded file was lost before it could be stored."
            ) from None

    def dump(self) -> dict[str, Any]:
        """As a dict that goes into JSON."""
        # `dataclasses.asdict()` copies each value, which takes ten times as long.
        info = dict(vars(self.info))
        if not info["has_sound"]:  # a fact of videos alone, which earlier releases do not know
            del info["has_sound"]
        facts = self.__getstate__() | {"info": info, "metadata": self.metadata}
        return without_empty_metadata(facts)

    @classmethod
    def load(cls, data: dict[str, Any]) -> "CachedFile":
        """The reverse of `dump()`."""
        return cls(**data | {"info": ImageInfo(**data["info"])})


def dumps(value: Any) -> str:
    """One canonical JSON text: equal values have equal texts, so a database can compare them."""
    return _canonical.encode(value)


#: Made once: `json.dumps()` would make one for each text.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class CacheWriter:
    """Writes one upload into the cache of an uploader.

    Parameters:
      rules: the uploader class, whose limits the upload must keep.
      filename: the name that the client gave the file; kept as a label, never used as a path.

    Raises:
      ExtensionNotAllowed: the uploader does not take files with such a name.
    """

    def __init__(self, rules: type[Limits], filename: str) -> None:
        self._received = 0
        self._rules = rules
        self._filename = clean_filename(filename)
        rules.check_name(self._filename)
        self._key = new_key(rules)
        self._content = Content(rules, self._key)
        self._committing = False
        self._head, self._content_type = b"", ""
        #: The facts of the file that `finish_quickly()` has read.
        self._info: ImageInfo | None = None
        self._step = instrument(
            "cache", uploader=rules, storage=rules.cache, key=self._key, filename=self._filename
        )
        self._step.begin()

    def write(self, piece: bytes) -> None:
        """Append a piece, of up to some hundred kilobytes.

        Raises:
          TooLarge: the file is now larger than the uploader allows.
          TypeNotAllowed: its first bytes show a type that the uploader does not allow.
        """
        self._received += len(piece)
        self._rules.check_bytes(self._received)
        if len(self._head) < HEAD_BYTES:
            self._head += piece[:HEAD_BYTES]
            if len(self._head) >= HEAD_BYTES:
                self._rules.check_type(self._head, self._filename)
        self._content.write(piece)

    def spill(self) -> None:
        """Hold no more in memory than is needed, as the rest of the upload may be long in coming:
        64 kB."""
        self._content.spill()

    def finish(self) -> CachedFile:
        """Check the file as a whole, and make it durable. A file with very many parts is checked in
        a process of its own, and may have to wait for its turn.

        Raises:
          UploadError: it is empty, damaged, or over a limit. Call `abort()` then.
          ProcessLost: something outside ended that process.
        """
        return self.finish_quickly() or self.finish_slowly()

    def finish_quickly(self) -> CachedFile | None:
        """Do what `finish()` does, unless the file has very many parts, or the uploader reads facts
        of its own. Then return None: call `finish_slowly()`, on a thread that other uploads do not
        need."""
        self._content_type = self._rules.check_complete(self._received, self._head, self._filename)
        with imaging_errors_translated():
            self._info = glance(
                self._content.complete(),
                self._rules.frames_counted(),
                videos=self._rules.max_video_s is not None,
            )
        if self._info is None or metadata_of(self._rules):
            self._content.on_disk()
            return None
        self._rules.check_info(self._info)
        if not self._content.strip(self._info, quickly=True):
            self._content.on_disk()
            return None
        return self._commit(self._info, {})

    def finish_slowly(self) -> CachedFile:
        """Do what `finish()` does, after `finish_quickly()` has returned None."""
        info = self._info
        if info is None:
            with imaging_errors_translated():
                info = examine(
                    self._content.on_disk(),
                    self._rules.frames_counted(),
                    videos=self._rules.max_video_s is not None,
                )
        self._rules.check_info(info)
        self._content.strip(info, quickly=False)
        path = self._content.on_disk()
        local = LocalFile(path, self._filename, self._typed(info), self._content.sha256)
        return self._commit(info, extract_at_once(self._rules, local))

    def _typed(self, info: ImageInfo) -> ImageInfo:
        """The facts as they are kept. The name of a file that is no image may say its type, too."""
        content_type = info.content_type if info.is_image else self._content_type
        return replace(info, content_type=content_type, bytes=self._content.size)

    def _commit(self, info: ImageInfo, metadata: dict[str, Any]) -> CachedFile:
        info, rules, content = self._typed(info), self._rules, self._content
        self._committing = True
        content.commit(info.content_type)
        cached = CachedFile(
            rules.cache, self._key, self._filename, content.size, content.sha256, info,
            metadata=metadata,
        )  # fmt: skip
        self._step.facts |= {"bytes": content.size, "content_type": info.content_type}
        self._step.end()
        return cached.received(rules, jobs.now(), content.sent_sha256)

    def abort(self, error: BaseException | None = None) -> None:
        """Leave nothing behind, finished or not.

        Parameters:
          error: why.
        """
        self._step.end(error or UploadAborted())
        self._content.abort()
        if self._committing:
            try:
                delete_file(self._rules.cache, self._key)
            except (OSError, StorageUnavailable) as reason:  # the sweep will find it
                logger.warning("left in the cache key=%s reason=%r", self._key, str(reason))


def new_key(rules: type[Limits]) -> str:
    """A key for a new file in the cache. Nobody can guess it."""
    token = secrets.token_hex(16)
    prefix = f"{rules.cache_dir.strip('/')}/" if rules.cache_dir else ""
    return f"{prefix}{token[:2]}/{token}"
