"""The cache: where an upload waits, complete, checked and durable, until it is stored.

`CacheWriter` takes an upload piece by piece in constant memory, hashes it, and stops one that is
too large or of the wrong type as soon as that is known. `CachedFile` names the result; a
`CacheField` (the `image_tmp` column) keeps it on the row.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import peewee

from gifster.uploads.config import storage
from gifster.uploads.errors import CacheFileMissing
from gifster.uploads.imaging.probe import SNIFF_BYTES, ImageInfo, probe
from gifster.uploads.storage.local import LocalStorage, LocalWriter
from gifster.uploads.validation import Limits

PIECE_BYTES = 256 * 1024


@dataclass(frozen=True)
class CachedFile:
    """An upload in the cache. `bytes` is its size, `filename` the name that the client gave it."""

    storage: str
    key: str
    filename: str
    bytes: int
    sha256: str
    info: ImageInfo

    def exists(self) -> bool:
        """Whether the file is (still) there."""
        return storage(self.storage).exists(self.key)

    def delete(self) -> None:
        """Remove the file; no error where it is gone already."""
        storage(self.storage).delete(self.key)

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """The file as a path on this machine, for as long as the `with` block lasts.

        Raises:
          CacheFileMissing: it is gone.
        """
        try:
            yield _local(self.storage).path(self.key).resolve(strict=True)
        except FileNotFoundError:
            if self.exists():
                raise
            raise CacheFileMissing(
                "The uploaded file was lost before it could be stored."
            ) from None

    def dumps(self) -> str:
        """One canonical text: equal files have equal texts, so the database can compare them."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def loads(cls, text: str) -> "CachedFile":
        """The reverse of `dumps()`."""
        data = json.loads(text)
        return cls(**data | {"info": ImageInfo(**data["info"])})


class CacheField(peewee.TextField):
    """The `<column>_tmp` column: the upload that waits to be stored, or null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"null": True} | options)

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any) -> CachedFile | None: ...  # type: ignore[override]

    def db_value(self, value: CachedFile | None) -> str | None:
        return None if value is None else value.dumps()

    def python_value(self, value: str | None) -> CachedFile | None:
        return None if value is None else CachedFile.loads(value)


class CacheWriter:
    """Takes one upload into the cache of an uploader.

    Parameters:
      rules: whose limits hold; an uploader class.
      filename: the name that the client gave the file; kept as a label, never used as a path.
    """

    def __init__(self, rules: type[Limits], filename: str) -> None:
        self.bytes = 0
        self._rules = rules
        self._filename = clean_filename(filename)
        token = secrets.token_hex(16)
        self._key = f"{token[:2]}/{token}"
        self._storage = _local(rules.cache)
        self._file: LocalWriter | None = None
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
            self._file = self._storage.create(self._key)
        self._hash.update(piece)
        self._file.write(piece)

    def finish(self) -> CachedFile:
        """Make the file durable and check it as a whole.

        Raises:
          UploadError: it is empty, damaged, or over a limit. Call `abort()` then.
        """
        self._rules.check_complete(self.bytes, self._head)
        if self._file is not None:
            self._file.commit()
        info = probe(self._storage.path(self._key))
        self._rules.check_info(info)
        return CachedFile(
            self._rules.cache, self._key, self._filename, self.bytes, self._hash.hexdigest(), info
        )

    def abort(self) -> None:
        """Leave nothing behind, finished or not."""
        if self._file is not None:
            self._file.abort()
            self._storage.delete(self._key)


def take_in(rules: type[Limits], source: BinaryIO | Path | bytes, filename: str) -> CachedFile:
    """Take a whole upload into the cache: an open file, a path, or bytes.

    Raises:
      UploadError: the uploader does not take it; nothing is left behind.
    """
    writer = CacheWriter(rules, filename)
    try:
        if isinstance(source, bytes):
            writer.write(source)
        elif isinstance(source, Path):
            with source.open("rb") as file:
                shutil.copyfileobj(file, writer, PIECE_BYTES)
        else:
            shutil.copyfileobj(source, writer, PIECE_BYTES)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


def clean_filename(name: str) -> str:
    """A client's file name as a label: no folders, no control characters, at most 255 characters.

    Letters of all scripts stay. It is shown to people; it never becomes a path.
    """
    name = os.path.basename(name.replace("\\", "/"))
    name = "".join(c for c in name if c.isprintable()).strip(" .")
    if len(name) > 255:
        stem, dot, extension = name.rpartition(".")
        keep = dot + extension if stem and len(extension) <= 10 else ""
        name = name[: 255 - len(keep)] + keep
    return name or "upload"


def _local(name: str) -> LocalStorage:
    cache = storage(name)
    if not isinstance(cache, LocalStorage):
        raise TypeError(f"the cache {name!r} must be a LocalStorage, not {type(cache).__name__}")
    return cache
