"""What can be uploaded: each source is copied into the cache under a new key, and checked on the
way.

* an open file, a `Path`, or `bytes`
* a part of a multipart form (anything with a `filename`, and a `stream` or a `file` to read from)
* a file of another record, stored or cached, or a version of it, which is copied
* a data URI (RFC 2397), as canvases and paste boxes produce them

Two more sources have modules of their own: `cache_ids` retrieves a file that is in the cache
already, `remote/` fetches one by its URL.
"""

import base64
import binascii
import io
import re
import weakref
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from contextlib import suppress
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, cast
from urllib.parse import unquote, urlsplit

from gifster.uploads.config import storage
from gifster.uploads.content_types import text_extension
from gifster.uploads.errors import CacheFileMissing, DataUriInvalid, NoFileChosen, ValueInvalid
from gifster.uploads.files.access import open_file
from gifster.uploads.files.cache import PIECE_BYTES, CachedFile, CacheWriter
from gifster.uploads.files.filenames import Named, form_filename
from gifster.uploads.files.gathering import Gathered
from gifster.uploads.files.stored import StoredFile, StoredVersion
from gifster.uploads.files.uploader_version import UploaderVersion
from gifster.uploads.files.validation import Limits
from gifster.uploads.form_values import content_of, is_form_part
from gifster.uploads.storage.base import check_present
from gifster.uploads.text import is_text
from gifster.uploads.to_the_end import to_the_end

#: Runs of escapes in a URI. `urllib` decodes them one by one, each an object in memory: 150 MB of
#: escapes would take gigabytes.
_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")


class Readable(Protocol):
    """An open binary file, or anything else that can be read like one."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


class FormPart(Named, Protocol):
    """A part of a multipart form with a file, such as werkzeug's or Falcon's (WSGI)."""

    @property
    def stream(self) -> Readable:
        """The content."""


class FilePart(Named, Protocol):
    """A part of a multipart form with a file, such as Starlette's `UploadFile`."""

    @property
    def file(self) -> Readable:
        """The content."""


class AsyncFormPart(Named, Protocol):
    """A part of a multipart form on an event loop, such as Falcon's (ASGI)."""

    @property
    def stream(self) -> AsyncIterable[bytes]:
        """The content."""


#: What an uploader takes, for type checkers. A text is a data URI; an empty one changes nothing.
Source = (
    Readable | FormPart | FilePart | Path | bytes | bytearray | memoryview | str
    | CachedFile | StoredFile | StoredVersion | UploaderVersion
)  # fmt: skip

#: What to do about a value that is no source.
_INSTEAD = (
    "pass a Path, bytes, an open file, a form part or a data URI; a cache id or a URL has an "
    "attribute of its own, such as avatar_cache or remote_avatar_url."
)
#: Form parts and open files that are in the cache already, as they can be read only once, and whose
#: rules checked them.
_cached_parts: MutableMapping[object, tuple[type[Limits], CachedFile]] = weakref.WeakKeyDictionary()


