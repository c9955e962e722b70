"""The endpoint for resumable uploads: tus 1.0 as a client sees it, on each kind of storage and
database."""

import sqlite3
from contextlib import closing

import httpx
import pytest

from gifster.uploads import endpoints
from gifster.uploads.resumable import rows
from gifster.uploads.resumable.table import ResumableUpload
from tests.combinations import on_one_platform
from tests.tus import Tus, metadata
from tests.uploads.calling import Caller
from tests.uploads.framework import Application
from tests.uploads.tus.films import GIF, FilmUploader, Show, show, who


@pytest.mark.parametrize("platform", ["folders and SQLite", "S3 and PostgreSQL"], indirect=True)
def test_an_upload_in_two_requests_becomes_a_records_file(app: Application, tus: Tus):
    # Given an upload of which the first half has come
    half = len(GIF) // 2
    path = tus.begun(len(GIF))
    assert tus.offset(path) == 0
    first = tus.patch(path, 0, GIF[:half])
    assert first.status_code == 204
    assert first.headers["Upload-Offset"] == str(half) == str(tus.offset(path))
    assert first.headers["Upload-Expires"].endswith("GMT")
    assert tus.told(path) == {"offset": half, "length": len(GIF), "error": None}

    # When the rest comes, in a request of its own
    second = tus.patch(path, half, GIF[half:])
    assert (second.status_code, second.headers["Upload-Offset"]) == (204, str(len(GIF)))

    # Then a record takes it, and nothing else stays in the cache
    told = tus.told(path)
    assert (told["filename"], told["bytes"], told["width"]) == ("cat.gif", len(GIF), 300)
    record = show(told)
    app.work()
    assert Show.get_by_id(record.id).film.read() == GIF
    assert app.cached == []
    assert tus.head(path).headers["Upload-Length"] == str(len(GIF))


def test_a_creation_may_bring_all_or_some_content(one: Tus):
    whole = one.create(len(GIF), GIF)
    some = one.create(len(GIF), GIF[:1000])

    assert (whole.status_code, whole.headers["Upload-Offset"]) == (201, str(len(GIF)))
    assert whole.headers["Location"].startswith("/mounted/")
    assert some.headers["Upload-Offset"] == "1000"
    assert some.headers["Upload-Expires"].endswith("GMT")


def test_what_the_server_can_do(one: Tus):
    answer = one.call("OPTIONS")

    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation", "creation-with-upload", "termination", "checksum", "expiration"
    }  # fmt: skip
    assert answer.headers["Tus-Max-Size"] == "1000000"
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"


def test_a_page_of_another_origin_sees_the_headers(app: Application):
    origin = {"Origin": "https://app.example.org"}
    endpoint = endpoints.tus(
        FilmUploader, allow=who, origins=["https://app.example.org"], at_once=1
    )
    call = Caller(endpoint, "wsgi")

    asks = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "x-a"}
    preflight = call("OPTIONS", "/" + "a" * 32, headers={**origin, **asks})
    answer = Tus(call).create(9, **origin)
    path = answer.headers["Location"].removeprefix("/mounted")
    endpoint.places.take()
    busy = Tus(call).patch(path, 0, b"GIF89a", **origin)
    refused = Tus(call).create(9, Origin="https://evil.example.org")

    def exposed(answer: httpx.Response) -> set[str]:
        return set(answer.headers["Access-Control-Expose-Headers"].split(", "))

    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert preflight.status_code == 204
    assert "Content-Length" not in preflight.headers  # RFC 9110, 8.6
    assert exposed(preflight) >= {"Tus-Version", "Tus-Extension", "Tus-Max-Size"}
    assert exposed(answer) == {"Location", "Tus-Resumable", "Upload-Offset", "Upload-Expires"}
    assert busy.status_code == 503
    assert exposed(busy) == {"Retry-After", "Tus-Resumable"}
    assert refused.json()["code"] == "cross_origin"


