"""What the keys look like that the framework makes, so that a sweep can tell them from others.

In a cache `[<cache_dir>/]5b/5b…`, a token of 32 hexadecimal digits (`cache.new_key`). In a store
`<store_dir>/<folder>/[<revision>/]<name>.<extension>` (`Uploader.plan`), where the folder has 16
digits, which follow from the key that the upload had in the cache; versions that were made again
are in a revision, `made` or eight digits.
"""

import hashlib
import re

_CACHED = re.compile(r"(?P<dir>(?:.+/)?)(?P<head>[0-9a-f]{2})/(?P=head)[0-9a-f]{30}")
_STORED = re.compile(
    r"(?P<dir>.+)/(?P<folder>[0-9a-f]{16})/(?:(?:made|[0-9a-f]{8})/)?[^/]+\.[A-Za-z0-9]+"
)


def cache_dir(key: str) -> str | None:
    """What a key of a cache begins with, `""` or `scans/`; None if it is no such key."""
    match = _CACHED.fullmatch(key)
    return match["dir"] if match else None


def store_dir_and_folder(key: str) -> tuple[str, str] | None:
    """The `store_dir()` of a stored key and the folder of its upload; None if it is no such key."""
    match = _STORED.fullmatch(key)
    return (match["dir"], match["folder"]) if match else None


def folder_of(cache_key: str) -> str:
    """The folder that an upload with that key in the cache is stored in."""
    return hashlib.sha256(cache_key.encode()).hexdigest()[:16]


def is_made_here(key: str) -> bool:
    """Whether a key looks like one that the framework makes."""
    return cache_dir(key) is not None or store_dir_and_folder(key) is not None