def cache_upload(rules: type[Limits], source: object, filename: str = "") -> CachedFile:
    """Copy an upload into the cache, and check it.

    Parameters:
      rules: the uploader class that is to take it.
      source: an open binary file (read from its beginning if it can seek), a `Path`, bytes, a form
        part, a data URI, or a file of another record to copy.
      filename: the name to remember; by default the source's own.

    Raises:
      UploadError: the uploader does not take it; nothing is left behind.
      ValueInvalid: the source is something else (an `UploadError` and a `TypeError`).
      ValueError: somebody has read from it, and it cannot seek.
    """
    if isinstance(source, str):
        filename = filename or _data_uri_name(source)
        source = _from_data_uri(rules, source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return cache_stream(rules, io.BytesIO(source), filename)
    if isinstance(source, Path):
        with source.open("rb") as file:
            return cache_stream(rules, file, filename or source.name)
    if isinstance(source, (CachedFile, StoredFile, StoredVersion, UploaderVersion)):
        return _copy(rules, source, filename)
    if is_form_part(source):
        part = cast("FormPart", source)
        named = part.filename is None or isinstance(part.filename, str)
        if not named or not hasattr(content_of(part), "read"):
            raise _no_source(source)
        return _cache_once(rules, part, content_of(part), filename or form_filename(part))
    if hasattr(source, "read"):
        name = getattr(source, "name", "")
        label = filename or (name if isinstance(name, str) else "")
        return _cache_once(rules, source, cast("IO[bytes]", source), label or "upload")
    raise _no_source(source)


def _no_source(source: object) -> ValueInvalid:
    return ValueInvalid(
        f"A file is expected, not an object of type {type(source).__name__}: {_INSTEAD}"
    )


def cache_stream(rules: type[Limits], source: IO[bytes], filename: str) -> CachedFile:
    """Copy an open file into the cache, from its beginning if it can seek, and check it.

    Raises:
      UploadError: the uploader does not take it; nothing is left behind.
      TypeError: it is open in text mode.
      ValueInvalid: it returns something else, such as a coroutine.
    """
    return cache_pieces(rules, _pieces(source), filename)


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    if _is_seekable(source):
        source.seek(0)
    while piece := source.read(PIECE_BYTES):
        if isinstance(piece, str):
            raise TypeError('the file is open in text mode: open it with mode "rb"')
        if not isinstance(piece, bytes | bytearray | memoryview):  # a coroutine, for example
            raise ValueInvalid(
                f"A file is expected whose read() returns bytes, not {type(piece).__name__}: "
                "await the content, or assign what cache_form_part() returns"
            )
        yield piece


def cache_pieces(rules: type[Limits], pieces: Iterable[bytes], filename: str) -> CachedFile:
    """Write the pieces of a file into the cache, and check it. If that fails, nothing is left."""
    writer = CacheWriter(rules, filename)
    try:
        for piece in pieces:
            writer.write(piece)
        return writer.finish()
    except BaseException as error:
        writer.abort(error)
        raise


def cache_download(
    rules: type[Limits],
    downloader: Callable[[type[Limits], str, Mapping[str, str]], Any],
    url: str,
    headers: Mapping[str, str],
) -> CachedFile:
    """Copy what an uploader's `downloader` returns into the cache, and check it.

    Parameters:
      downloader: the function, or a class that makes one. If it returns an open file, that is
        closed. A source without a name gets the last part of the URL.
    """
    found = (downloader() if isinstance(downloader, type) else downloader)(rules, url, headers)
    if isinstance(found, CachedFile) and found.checked is not None and found.checked[0] is rules:
        return found
    named = isinstance(found, (Path, CachedFile, StoredFile, StoredVersion)) or hasattr(
        found, "filename"
    )
    try:
        return cache_upload(rules, found, "" if named else unquote(urlsplit(url).path))
    finally:
        if hasattr(found, "close"):
            found.close()


def _copy(
    rules: type[Limits],
    source: CachedFile | StoredFile | StoredVersion | UploaderVersion,
    filename: str,
) -> CachedFile:
    if isinstance(source, UploaderVersion):
        if source.stored is None:
            raise CacheFileMissing(f"There is no {source.name} to copy.")
        source = source.stored
    name = filename or getattr(source, "filename", "") or PurePosixPath(source.key).name
    try:
        with open_file(source.storage, source.key) as file:
            return cache_stream(rules, file, name)
    except FileNotFoundError:
        check_present(storage(source.storage))
        raise CacheFileMissing("The file to copy no longer exists.") from None


def _cache_once(
    rules: type[Limits], source: object, stream: IO[bytes], filename: str
) -> CachedFile:
    """Copy a form's part or an open file into the cache. If it cannot seek, it can be read only
    once: a transaction that runs again, and assigns it again, gets the file that is there already.

    Parameters:
      source: the part or the file, and `stream` its content.
      filename: empty for a part without one, whose field may have been left empty.

    Raises:
      NoFileChosen: the field was left empty.
      ValueError: somebody else has read from it, and it cannot seek.
    """
    seekable = _is_seekable(stream)
    if not seekable:
        if _is_cached(source):
            return _cached_before(rules, source)
        _check_unread(stream)
    pieces: Iterator[bytes] = _pieces(stream)
    if not filename:
        first = next(pieces, b"")
        if not first:
            raise NoFileChosen("No file was chosen.")
        pieces = chain([first], pieces)
    cached = cache_pieces(rules, pieces, filename)
    if not seekable:
        _remember(rules, source, cached)
    return cached


def _check_unread(stream: IO[bytes]) -> None:
    try:
        at = stream.tell()
    except (AttributeError, OSError, ValueError):
        return  # It does not know: a pipe, or a socket.
    if at:
        raise ValueError(
            f"{at} bytes of {type(stream).__name__} were read already, and it cannot seek: open it "
            "again, or assign the bytes"
        )


def _is_cached(part: object) -> bool:
    try:
        return part in _cached_parts
    except TypeError:  # it has no hash, or no weak references
        return False


def _cached_before(rules: type[Limits], part: object) -> CachedFile:
    checked_by, cached = _cached_parts[part]
    if not cached.exists():
        check_present(storage(cached.storage))
        raise CacheFileMissing("This upload was refused before, or it is saved: choose it again.")
    return cached if checked_by is rules else _copy(rules, cached, "")


def _remember(rules: type[Limits], part: object, cached: CachedFile) -> None:
    with suppress(TypeError):
        _cached_parts[part] = rules, cached


def _is_seekable(source: IO[bytes]) -> bool:
    return bool(source.seekable()) if hasattr(source, "seekable") else False


async def cache_form_part(
    rules: type[Limits],
    part: AsyncFormPart,
    run: Callable[..., Awaitable[Any]],
    run_slowly: Callable[..., Awaitable[Any]] | None = None,
) -> CachedFile | None:
    """Copy a part of a multipart form into the cache, on an event loop, and check it.

    Parameters:
      rules: the uploader class that is to take it.
      part: with a `filename`, and a `stream` to iterate over asynchronously (Falcon's ASGI part).
      run: awaits a blocking function's result, as `asyncio.to_thread` does.
      run_slowly: the same for the check of a file with very many parts, which may wait for other
        such checks. Give it threads of its own, and no other upload waits. If it is cancelled, it
        must wait for the end of a check that has begun. By default it is `run`.

    Returns:
      None for a form's file field in which no file was chosen.

    Raises:
      UploadError: the uploader does not take it; nothing is left behind.
    """
    if _is_cached(part):
        before: CachedFile = await run(_cached_before, rules, part)
        return before
    writer = CacheWriter(rules, form_filename(part)) if part.filename else None
    cached: CachedFile | None = None

    async def write(chunks: list[bytes], slowly: bool) -> None:
        await to_the_end(run(_write, writer, chunks, slowly))

    gathered = Gathered(write)
    # A request that is cancelled may leave the queue of the checks.
    slowly = run_slowly or (lambda work: to_the_end(run(work)))
    try:
        async for chunk in part.stream:
            if writer is None and chunk:
                writer = CacheWriter(rules, form_filename(part))
            await gathered.add(chunk)
            del chunk  # the next one may be long in coming
        chunks = await gathered.rest()
        if writer is None:
            return None
        cached = await to_the_end(run(_write_last, writer, chunks))
        if cached is None:
            finished: CachedFile = await slowly(writer.finish_slowly)
            cached = finished
    except BaseException as error:
        if cached is None and writer is not None:
            await to_the_end(_give_up(run, writer, gathered, error))
        raise
    finally:
        gathered.stop()
    _remember(rules, part, cached)
    return cached


async def _give_up(
    run: Callable[..., Awaitable[Any]],
    writer: CacheWriter,
    gathered: Gathered,
    error: BaseException,
) -> None:
    await gathered.given_up()
    await run(writer.abort, error)


def _write(writer: CacheWriter, chunks: list[bytes], slowly: bool = False) -> None:
    """Write some chunks of an upload, and let go of them; have the writer do so, too, if they come
    slowly."""
    for chunk in chunks:
        writer.write(chunk)
    chunks.clear()
    if slowly:
        writer.spill()


def _write_last(writer: CacheWriter, chunks: list[bytes]) -> CachedFile | None:
    """Write the last chunks of an upload. Returns what `finish_quickly()` returns."""
    if not chunks:
        writer.write(b"")
    _write(writer, chunks)
    return writer.finish_quickly()


def _from_data_uri(rules: type[Limits], uri: str) -> bytes:
    head, comma, data = uri.partition(",")
    if not head.startswith("data:") or not comma or not is_text(data):
        text = repr(f"{uri[:40]}…" if len(uri) > 40 else uri)
        raise DataUriInvalid(
            f"The text {text} is not a data URI such as data:image/gif;base64,R0lGODlh…: {_INSTEAD}"
        )
    rules.check_bytes(len(data) * 3 // 4 - 2 if head.endswith(";base64") else len(data) // 3)
    content = _ESCAPES.sub(_unescaped, data.encode())
    if not head.endswith(";base64"):
        return content
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        raise DataUriInvalid("The content of the data URI is not valid base64.") from None


def _data_uri_name(uri: str) -> str:
    """A file name for the type that a data URI says, as a file's name says what kind of text it is;
    empty for types that the content shows."""
    content_type = uri[len("data:") :].partition(",")[0].partition(";")[0].strip().lower()
    ending = text_extension(content_type or "text/plain")
    return f"upload.{ending}" if ending else ""


def _unescaped(escapes: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escapes[0].replace(b"%", b"").decode())
