"""A cached file as a worker gets it: on its own disk, and with the content that was checked."""

import io
from pathlib import Path
from typing import BinaryIO

import pytest

from gifster.uploads import CachedFile, configure, errors
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.testing import MemoryStorage
from tests import images
from tests.uploads.framework import AvatarUploader

GIF = images.gif()


class CountingStorage(MemoryStorage):
    """Counts the bytes that are read of it."""

    bytes_read = 0

    def open(self, key: str) -> BinaryIO:
        storage = self

        class Content(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                piece = super().read(size)
                storage.bytes_read += len(piece)
                return piece

        with super().open(key) as file:
            return Content(file.read())


@pytest.fixture
def cache() -> CountingStorage:
    storage = CountingStorage()
    configure({"cache": storage})
    return storage


@pytest.fixture
def cached(cache: CountingStorage) -> CachedFile:
    return cache_upload(AvatarUploader, GIF, "me.gif")


def test_a_file_elsewhere_is_read_once(cache: CountingStorage, cached: CachedFile):
    with cached.on_disk() as path:
        assert path.read_bytes() == GIF
    assert cache.bytes_read == len(GIF)
    assert not path.exists()


def test_a_file_that_changed_is_refused(cache: CountingStorage, cached: CachedFile):
    cache.files[cached.key] = images.gif(size=(30, 20))

    with pytest.raises(errors.CacheFileChanged), cached.on_disk():
        pass


def test_a_file_that_is_gone_is_missing(cached: CachedFile):
    cached.delete()

    with pytest.raises(errors.CacheFileMissing), cached.on_disk():
        pass


def test_a_file_that_the_worker_itself_misses_is_another_error(cached: CachedFile):
    with pytest.raises(FileNotFoundError), cached.on_disk():
        Path("nowhere").read_bytes()
