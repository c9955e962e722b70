"""Where an upload can come from. Whatever it is, it is copied into the cache under a new key, and
checked on the way.

* an open file, a `Path`, or `bytes`
* a part of a multipart form (anything with a `filename` and a `stream` to read from)
* a file that a record has, stored or waiting, which is copied
* a data URI (RFC 2397), as canvases and paste boxes give them
* a cache id: what `cache_id()` gave out for a file that is in the cache already, so that a form can
  be shown again without its file being chosen again, or that a client wrote there directly
* a URL: `remote.py`
"""

import base64
import binascii
import io
import re
import time
import weakref
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import itsdangerous

from gifster.uploads.cache import PIECE_BYTES, CachedFile, CacheWriter, clean_filename, new_key
from gifster.uploads.config import config, storage
from gifster.uploads.errors import CacheFileMissing, CacheIdInvalid, DataUriInvalid
from gifster.uploads.storage.base import PresignedUpload, Presigning
from gifster.uploads.stored import StoredFile
from gifster.uploads.text import is_text
from gifster.uploads.validation import Limits

#: How long a cache id is good (seconds): the sweep leaves what is in the cache for an hour.
CACHE_ID_S = 3600
#: How old a file may be that is handed on (seconds). Whoever gets it has ten minutes to save it
#: before the sweep would take it for abandoned.
HAND_ON_S = 3000
#: Escapes in a URI, as many as stand together. `urllib` takes them one by one, and has each in
#: memory: 150 MB of them would be gigabytes.
_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_FORM_ESCAPES = re.compile("%(?:22|0[AaDd])")


#: What has been taken in of a form's parts, which can be read only once, and by whose rules.
_parts: MutableMapping[Any, tuple[type[Limits], CachedFile]] = weakref.WeakKeyDictionary()


def take_in(rules: type[Limits], source: Any, filename: str = "") -> CachedFile:
    """Take a whole upload into the cache.

    Parameters:
      source: an open binary file, which is read from its beginning if it can be, a `Path`, bytes, a
        form's part, a data URI, or a file that a record has: a `CachedFile` or a `StoredFile`, of
        which this becomes a copy.
      filename: the name to remember; by default the source's own.

    Raises:
      UploadError: the uploader does not take it; nothing is left behind.
      TypeError: the source is nothing of that kind.
    """
    if isinstance(source, str):
        return _take_in(rules, io.BytesIO(_from_data_uri(rules, source)), filename)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _take_in(rules, io.BytesIO(source), filename)
    if isinstance(source, Path):
        with source.open("rb") as file:
            return _take_in(rules, file, filename or source.name)
    if isinstance(source, (CachedFile, StoredFile)):
        return _copy(rules, source, filename)
    if hasattr(source, "stream") and hasattr(source, "filename"):
        return _take_in_form_part(rules, source, filename or form_filename(source))
    if hasattr(source, "read"):
        name = getattr(source, "name", "")
        return _take_in(rules, source, filename or (name if isinstance(name, str) else ""))
    raise TypeError(f"a {type(source).__name__} is no file, path, bytes, form part or data URI")


def _copy(rules: type[Limits], source: CachedFile | StoredFile, filename: str) -> CachedFile:
    try:
        with storage(source.storage).open(source.key) as file:
            return _take_in(rules, file, filename or source.filename)
    except FileNotFoundError:
        raise CacheFileMissing("The file that is to be copied is not there any more.") from None


def _take_in_form_part(rules: type[Limits], part: Any, filename: str) -> CachedFile:
    """A transaction that is run again assigns the same part again, which may have been read."""
    if _is_seekable(part.stream):
        return _take_in(rules, part.stream, filename)
    if _was_taken(part):
        return _taken_before(rules, part)
    cached = _take_in(rules, part.stream, filename)
    _remember(rules, part, cached)
    return cached


