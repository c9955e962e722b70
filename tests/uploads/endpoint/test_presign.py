"""Direct uploads: a client writes its file to S3 itself."""

import pytest

from gifster.uploads import endpoints
from gifster.uploads.storage.s3 import S3Storage
from gifster.uploads.testing import MemoryStorage
from tests.uploads.calling import Caller
from tests.uploads.endpoint.offers import GIF, Offer, PhotoUploader, ann
from tests.uploads.framework import Application


@pytest.mark.parametrize("platform", ["S3 and PostgreSQL"], indirect=True)
def test_a_client_writes_to_s3_itself(application: Application, kind: str):
    import httpx

    application.create_tables(Offer)
    assert isinstance(application.cache, S3Storage)
    call = Caller(endpoints.presign(PhotoUploader, allow=ann), kind)

    # When a client asks how to write its file, and does so
    found = call("GET", f"?filename=cat.gif&type=image/gif&size={len(GIF)}")
    assert found.status_code == 200
    asked = found.json()
    assert asked["fields"] == {}
    wrote = httpx.request(asked["method"], asked["url"], headers=asked["headers"], content=GIF)
    assert wrote.status_code == 200

    # I expect that the record gets it
    offer = Offer()
    offer.photo_cache = asked["cache_id"]
    offer.save()
    application.work()
    assert Offer.get_by_id(offer.id).photo.stored.filename == "cat.gif"

    # and that a file that the uploader would refuse is refused now
    def code(query: str) -> str:
        return call("GET", query).json()["code"]

    assert code("?filename=cat.gif&type=image/gif&size=1000001") == "too_large"
    assert code("?filename=cat.pdf&type=application/pdf&size=10") == "type_not_allowed"
    assert code("?filename=cat.gif&type=image/gif&size=0") == "empty_file"
    assert code("?filename=cat.gif") == "size_invalid"
    assert code("?size=10&type=a%0Ab") == "type_invalid"


def test_a_cache_that_takes_no_direct_uploads_is_an_error_of_the_application(
    kind: str, cache: MemoryStorage, caplog: pytest.LogCaptureFixture
):
    answer = Caller(endpoints.presign(PhotoUploader, allow=ann), kind)("GET", "?size=10")

    assert answer.json()["code"] == "internal_error"
    assert "has no presign()" in caplog.text
