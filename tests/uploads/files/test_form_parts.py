"""The parts of a form, as web frameworks hand them over, are sources as they are."""

import asyncio
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
from django.conf import settings
from django.core.files.uploadedfile import (
    InMemoryUploadedFile,
    SimpleUploadedFile,
    TemporaryUploadedFile,
)
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import parse_form_data
from werkzeug.test import create_environ

from gifster.uploads.errors import EmptyFile
from tests import images
from tests.conftest import Platform
from tests.uploads.framework import Application, AvatarUploader, Person

GIF = images.noisy_gif((400, 300), 2)
NAME = "my cat.gif"
#: More than what the frameworks keep in memory.
LARGE = images.noisy_gif((1300, 1100), 1)


def encoded(content: bytes, filename: str) -> tuple[bytes, str]:
    """A form with one file, and its content type."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="avatar"; filename="%b"\r\n'
        b"Content-Type: text/html\r\n\r\n%b\r\n--b--\r\n" % (filename.encode(), content)
    )
    return body, "multipart/form-data; boundary=b"


def werkzeug(content: bytes, filename: str) -> FileStorage:
    body, content_type = encoded(content, filename)
    environ = create_environ(method="POST", data=body, content_type=content_type)
    _, _, files = parse_form_data(environ)
    return files["avatar"]


def starlette(content: bytes, filename: str) -> UploadFile:
    body, content_type = encoded(content, filename)

    async def parsed() -> Any:
        async def stream() -> Any:
            yield body

        scope = {"type": "http", "headers": [(b"content-type", content_type.encode())]}
        return await MultiPartParser(Request(scope).headers, stream()).parse()

    return asyncio.run(parsed())["avatar"]


def falcon_part(content: bytes, filename: str) -> Any:
    body, content_type = encoded(content, filename)
    environ = falcon.testing.create_environ(
        method="POST", body=body, headers={"Content-Type": content_type}
    )
    return next(iter(falcon.Request(environ).get_media()))


@pytest.fixture(scope="module", autouse=True)
def _django() -> None:
    if not settings.configured:
        settings.configure()


def django_in_memory(content: bytes, filename: str) -> InMemoryUploadedFile:
    return SimpleUploadedFile(filename, content, "text/html")


def django_on_disk(content: bytes, filename: str) -> TemporaryUploadedFile:
    upload = TemporaryUploadedFile(filename, "text/html", len(content), None)
    upload.write(content)
    upload.seek(0)
    return upload


PARTS = [werkzeug, starlette, falcon_part, django_in_memory, django_on_disk]
#: Those whose content can be read again; Falcon's comes directly from the connection.
SEEKABLE = [part for part in PARTS if part is not falcon_part]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """One is enough: a part is in the cache before it meets anything else."""
    return Platform(f"sqlite:///{tmp_path}/var/parts.db", None)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("content", [GIF, LARGE], ids=["small", "large"])
def test_a_part_is_a_source(
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
    part: Callable[[bytes, str], Any],
    content: bytes,
):
    monkeypatch.setattr(AvatarUploader, "max_bytes", len(LARGE))

    cached = Person(avatar=part(content, NAME)).avatar.assigned

    assert cached.filename == NAME
    assert cached.sha256 == hashlib.sha256(content).hexdigest()
    # The content decides, whatever the client said
    assert cached.info.content_type == "image/gif"


@pytest.mark.parametrize("part", SEEKABLE)
def test_a_part_that_was_read_before_is_read_from_its_beginning(
    application: Application, part: Callable[[bytes, str], Any]
):
    upload = part(GIF, NAME)
    content = upload.file if isinstance(upload, UploadFile) else upload
    assert content.read(10) == GIF[:10]

    assert Person(avatar=upload).avatar.assigned.bytes == len(GIF)


@pytest.mark.parametrize("part", [werkzeug, starlette, falcon_part])
def test_a_field_in_which_no_file_was_chosen_changes_nothing(
    application: Application, part: Callable[[bytes, str], Any]
):
    person = Person(avatar=GIF)
    person.save()
    application.work()
    person = Person.get_by_id(person.id)

    person.avatar = part(b"", "")
    person.save()
    application.work()

    assert Person.get_by_id(person.id).avatar.stored.bytes == len(GIF)
    with pytest.raises(EmptyFile):
        person.avatar = part(b"", "empty.gif")


def test_the_large_file_is_more_than_frameworks_keep_in_memory():
    assert not starlette(LARGE, NAME)._in_memory
    assert not isinstance(werkzeug(LARGE, NAME).stream, io.BytesIO)
