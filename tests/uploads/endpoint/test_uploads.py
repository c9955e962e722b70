"""The endpoint that takes uploads from scripts in a browser: what it takes, what it answers, and
what a record does with the cache id."""

import asyncio
from typing import Any

import pytest

from gifster.uploads import LocalFile, Uploader, endpoints, metadata, mount_uploader
from gifster.uploads.testing import MemoryStorage
from tests.uploads import documents
from tests.uploads.calling import AsgiClient, Caller
from tests.uploads.endpoint.offers import GIF, Offer, Offers, PhotoUploader, ann, form
from tests.uploads.framework import Application, Base


@pytest.mark.parametrize("platform", ["folders and SQLite", "S3 and PostgreSQL"], indirect=True)
def test_an_upload_becomes_a_records_file(application: Application, kind: str):
    # Given two uploads of Ann's: a form, and a file as the body
    application.create_tables(Offer, Offers)
    call = Caller(endpoints.upload(PhotoUploader, allow=ann), kind)
    answer = call("POST", **form(GIF))
    other = call("POST", "?filename=dog%20%22x%22.gif", content=GIF).json()

    # When her record takes them
    assert answer.status_code == 201
    found = answer.json()
    offer = Offer()
    offer.photo_cache = found.pop("cache_id")
    offer.save()
    offers = Offers()
    offers.photos.append_cache_id(other["cache_id"])
    offers.save()
    application.work()

    # I expect the very files, without a copy
    assert found == {
        "filename": "cat.gif",
        "content_type": "image/gif",
        "bytes": len(GIF),
        "width": 300,
        "height": 200,
        "frames": 4,
        "duration_ms": found["duration_ms"],
        "metadata": {},
    }
    assert Offer.get_by_id(offer.id).photo.stored.filename == "cat.gif"
    assert Offers.get_by_id(offers.id).photos[0].stored.filename == 'dog "x".gif'
    assert application.cached == []


def test_another_person_cannot_use_it(application: Application):
    call = Caller(endpoints.upload(PhotoUploader, allow=ann), "wsgi")
    found = call("POST", **form(GIF)).json()

    with pytest.raises(Exception, match="has expired"):
        Offer(owner="bob").photo_cache = found["cache_id"]


@pytest.mark.parametrize("name", ["file", "files[]"])
@pytest.mark.parametrize("filename", ["cat.gif", "Katze äöü 猫.gif", "../../etc/passwd"])
def test_forms(call: Caller, name: str, filename: str):
    answer = call("POST", **form(GIF, name, filename))

    assert answer.json()["filename"] == filename.rpartition("/")[2]
    assert answer.headers["cache-control"] == "no-store"


def test_a_form_in_pieces_of_one_byte(cache: MemoryStorage):
    # A boundary may be torn anywhere.
    boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
    head = 'Content-Disposition: form-data; name="file"; filename="a\r\n'.strip() + '%22b.gif"'
    body = f"--{boundary}\r\n{head}\r\n\r\n".encode() + GIF + f"\r\n--{boundary}--\r\n".encode()
    client = AsgiClient([body[i : i + 1] for i in range(len(body))])

    endpoint = endpoints.upload(PhotoUploader, allow=ann)
    client.call(endpoint, "POST", content_type=f"multipart/form-data; boundary={boundary}")

    assert client.sent[0]["status"] == 201
    assert list(cache.files.values()) == [GIF]
    assert b'"filename": "a\\"b.gif"' in client.sent[1]["body"]


def test_a_cache_id_may_be_for_everyone(application: Application):
    call = Caller(endpoints.upload(Uploader, allow=lambda _: True), "wsgi")
    found = call("POST", content=GIF).json()

    class AnyUploader(Uploader):
        pass

    class Memo(Base):
        picture = mount_uploader(AnyUploader)

    note = Memo()
    note.picture_cache = found["cache_id"]
    assert note.picture.assigned.bytes == len(GIF)


def test_facts_of_the_uploader_are_in_the_answer(kind: str, cache: MemoryStorage):
    class CvUploader(Uploader):
        allow_types = {"application/pdf"}

        @metadata
        def pages(self, file: LocalFile) -> int:
            return documents.count_pages(file.path)

    answer = Caller(endpoints.upload(CvUploader, allow=ann), kind)("POST", content=documents.pdf(3))

    assert answer.json()["metadata"] == {"pages": 3}


def test_an_endpoint_can_be_served_alone(cache: MemoryStorage):
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    endpoint = endpoints.upload(PhotoUploader, allow=ann)
    asyncio.run(endpoint.asgi({"type": "lifespan"}, receive, send))

    assert [each["type"] for each in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
