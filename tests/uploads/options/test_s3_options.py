"""The options of S3: the addresses of files, and headers."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gifster.uploads import S3Storage, StoredFile
from gifster.uploads.testing import MemoryStorage, keep
from tests import images
from tests.s3 import S3Server
from tests.uploads.framework import (
    Application,
    Company,
    LogoUploader,
    Person,
)


@pytest.mark.parametrize(
    ("bucket", "region", "client_options", "url"),
    [
        # CarrierWave's spec/storage/fog_helper.rb, "#public_url"
        ("foobar", "us-east-2", {}, "https://foobar.s3.us-east-2.amazonaws.com/"),
        ("foobar", "eu-central-1", {}, "https://foobar.s3.eu-central-1.amazonaws.com/"),
        ("foo.bar", "eu-central-1", {}, "https://s3.eu-central-1.amazonaws.com/foo.bar/"),
        ("foobar", "us-gov-west-1", {"use_fips_endpoint": True},
         "https://foobar.s3-fips.us-gov-west-1.amazonaws.com/"),
        ("foobar", "eu-central-1", {"use_dualstack_endpoint": True},
         "https://foobar.s3.dualstack.eu-central-1.amazonaws.com/"),
        ("foobar", "us-east-1", {"s3": {"use_accelerate_endpoint": True}},
         "https://foobar.s3-accelerate.amazonaws.com/"),
    ],
)  # fmt: skip
def test_a_public_file_has_the_plain_address_of_the_bucket(
    bucket: str, region: str, client_options: Mapping[str, Any], url: str
):
    storage = S3Storage(bucket, region=region, public=True, client_options=client_options,
                        access_key_id="key", secret_access_key="secret")  # fmt: skip

    assert storage.url("a/b.gif") == f"{url}a/b.gif"
    signed = storage.url("a/b.gif", expires_s=60)
    assert signed.startswith(f"{url}a/b.gif?")
    assert parse_qs(urlsplit(signed).query)["X-Amz-Expires"] == ["60"]


def test_a_public_file_needs_no_credentials():
    other = S3Storage("bucket", endpoint_url="https://s3.example.org", public=True, prefix="p/")

    assert other.url("a.gif") == "https://s3.example.org/bucket/p/a.gif"


def test_a_public_file_can_be_read_by_anybody(s3_server: S3Server):
    storage = s3_server.storage("public", public=True)
    keep(storage, "a.gif", b"content")

    # rclone's server asks for a signature all the same, so this shows only where it leads
    assert storage.url("a.gif") == f"{s3_server.url}/public/a.gif"
    assert httpx.get(storage.url("a.gif", expires_s=60)).content == b"content"


def test_a_signed_url_can_change_the_answer(s3_server: S3Server, application: Application):
    storage = application.store = s3_server.storage("answers", base_url="https://cdn.example.org")
    application.configure()
    company = Company.create(logo=images.gif())

    assert company.logo.url().startswith("https://cdn.example.org/")
    url = company.logo.url(ResponseContentDisposition='attachment; filename="a b.gif"')
    assert parse_qs(urlsplit(url).query)["response-content-disposition"] == [
        'attachment; filename="a b.gif"'
    ]
    assert httpx.get(url).content == images.gif()
    small = company.logo.stored.versions["small"].url(60, ResponseContentType="text/plain")
    assert "response-content-type=text" in small
    assert storage.url(company.logo.stored.key, 60, ResponseContentType="x/y").count("x%2Fy") == 1


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, s3_server: S3Server) -> dict[str, dict[str, str]]:
    """The headers of the uploads to a real server, by key."""
    headers: dict[str, dict[str, str]] = {}

    def note(request: Any, **_: Any) -> None:
        values = {name: _text(value) for name, value in request.headers.items()}
        headers[urlsplit(request.url).path.split("/", 2)[2]] = values

    storage = s3_server.storage("headers")
    storage._connected().meta.events.register("before-send.s3.PutObject", note)
    yield headers
    storage._connected().meta.events.unregister("before-send.s3.PutObject", note)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def test_a_storage_sends_its_headers_with_each_upload(
    s3_server: S3Server, sent: dict[str, dict[str, str]]
):
    storage = s3_server.storage(
        "headers", acl="public-read", cache_control="no-store", encryption="AES256",
        upload_options={"StorageClass": "STANDARD_IA", "Metadata": {"by": "us"}},
    )  # fmt: skip

    keep(storage, "a.gif", b"content")

    headers = sent["a.gif"]
    assert headers["x-amz-acl"] == "public-read"
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["x-amz-server-side-encryption"] == "AES256"
    assert headers["x-amz-meta-by"] == "us"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("model", [Company, Person])
def test_an_uploader_adds_headers_for_each_file(
    application: Application, s3_server: S3Server, sent: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch, model: Any,
):  # fmt: skip
    def options(self: Any, version: str | None, upload: StoredFile) -> Mapping[str, Any]:
        if version is None:
            return {"ContentDisposition": f"attachment; filename={upload.filename}"}
        return {"CacheControl": f"max-age={self.record.id}", "ACL": "private"}

    column = {Company: "logo", Person: "avatar"}[model]
    monkeypatch.setattr(getattr(model, column).uploader, "upload_options", options)
    application.store = s3_server.storage("headers", cache_control="no-store", acl="public-read")
    application.configure()

    # With a column that `save()` stores, and with one that a worker stores
    record = model()
    getattr(record, column).assign(images.gif(), "me.gif")
    record.save()
    application.work()

    stored = getattr(model.get_by_id(record.id), column).stored
    [small] = stored.versions.values()
    original, version = sent[stored.key], sent[small.key]
    assert original["Content-Disposition"] == "attachment; filename=me.gif"
    assert (original["Cache-Control"], original["x-amz-acl"]) == ("no-store", "public-read")
    assert (version["Cache-Control"], version["x-amz-acl"]) == (f"max-age={record.id}", "private")
    assert "Content-Disposition" not in version


def test_a_storage_that_takes_no_options_gets_none(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(LogoUploader, "upload_options", lambda *_: {"ContentDisposition": "x"})

    for storage in (application.store, MemoryStorage()):
        application.store = storage
        application.configure()
        assert Company.create(logo=images.gif()).logo


def test_an_unknown_header_is_refused(s3_server: S3Server):
    with pytest.raises(ValueError, match="StorgeClass"):
        keep(s3_server.storage(upload_options={"StorgeClass": "GLACIER"}), "a.gif", b"content")