@on_one_platform
@pytest.mark.parametrize("kind", ["wsgi"])
def test_a_database_that_is_busy_says_when_to_come_again(
    app: Application, tus: Tus, caplog: pytest.LogCaptureFixture
):
    # Given a writer that holds the lock of SQLite for longer than anybody waits
    path = tus.begun(len(GIF))
    app.database.execute_sql("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(app.database.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = tus.patch(path, 0, GIF)

    # I expect an answer that a client tries again, and a line of the log
    assert (answer.status_code, answer.json()["code"]) == (503, "database_busy")
    assert answer.headers["Retry-After"] == "2"
    assert "database is locked" in caplog.text
    assert tus.patch(path, tus.offset(path), GIF[tus.offset(path) :]).status_code == 204


class TestRefusals:
    def test_another_type_is_refused_as_soon_as_it_shows(self, app: Application, tus: Tus):
        path = tus.begun(500_000)

        answer = tus.patch(path, 0, b"%PDF-1.7\n" + b"x" * 300_000)

        assert (answer.status_code, answer.json()["code"]) == (415, "type_not_allowed")
        assert tus.head(path).status_code == 410
        assert tus.patch(path, 0, GIF).status_code == 410
        assert tus.told(path)["error"]["code"] == "type_not_allowed"
        assert app.cached == []

    def test_a_damaged_picture_is_refused_at_its_end(self, app: Application, one: Tus):
        damaged = GIF[:200]
        path = one.begun(len(damaged), damaged[:100])

        answer = one.patch(path, 100, damaged[100:])

        assert (answer.status_code, answer.json()["code"]) == (422, "truncated")
        assert one.head(path).status_code == 410
        assert one.told(path)["error"]["message"]
        assert app.cached == []

    @pytest.mark.parametrize(
        ("length", "status", "code"),
        [
            ("1000001", 413, "too_large"),
            ("0", 422, "empty_file"),
            ("", 400, "upload_length_invalid"),
            ("-1", 400, "upload_length_invalid"),
            ("9" * 19, 400, "upload_length_invalid"),
        ],
    )
    def test_a_length_that_is_refused(self, one: Tus, length: str, status: int, code: str):
        answer = one.create(length)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert ResumableUpload.select().count() == 0

    def test_a_declared_type_that_is_refused(self, one: Tus):
        told = metadata(filename="a.pdf", filetype="application/pdf")
        assert one.create(9, Upload_Metadata=told).status_code == 415

    @pytest.mark.parametrize(
        "text", ["filename !", "a YQ==,a YQ==", "a YQ== b", "a gA==", "a AA=="]
    )
    def test_metadata_that_is_malformed(self, one: Tus, text: str):
        answer = one.create(9, Upload_Metadata=text)
        assert (answer.status_code, answer.json()["code"]) == (400, "upload_metadata_invalid")

    @pytest.mark.parametrize("text", ["", "a", "a ,b YQ==", "a YQ==, b", "filename w7w="])
    def test_metadata_is_given_back(self, one: Tus, text: str):
        path = one.begun(9, Upload_Metadata=text)
        assert one.head(path).headers.get("Upload-Metadata", "") == text

    @pytest.mark.parametrize("version", ["", "0.2.2", "1.0.1"])
    def test_another_version(self, one: Tus, version: str):
        path = one.begun(9)
        for answer in (one.create(9, Tus_Resumable=version), one.head(path, Tus_Resumable=version)):
            assert answer.status_code == 412
            assert answer.headers["Tus-Version"] == "1.0.0"

    def test_other_requests(self, one: Tus):
        path = one.begun(len(GIF))
        assert one.patch(path, 0, GIF, Content_Type="image/gif").status_code == 415
        assert one.call("PUT", path).status_code == 405
        assert one.call("GET", "/").status_code == 405
        assert one.call("HEAD", "/../secret").status_code == 404
        assert one.head("/" + "a" * 32).status_code == 404
        assert one.head(path.upper()).status_code == 404

    def test_somebody_elses_upload_does_not_exist(self, tus: Tus):
        path = tus.begun(len(GIF))
        bob = {"X_User": "bob"}
        assert tus.head(path, **bob).status_code == 404
        assert tus.patch(path, 0, GIF, **bob).status_code == 404
        assert tus.call("GET", path, headers={"X-User": "bob"}).status_code == 404
        assert tus.offset(path) == 0

    def test_another_endpoint_does_not_know_it(self, app: Application, one: Tus):
        class OtherUploader(FilmUploader):
            pass

        path = one.begun(len(GIF))
        other = Tus(Caller(endpoints.tus(OtherUploader, allow=who), "wsgi"))
        assert other.head(path).status_code == 404

    def test_many_at_once(self, app: Application):
        endpoint = endpoints.tus(FilmUploader, allow=who, at_once=1)
        one = Tus(Caller(endpoint, "wsgi"))
        path = one.begun(len(GIF))
        endpoint.places.take()

        assert one.patch(path, 0, GIF).status_code == 503
        assert one.create(len(GIF), GIF).status_code == 503
        assert ResumableUpload.select().count() == 1  # its client knows its address

        endpoint.places.leave()
        assert one.patch(path, 5, GIF).status_code == 409
        assert one.patch(path, 0, GIF).status_code == 204

    def test_without_tables(self, application: Application):
        with pytest.raises(LookupError, match=r"database.bind\(gifster.uploads.TABLES\)"):
            rows.find(FilmUploader, "a" * 32)

    @pytest.mark.parametrize("options", [{"at_once": 0}, {"lives_s": 0}])
    def test_options(self, options: dict[str, int]):
        with pytest.raises(ValueError, match="both must be at least 1"):
            endpoints.tus(FilmUploader, allow=who, **options)
