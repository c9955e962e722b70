"""GIFs as an upload leaves them: their files wait in the cache."""

from typing import Any

from gifster.app import library
from gifster.app.models import Gif, ImageUploader
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.sources import cache_upload
from tests import images

#: Few bytes, and quickly made.
SMALL = images.gif((20, 10))


def cached(content: bytes = SMALL, filename: str = "a.gif") -> CachedFile:
    return cache_upload(ImageUploader, content, filename)


def added(content: bytes = SMALL, **fields: Any) -> Gif:
    return library.add_gif(cached(content), **fields)
