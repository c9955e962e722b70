"""Facts that an uploader reads of its files itself (Shrine's `add_metadata`).

    class CvUploader(Uploader):
        allow_types = {"application/pdf"}

        @metadata
        def pages(self, file: LocalFile) -> int:
            return file.sandboxed(count_pages)

The row has them as JSON beside the facts that the framework reads. `user.cv.pages` is the fact of
the record's file, and `user.cv.metadata` is the dict of all.
"""

import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar, cast, overload

from gifster.imaging.image_info import ImageInfo
from gifster.imaging.sandbox import Limits as SandboxLimits
from gifster.imaging.sandbox import ProcessLost, call_sandboxed
from gifster.uploads.content_types import extension
from gifster.uploads.declarations import Declared, declared
from gifster.uploads.errors import MetadataUnreadable, UploadError, imaging_errors_translated
from gifster.uploads.files.named import named
from gifster.uploads.instrumentation import instrument
from gifster.uploads.storage.base import StorageUnavailable

T = TypeVar("T")

logger = logging.getLogger("gifster.uploads")

#: All facts of a file together, as JSON (bytes). They go into the row, and into cache ids.
MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine whose facts are read: its path, and what is known of it already.

    Attributes:
      path: where it is for as long as its facts are read, with the extension of its type. Do not
        change it.
      filename: the client's name for it, cleaned; only a label.
      info: what `gifster.imaging` has read: type, size, pixels, frames.
      sha256: of its content, in hexadecimal.
      metadata: the facts that were read before, by name.
    """

    path: Path
    filename: str
    info: ImageInfo
    sha256: str
    metadata: dict[str, Any] = field(default_factory=dict)

    def open(self) -> BinaryIO:
        """The content, at its first byte."""
        return self.path.open("rb")

    def sandboxed(
        self, function: Callable[..., T], *arguments: Any, limits: SandboxLimits | None = None
    ) -> T:
        """Call `function(path, *arguments)` in a process of its own with limits, as all decoders of
        images run.

        Use it for every library that parses files of strangers.

        Parameters:
          function: a function of a module that imports no application: the process imports it.
          arguments: picklable, as is what the function returns.
          limits: of time and memory; by default those of the decoders.

        Raises:
          Unreadable: the function crashed, or took too much memory or time.
          Exception: the function raised it.
        """
        with imaging_errors_translated():
            return call_sandboxed(function, self.path, *arguments, limits=limits)


class Metadata(Declared, Generic[T]):
    """A method of an uploader that reads a fact of each file. The fact has the method's name."""

    def __init__(
        self,
        read: Callable[[Any, LocalFile], T],
        *,
        later: bool = False,
        optional: bool = False,
    ) -> None:
        self.read, self.name = read, read.__name__
        self.later, self.optional = later, optional
        self.__doc__ = read.__doc__

    @overload
    def __get__(self, uploader: None, owner: Any) -> "Metadata[T]": ...
    @overload
    def __get__(self, uploader: object, owner: Any) -> T | None: ...
    def __get__(self, uploader: Any, owner: Any) -> "Metadata[T] | T | None":
        if uploader is None:
            return self
        return cast("T | None", uploader.metadata.get(self.name))


@overload
def metadata(read: Callable[[Any, LocalFile], T], /) -> Metadata[T]: ...
@overload
def metadata(
    *, later: bool = False, optional: bool = False
) -> Callable[[Callable[[Any, LocalFile], T]], Metadata[T]]: ...
def metadata(
    read: Callable[[Any, LocalFile], T] | None = None,
    /,
    *,
    later: bool = False,
    optional: bool = False,
) -> Metadata[T] | Callable[[Callable[[Any, LocalFile], T]], Metadata[T]]:
    """Declare a fact of each file (Shrine's `add_metadata`).

    The method gets a `LocalFile`, and returns a value that JSON can hold. It runs once, when the
    upload comes into the cache; no record has the file yet, so `self.record` is None. An
    `UploadError` of the method refuses the upload. So does any other exception, as
    `metadata_unreadable`; its traceback is in the log. A failure of the system (an `OSError` with
    an `errno`, a storage that is away) is raised as it is: a retry may succeed.

        @metadata
        def pages(self, file: LocalFile) -> int:
            return file.sandboxed(count_pages)

    Parameters:
      later: run it in the process that stores the file instead: the worker, or `save()` for a
        column without a background job. `self.record` is the record then. With
        `process_in_background`, the worker runs it with the versions.
      optional: take a file whose fact cannot be read; the fact is None.
    """
    if read is not None:
        return Metadata(read)
    return lambda read: Metadata(read, later=later, optional=optional)


