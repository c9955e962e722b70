"""Cache ids: signed texts that stand for a cached file while it goes through a client's hands.

A form that is shown again carries one in a hidden field, so that nobody has to choose the file
again. A client that wrote into the cache directly (`presign()`) sends one to have its file
assigned.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import itsdangerous

from gifster import jobs
from gifster.uploads.config import config, storage
from gifster.uploads.content_types import UNKNOWN_TYPE
from gifster.uploads.errors import CacheFileMissing, CacheIdInvalid
from gifster.uploads.files.access import open_file
from gifster.uploads.files.cache import YOUNG_S, CachedFile, new_key
from gifster.uploads.files.filenames import clean_filename
from gifster.uploads.files.sources import cache_stream
from gifster.uploads.files.validation import Limits
from gifster.uploads.storage.base import (
    PresignedUpload,
    Presigning,
    PresigningForms,
    check_present,
)

logger = logging.getLogger("gifster.uploads")

_SALT = "gifster.uploads.cache"
#: Why an id is refused, for the log. The client never learns it.
EXPIRED = "it has expired"
OTHER_OWNER = "it is for another owner"
FORGED = "it was not made here, or with a secret that is not known any more"
#: How long a cache id is valid (seconds). The sweep leaves cached files alone for as long.
CACHE_ID_S = 3600
#: How old a file may be that `retrieve()` returns itself (seconds). An older one is copied.
SHARED_S = YOUNG_S


def cache_id(cached: CachedFile, owner: str = "") -> str:
    """A signed text that stands for a cached file.

    Parameters:
      owner: whom the id is for, such as a user's id. Only `retrieve()` for the same owner accepts
        it, and returns the file itself. An id for nobody (empty) is valid for everyone, and
        `retrieve()` returns a copy each time.
    """
    if not owner or cached.checked is None:
        return _sign(owner, cached.storage, cached.key, cached.filename)
    rules, at = cached.checked
    cached.share()
    facts = {"rules": _name(rules), "at": at, "file": cached.dump()}
    return _sign(owner, cached.storage, cached.key, cached.filename, facts)


def retrieve(rules: type[Limits], text: str, owner: str = "") -> CachedFile:
    """The file that a cache id stands for: the file itself if the id has an owner, else a copy.

    Several requests may retrieve the same file by an id with an owner. The first that saves it in a
    record gets it; `save()` raises `CacheFileTaken` for the others.

    Parameters:
      rules: the uploader class that is to take the file.
      text: the cache id.
      owner: who sends the id.

    Raises:
      CacheIdInvalid: the id has expired, is for another owner, or was not made here.
      CacheFileMissing: the file is gone.
      UploadError: the uploader does not take the file.
    """
    try:
        name, key, filename, *facts = _loaded(text, owner)
    except _Refused as refused:
        level = logging.INFO if refused.reason == EXPIRED else logging.WARNING
        logger.log(level, "cache id refused uploader=%s reason=%r", _name(rules), refused.reason)
        raise CacheIdInvalid("This upload has expired. Choose the file again.") from None
    try:
        shared = _shared(rules, *facts) if facts else None
        if shared is not None:
            return shared
        with open_file(name, key) as file:
            return cache_stream(rules, file, filename).copied(key)
    except FileNotFoundError:
        check_present(storage(name))
        reason = "its file is gone"
        logger.info("cache id refused uploader=%s reason=%r key=%s", _name(rules), reason, key)
        raise CacheFileMissing("This upload no longer exists. Choose the file again.") from None


def _shared(rules: type[Limits], facts: Mapping[str, Any]) -> CachedFile | None:
    """The file itself; None if other rules checked it, or if the sweep may soon remove it."""
    if facts["rules"] != _name(rules) or jobs.now() - facts["at"] > SHARED_S:
        return None
    cached = CachedFile.load(facts["file"])
    rules.check_bytes(cached.bytes)  # the limits may have changed since
    rules.check_info(cached.info)
    if not cached.exists():
        raise FileNotFoundError(cached.key)
    return cached.received(rules, facts["at"]).share()


def _name(rules: type[Limits]) -> str:
    return f"{rules.__module__}.{rules.__qualname__}"


@dataclass(frozen=True)
class DirectUpload:
    """How a client writes a file into the cache.

    Attributes:
      request: the request to make.
      cache_id: the text to send here afterwards.
      key: where the file is going to be in the cache; a secret.
    """

    request: PresignedUpload
    cache_id: str
    key: str


def presign(  # noqa: PLR0913, PLR0917
    rules: type[Limits],
    filename: str,
    size: int,
    content_type: str,
    expires_s: int = 900,
    owner: str = "",
    *,
    form: bool = False,
) -> DirectUpload:
    """Let a client write one file directly into the cache (S3), to be assigned by its cache id.

    Parameters:
      rules: the uploader class that is to take the file.
      filename, size, content_type: what the client says about the file (size in bytes). The storage
        refuses any other size or type. The uploader checks the content when the file is assigned.
        An empty type, or `application/octet-stream`, says nothing.
      expires_s: how long the client may make the request (seconds).
      owner: whom the cache id is for; see `cache_id()`. `retrieve()` always copies a direct upload,
        because the client can still write over it.
      form: whether the client is going to send a form (`POST`), as a page without a script does. It
        may also be smaller than `size`.

    Raises:
      UploadError: the uploader refuses such a file, whatever its content is.
      TypeError: the cache's storage does not support direct uploads.
    """
    filename = clean_filename(filename)
    rules.check_declared(filename, size, content_type)
    kept, key = storage(rules.cache), new_key(rules)
    content_type = content_type or UNKNOWN_TYPE
    if form and isinstance(kept, PresigningForms):
        sizes = (min(rules.min_bytes or 0, size), size)
        request = kept.presign_form(key, sizes, content_type, expires_s)
    elif not form and isinstance(kept, Presigning):
        request = kept.presign(key, size, content_type, expires_s)
    else:
        raise TypeError(
            f"clients cannot upload into the cache {rules.cache!r}: {type(kept).__name__} has no "
            f"{'presign_form' if form else 'presign'}(). Use an S3Storage"
        )
    return DirectUpload(request, _sign(owner, rules.cache, key, filename), key)


# An id is signed twice: for its owner, and then for everybody. So the log can tell an id of another
# owner from one that was not made here, and nothing is decoded that was not.


def _sign(owner: str, *parts: object) -> str:
    return _seal().sign(_signer(owner).dumps(parts)).decode()


class _Refused(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _loaded(text: str, owner: str) -> Any:
    """The parts of a cache id. Raises `_Refused`, with the reason, for one that is not valid."""
    signer, is_ours = _signer(owner), False
    try:
        with suppress(itsdangerous.BadSignature):  # the release before made ids without a seal
            text, is_ours = _seal().unsign(text).decode(), True
        return signer.loads(text, max_age=CACHE_ID_S)
    except itsdangerous.SignatureExpired:
        raise _Refused(EXPIRED) from None
    except (itsdangerous.BadData, ValueError, AttributeError, TypeError):  # or not even a text
        raise _Refused(OTHER_OWNER if is_ours else FORGED) from None


def _signer(owner: str) -> itsdangerous.URLSafeTimedSerializer:
    salt = f"{_SALT}:{owner}" if owner else _SALT
    return itsdangerous.URLSafeTimedSerializer(_secrets(), salt=salt)


def _seal() -> itsdangerous.Signer:
    return itsdangerous.Signer(_secrets(), salt=f"{_SALT} made here")


def _secrets() -> list[str]:
    if not config.secret:
        raise LookupError("cache ids are signed: call gifster.uploads.configure(…, secret=…)")
    return config.secrets
