"""What these tests share."""

import pytest

from gifster.uploads import configure, endpoints
from gifster.uploads.testing import MemoryStorage
from tests.uploads.calling import Caller
from tests.uploads.endpoint.offers import PhotoUploader, ann


@pytest.fixture
def cache() -> MemoryStorage:
    storage = MemoryStorage()
    configure({"cache": storage}, secret="a secret")
    return storage


@pytest.fixture
def call(kind: str, cache: MemoryStorage) -> Caller:
    return Caller(endpoints.upload(PhotoUploader, allow=ann), kind)