def form_filename(part: Any) -> str:
    """The name of a form part's file. Browsers write a quotation mark as `%22` and line ends as
    `%0D` and `%0A`, and a per cent sign as it is (WHATWG HTML, "multipart form data"); so only
    these three are decoded."""
    name = part.filename or ""
    return _FORM_ESCAPES.sub(lambda escape: chr(int(escape[0][1:], 16)), name)


def _was_taken(part: Any) -> bool:
    try:
        return part in _parts
    except TypeError:  # nothing that could be remembered
        return False


def _taken_before(rules: type[Limits], part: Any) -> CachedFile:
    by, cached = _parts[part]
    return cached if by is rules else _copy(rules, cached, "")


def _remember(rules: type[Limits], part: Any, cached: CachedFile) -> None:
    with suppress(TypeError):
        _parts[part] = rules, cached


def _is_seekable(source: Any) -> bool:
    return bool(source.seekable()) if hasattr(source, "seekable") else False


def _take_in(rules: type[Limits], source: IO[bytes], filename: str) -> CachedFile:
    if _is_seekable(source):
        source.seek(0)
    writer = CacheWriter(rules, filename)
    try:
        while piece := source.read(PIECE_BYTES):
            writer.write(piece)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


async def take_in_part(
    rules: type[Limits],
    part: Any,
    run: Callable[..., Awaitable[Any]],
    run_slowly: Callable[..., Awaitable[Any]] | None = None,
) -> CachedFile | None:
    """Take a part of a multipart form into the cache, on an event loop.

    Parameters:
      part: with a `filename`, and a `stream` to iterate over asynchronously (Falcon's ASGI part).
      run: awaits a blocking function's result, as `asyncio.to_thread` does.
      run_slowly: the same for the check of a file of very many parts, which may wait for others of
        its kind: with threads of its own, nobody waits for them. By default it is `run`.

    Returns:
      None for a form's file field in which no file was chosen.

    Raises:
      UploadError: the uploader does not take it; nothing is left behind.
    """
    if _was_taken(part):
        before: CachedFile = await run(_taken_before, rules, part)
        return before
    writer = CacheWriter(rules, form_filename(part)) if part.filename else None
    cached: CachedFile | None = None
    gathered = bytearray()
    try:
        async for chunk in part.stream:
            gathered += chunk
            if len(gathered) >= PIECE_BYTES:
                writer = writer or CacheWriter(rules, form_filename(part))
                piece, gathered = gathered, bytearray()
                await run(writer.write, piece)
                del piece  # before the next one is gathered
        if writer is None and not gathered:
            return None
        writer = writer or CacheWriter(rules, form_filename(part))
        await run(writer.write, gathered)
        gathered = bytearray()
        cached = await run(writer.finish_quickly)
        if cached is None:
            cached = await (run_slowly or run)(writer.finish_slowly)
    finally:
        if cached is None and writer is not None:
            await run(writer.abort)
    _remember(rules, part, cached)
    return cached