def metadata_of(uploader: type) -> dict[str, Metadata[Any]]:
    """The facts that an uploader class declares or inherits, by name, in their order."""
    return declared(uploader, Metadata)


def extract_at_once(rules: type, file: LocalFile) -> dict[str, Any]:
    """The facts of an upload that comes into the cache, without those that are read `later`.

    Raises:
      UploadError: a fact refuses the upload, or cannot be read.
    """
    wanted = [name for name, fact in metadata_of(rules).items() if not fact.later]
    if not wanted:
        return {}
    uploader: Any = object.__new__(rules)
    uploader.record = None
    return extract(uploader, file, wanted)


class Described(Protocol):
    """A `CachedFile` or a `StoredFile`."""

    @property
    def filename(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def metadata(self) -> dict[str, Any]: ...


D = TypeVar("D", bound=Described)


def extract_later(uploader: Any, upload: D, path: Path, info: ImageInfo) -> D:
    """The upload with all its facts: those that it has, and those that are read `later`.

    Parameters:
      path: where its original is on this machine.
      info: the original's.

    Raises:
      UploadError: a fact refuses the upload, or cannot be read.
    """
    declared = metadata_of(type(uploader)).items()
    wanted = [name for name, fact in declared if fact.later and name not in upload.metadata]
    if not wanted:
        return upload
    file = LocalFile(path, upload.filename, info, upload.sha256, upload.metadata)
    changed: Any = replace(cast("Any", upload), metadata=extract(uploader, file, wanted))
    return cast("D", changed)


def extract(uploader: Any, file: LocalFile, names: Collection[str]) -> dict[str, Any]:
    """The facts of a file: those that it has, and these.

    Parameters:
      uploader: whose methods read them.
      names: which to read, and which to read again.

    Raises:
      UploadError: a fact refuses the upload, or cannot be read.
    """
    declared = metadata_of(type(uploader))
    found = {name: value for name, value in file.metadata.items() if name not in names}
    with (
        named(file.path, extension(file.info.content_type, file.filename)) as path,
        instrument("extract", uploader=type(uploader), names=list(names), sha256=file.sha256),
    ):
        file = LocalFile(path, file.filename, file.info, file.sha256, found)
        for name in declared:
            if name in names:
                found[name] = _read(declared[name], uploader, file)
    return found


def _read(fact: Metadata[Any], uploader: Any, file: LocalFile) -> Any:
    try:
        value = _as_json(fact.read(uploader, file))
        _check_size(file.metadata | {fact.name: value})
    except (UploadError, StorageUnavailable, ProcessLost):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        how = "left out" if fact.optional else "refused"
        name, sha256 = f"{type(uploader).__name__}.{fact.name}", file.sha256
        logger.warning("metadata %s fact=%s sha256=%s", how, name, sha256, exc_info=error)
        if not fact.optional:
            raise MetadataUnreadable(f"The file's {fact.name!r} cannot be read.") from error
        return None
    return value


def _check_size(facts: dict[str, Any]) -> None:
    if len(json.dumps(facts, ensure_ascii=False).encode()) > MAX_BYTES:
        raise ValueError(f"all facts of a file may have {MAX_BYTES:,} bytes as JSON")


def _as_json(value: Any) -> Any:
    """A value as it comes back from the row: a tuple is a list.

    Raises:
      TypeError, ValueError: JSON, or the database, cannot hold it.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    text.encode()  # No lone surrogate.
    return json.loads(text)


def without_empty_metadata(dumped: dict[str, Any]) -> dict[str, Any]:
    """The dict of a file, readable for an earlier release if it has no facts of its uploader."""
    if not dumped["metadata"]:
        del dumped["metadata"]
    return dumped
