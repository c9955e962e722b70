"""What these tests share."""

import pytest

from gifster.uploads import endpoints
from gifster.uploads.testing import MemoryStorage
from tests.uploads.calling import Caller
from tests.uploads.endpoint.offers import PhotoUploader, ann


@pytest.fixture
def call(kind: str, cache: MemoryStorage) -> Caller:
    return Caller(endpoints.upload(PhotoUploader, allow=ann), kind)