def _from_data_uri(rules: type[Limits], uri: str) -> bytes:
    head, comma, data = uri.partition(",")
    if not head.startswith("data:") or not comma or not is_text(data):
        raise DataUriInvalid("This is no data URI.")
    rules.check_bytes(len(data) * 3 // 4 - 2 if head.endswith(";base64") else len(data) // 3)
    content = _ESCAPES.sub(_unescaped, data.encode())
    if not head.endswith(";base64"):
        return content
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        raise DataUriInvalid("The data URI is not base64.") from None


def _unescaped(escapes: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escapes[0].replace(b"%", b"").decode())


def cache_id(cached: CachedFile, owner: str = "") -> str:
    """A text that stands for a cached file and can go through a client's hands: it is signed.

    Parameters:
      owner: whom the text is for, such as a user's id. Only `take_in_again()` for the same owner
        takes it, and gets the file itself. A text for nobody (empty) is good for whoever has it,
        and each use makes a copy.
    """
    if not owner or cached.checked is None:
        return _sign(owner, cached.storage, cached.key, cached.filename)
    rules, at = cached.checked
    cached.share()
    facts = {"rules": _name(rules), "at": at, "file": cached.dump()}
    return _sign(owner, cached.storage, cached.key, cached.filename, facts)


def take_in_again(rules: type[Limits], text: str, owner: str = "") -> CachedFile:
    """The file that a cache id stands for: itself if the id has an owner, else a copy.

    Several requests may get the same file by an id with an owner. The first that saves it in a
    record has it; the others get a `CacheFileTaken` from `save()`.

    Parameters:
      owner: who sends the id.

    Raises:
      CacheIdInvalid: it was not given out here, too long ago, or to another owner.
      CacheFileMissing: the file is not there.
      UploadError: the uploader does not take it.
    """
    try:
        name, key, filename, *facts = _signer(owner).loads(text, max_age=CACHE_ID_S)
    except (itsdangerous.BadData, ValueError):
        raise CacheIdInvalid("This upload has expired: choose the file again.") from None
    try:
        handed_on = _hand_on(rules, *facts) if facts else None
        if handed_on is not None:
            return handed_on
        with storage(name).open(key) as file:
            return _take_in(rules, file, filename)
    except FileNotFoundError:
        raise CacheFileMissing("There is no such upload: choose the file again.") from None


def _hand_on(rules: type[Limits], facts: dict[str, Any]) -> CachedFile | None:
    """The file itself; None if other rules checked it, or if the sweep may soon take it."""
    if facts["rules"] != _name(rules) or time.time() - facts["at"] > HAND_ON_S:
        return None
    cached = CachedFile.load(facts["file"])
    rules.check_bytes(cached.bytes)  # the limits may have changed since
    rules.check_info(cached.info)
    if not cached.exists():
        raise FileNotFoundError(cached.key)
    return cached.came(rules, facts["at"]).share()


def _name(rules: type[Limits]) -> str:
    return f"{rules.__module__}.{rules.__qualname__}"


@dataclass(frozen=True)
class DirectUpload:
    """For a client: the request that writes a file into the cache, and the id to send us then."""

    request: PresignedUpload
    cache_id: str


def presign(  # noqa: PLR0913, PLR0917
    rules: type[Limits],
    filename: str,
    size: int,
    content_type: str,
    expires_s: int = 900,
    owner: str = "",
) -> DirectUpload:
    """Let a client write one file directly into the cache (S3), to be assigned by its cache id.

    Parameters:
      filename, size, content_type: what the client says of the file (bytes). The storage takes no
        other size or type; the content is checked when it is assigned.
      expires_s: for how long the request may be made (seconds).
      owner: whom the cache id is for; see `cache_id()`. A direct upload is always copied: whoever
        has the request can write over it.

    Raises:
      UploadError: the uploader would not take such a file.
      TypeError: the cache is on a storage that clients cannot write into.
    """
    filename = clean_filename(filename)
    rules.check_name(filename)
    rules.check_bytes(size)
    kept, key = storage(rules.cache), new_key(rules)
    if not isinstance(kept, Presigning):
        raise TypeError(f"the cache {rules.cache!r} takes no direct uploads: it is no S3Storage")
    request = kept.presign(key, size, content_type, expires_s)
    return DirectUpload(request, _sign(owner, rules.cache, key, filename))


def _sign(owner: str, *parts: Any) -> str:
    text = _signer(owner).dumps(parts)
    return text.decode() if isinstance(text, bytes) else text


def _signer(owner: str) -> itsdangerous.URLSafeTimedSerializer:
    if not config.secret:
        raise LookupError("cache ids are signed: call gifster.uploads.configure(…, secret=…)")
    salt = f"gifster.uploads.cache:{owner}" if owner else "gifster.uploads.cache"
    return itsdangerous.URLSafeTimedSerializer(config.secret, salt=salt)
