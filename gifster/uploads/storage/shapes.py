"""The shape of the framework's keys, by which the sweep tells them from others.

A key in a cache is `[<cache_dir>/]5b/5b…`, with a token of 32 hexadecimal digits (`cache.new_key`).
A key in a store is `<store_dir>/<folder>/[<revision>/]<name>.<extension>` (`Uploader.plan`). The
folder is the beginning of the hash of the upload's key in the cache, 16 hexadecimal digits. The
revision is for versions that were made by a job of their own: eight digits, or `made` of an earlier
release. A derivation is in a folder `derived` beside its original.
"""

import hashlib
import re

_CACHED = re.compile(r"(?P<dir>(?:.+/)?)(?P<head>[0-9a-f]{2})/(?P=head)[0-9a-f]{30}")
_STORED = re.compile(
    r"(?P<dir>.+)/(?P<folder>[0-9a-f]{16})/(?:(?:made|[0-9a-f]{8})/)?(?:derived/)?"
    r"[^/]+\.[A-Za-z0-9]+"
)
_DERIVED = re.compile(r"(?P<beside>.+/)derived/[^/]+")


def cache_dir(key: str) -> str | None:
    """The folder of a key in a cache, `""` or `scans/`; None if it has another shape."""
    match = _CACHED.fullmatch(key)
    return match["dir"] if match else None


def store_dir_and_folder(key: str) -> tuple[str, str] | None:
    """The `store_dir()` and the folder of a key in a store; None if it has another shape."""
    match = _STORED.fullmatch(key)
    return (match["dir"], match["folder"]) if match else None


def beside(key: str) -> str | None:
    """What the key of the original begins with, if this is a derivation's; otherwise None."""
    match = _DERIVED.fullmatch(key) if store_dir_and_folder(key) is not None else None
    return match["beside"] if match else None


def folder_of(cache_key: str) -> str:
    """The folder in the store of an upload with this key in the cache."""
    return hashlib.sha256(cache_key.encode()).hexdigest()[:16]


def is_made_here(key: str) -> bool:
    """Whether a key has the shape of the framework's keys."""
    return cache_dir(key) is not None or store_dir_and_folder(key) is not None
