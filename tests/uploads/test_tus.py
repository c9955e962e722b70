"""The endpoint for resumable uploads: tus 1.0 as a client sees it, on each kind of storage and
database."""

import io
import time
from typing import Any

import peewee
import pytest

from gifster import uploads
from gifster.uploads import (
    Backgrounder,
    CacheField,
    Uploader,
    endpoints,
    mount_uploader,
    store_in_background,
)
from gifster.uploads.resumable import receiving, rows
from gifster.uploads.resumable.rows import ResumableUpload, Stage
from gifster.uploads.sweep import sweep
from tests import images
from tests.tus import CONTENT, Tus, checksum, metadata
from tests.uploads.calling import AsgiClient, Caller
from tests.uploads.framework import Application, Base

GIF = images.gif((300, 200))


class FilmUploader(Backgrounder, Uploader):
    max_bytes = 1_000_000

    def cache_owner(self) -> str:
        return self.record.owner


@store_in_background("film")
class Show(Base):
    owner = peewee.CharField(default="ann")
    film = mount_uploader(FilmUploader)
    film_tmp = CacheField()


def who(about: dict[str, Any]) -> str:
    """The person of a request: Ann, unless a header names another."""
    headers = dict(about.get("headers", ()))
    return headers.get(b"x-user", b"").decode() or about.get("HTTP_X_USER", "ann")


@pytest.fixture(params=["wsgi", "asgi"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def app(application: Application) -> Application:
    application.database.bind(uploads.TABLES)
    application.create_tables(*uploads.TABLES, Show)
    return application


@pytest.fixture
def tus(app: Application, kind: str) -> Tus:
    return Tus(Caller(endpoints.tus(FilmUploader, allow=who), kind))


@pytest.fixture
def one(app: Application) -> Tus:
    """A client of an endpoint under WSGI, where the kind does not matter."""
    return Tus(Caller(endpoints.tus(FilmUploader, allow=who), "wsgi"))


def show(told: dict[str, Any]) -> Show:
    """A record that has taken a complete upload."""
    record = Show()
    record.film_cache = told["cache_id"]
    record.save()
    return record


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
    endpoint = endpoints.tus(FilmUploader, allow=who, origins=["https://app.example.org"])
    call = Caller(endpoint, "wsgi")

    asks = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "x-a"}
    preflight = call("OPTIONS", "/" + "a" * 32, headers={**origin, **asks})
    answer = Tus(call).create(9, **origin)
    refused = Tus(call).create(9, Origin="https://evil.example.org")

    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Upload-Offset" in answer.headers["Access-Control-Expose-Headers"]
    assert refused.json()["code"] == "cross_origin"


class TestOffsets:
    """Offsets that lie, and requests that come twice."""

    @pytest.mark.parametrize("offset", [0, 999, 1001, 10**17])
    def test_another_offset_is_a_conflict(self, one: Tus, offset: int):
        path = one.begun(len(GIF), GIF[:1000])

        answer = one.patch(path, offset, GIF[1000:])

        assert (answer.status_code, answer.json()["code"]) == (409, "upload_offset_moved")
        assert answer.headers["Upload-Offset"] == "1000" == str(one.offset(path))

    @pytest.mark.parametrize("offset", ["", "-1", "1.5", "0x0", "9" * 19, "0, 0"])
    def test_an_offset_that_is_no_number(self, one: Tus, offset: str):
        path = one.begun(len(GIF))
        answer = one.patch(path, offset, GIF)
        assert (answer.status_code, answer.json()["code"]) == (400, "upload_offset_invalid")

    def test_more_than_the_length_is_refused_and_what_came_before_stays(self, one: Tus):
        path = one.begun(len(GIF))
        one.patch(path, 0, GIF[:1000])

        answer = one.patch(path, 1000, GIF)

        assert answer.status_code == 413
        assert one.offset(path) == 1000
        assert one.patch(path, 1000, GIF[1000:]).status_code == 204

    def test_a_last_request_that_comes_twice_changes_nothing(self, app: Application, one: Tus):
        path = one.begun(len(GIF), GIF[:-5])
        assert one.patch(path, len(GIF) - 5, GIF[-5:]).status_code == 204
        before = one.told(path)

        again = one.patch(path, len(GIF) - 5, GIF[-5:])
        after_all = one.patch(path, len(GIF), b"")

        assert (again.status_code, after_all.status_code) == (409, 204)
        assert again.headers["Upload-Offset"] == str(len(GIF))
        assert one.told(path)["bytes"] == before["bytes"]
        assert len(app.cached) == 1

    def test_the_first_of_two_requests_at_once_wins(self, app: Application, one: Tus):
        # Given two requests for the same bytes of one upload, of two web processes
        path = one.begun(len(GIF))
        upload = rows.find(FilmUploader, path[1:], "ann")
        other = rows.find(FilmUploader, path[1:], "ann")
        first = receiving.Receiver(FilmUploader, upload, 0)
        second = receiving.Receiver(FilmUploader, other, 0)
        first.write(GIF[:500])
        second.write(b"X" * 700)

        # When both want to keep theirs
        first.end()
        with pytest.raises(rows.OffsetMoved) as moved:
            second.end()

        # Then one has, and nothing of the other is left
        assert moved.value.received == 500 == one.offset(path)
        assert len(app.cached) == 1
        assert one.patch(path, 500, GIF[500:]).status_code == 204
        assert one.told(path)["bytes"] == len(GIF)

    def test_the_first_of_two_ends_at_once_wins(self, app: Application, one: Tus):
        # Given two requests that both have the last byte, and both have checked the whole
        path = one.begun(len(GIF), GIF[:-1])
        pair = [
            receiving.Receiver(FilmUploader, rows.find(FilmUploader, path[1:], "ann"), len(GIF) - 1)
            for _ in "ab"
        ]
        cached = []
        for receiver in pair:
            receiver.write(GIF[-1:])
            receiver.end()
            cached.append(receiver.assemble())

        rows.finish(pair[0].upload, {"file": cached[0].dump(), "at": time.time()})
        with pytest.raises(rows.OffsetMoved):
            rows.finish(pair[1].upload, {"file": cached[1].dump(), "at": time.time()})

        assert ResumableUpload.get().outcome["file"]["key"] == cached[0].key


class TestChecksums:
    @pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
    def test_a_body_with_its_checksum_is_taken(self, one: Tus, algorithm: str):
        path = one.begun(len(GIF), GIF[:500], Upload_Checksum=checksum(GIF[:500], algorithm))

        rest = GIF[500:]
        answer = one.patch(path, 500, rest, Upload_Checksum=checksum(rest, algorithm))

        assert answer.status_code == 204
        assert one.told(path)["bytes"] == len(GIF)

    def test_a_damaged_body_is_not_kept(self, app: Application, tus: Tus):
        path = tus.begun(len(GIF))

        damaged = b"X" + GIF[1:]
        answer = tus.patch(path, 0, damaged, Upload_Checksum=checksum(GIF))

        assert (answer.status_code, answer.json()["code"]) == (460, "checksum_mismatch")
        assert answer.json()["title"] == "Checksum Mismatch"
        assert tus.offset(path) == 0
        assert app.cached == []
        assert tus.patch(path, 0, GIF, Upload_Checksum=checksum(GIF)).status_code == 204

    @pytest.mark.parametrize("given", ["crc32 AAAAAA==", "sha1", "sha1 !", "sha1 AAAA", "SHA1 x"])
    def test_other_checksums_are_refused(self, one: Tus, given: str):
        path = one.begun(len(GIF))

        answer = one.patch(path, 0, GIF, Upload_Checksum=given)
        created = one.create(len(GIF), GIF, Upload_Checksum=given)

        assert (answer.status_code, answer.json()["code"]) == (400, "upload_checksum_invalid")
        assert created.status_code == 400
        assert one.offset(path) == 0
        assert ResumableUpload.select().count() == 1

    def test_a_body_that_breaks_off_is_not_kept_if_it_has_a_checksum(self, app: Application):
        endpoint = endpoints.tus(FilmUploader, allow=who)
        one = Tus(Caller(endpoint, "wsgi"))
        path = one.begun(len(GIF))

        leaves(endpoint, path, [GIF[:200_000]], upload_checksum=checksum(GIF))

        assert one.offset(path) == 0
        assert app.cached == []


def leaves(endpoint: endpoints.Endpoint, path: str, pieces: list[bytes], **headers: str) -> None:
    """A client that sends some pieces, and leaves."""
    client = AsgiClient(pieces, leaves=True)
    headers = {"upload_offset": "0", "tus_resumable": "1.0.0", "content_type": CONTENT, **headers}
    client.call(endpoint, "PATCH", path, **headers)
    assert client.sent == []


class TestLostConnections:
    def test_what_came_before_a_client_left_is_kept(self, app: Application):
        endpoint = endpoints.tus(FilmUploader, allow=who)
        one = Tus(Caller(endpoint, "wsgi"))
        path = one.begun(len(GIF))

        leaves(endpoint, path, [GIF[:400], GIF[400:700]])

        assert one.offset(path) == 700
        assert one.patch(path, 700, GIF[700:]).status_code == 204

    def test_a_short_body_is_kept(self, one: Tus):
        path = one.begun(len(GIF))

        answer = one.patch(path, 0, GIF[:300], Content_Length="700")

        assert (answer.status_code, answer.json()["code"]) == (400, "body_incomplete")
        assert one.offset(path) == 300

    def test_a_quick_body_is_kept_part_by_part(self, one: Tus, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(receiving, "PART_BYTES", 1000)
        path, seen = one.begun(len(GIF)), []

        receiver = receiving.Receiver(FilmUploader, rows.find(FilmUploader, path[1:], "ann"), 0)
        for at in range(0, 3600, 600):
            if receiver.write(GIF[at : at + 600]):
                receiver.keep()
            seen.append(ResumableUpload.get().received)
        receiver.abort()

        assert seen == [0, 1200, 1200, 2400, 2400, 3600]

    def test_a_slow_body_is_kept_after_some_time(self, one: Tus, monkeypatch: pytest.MonkeyPatch):
        now = [100.0]
        monkeypatch.setattr(receiving.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(receiving, "KEEP_BYTES", 1000)
        path = one.begun(len(GIF))
        receiver = receiving.Receiver(FilmUploader, rows.find(FilmUploader, path[1:], "ann"), 0)

        assert not receiver.write(GIF[:1200])
        now[0] += receiving.KEEP_S
        assert receiver.write(GIF[1200:1201])
        receiver.keep()
        now[0] += receiving.KEEP_S
        assert not receiver.write(GIF[1201:1300])  # so little is not worth it
        receiver.abort()

    def test_small_requests_leave_few_parts(self, app: Application, one: Tus):
        path = one.begun(len(GIF))
        for at in range(0, 700, 7):
            assert one.patch(path, at, GIF[at : at + 7]).status_code == 204

        upload = ResumableUpload.get()
        assert sum(part.bytes for part in upload.parts) == 700
        assert len(upload.parts) == len(app.cached) <= 8


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
        endpoint.places.leave()
        assert one.patch(path, 0, GIF).status_code == 204

    def test_without_tables(self, application: Application):
        with pytest.raises(LookupError, match=r"database.bind\(gifster.uploads.TABLES\)"):
            rows.find(FilmUploader, "a" * 32)

    @pytest.mark.parametrize("options", [{"at_once": 0}, {"lives_s": 0}])
    def test_options(self, options: dict[str, int]):
        with pytest.raises(ValueError, match="both must be at least 1"):
            endpoints.tus(FilmUploader, allow=who, **options)


class TestTheEnd:
    def test_termination_deletes_the_parts(self, app: Application, tus: Tus):
        path = tus.begun(len(GIF), GIF[:1000])

        assert tus.delete(path).status_code == 204

        assert tus.head(path).status_code == 404
        assert tus.delete(path).status_code == 404
        assert tus.patch(path, 1000, GIF[1000:]).status_code == 404
        assert app.cached == []

    def test_a_post_may_mean_another_method(self, one: Tus):
        path = one.begun(len(GIF))
        headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": CONTENT,
                   "X-HTTP-Method-Override": "PATCH"}  # fmt: skip
        assert one.call("POST", path, headers=headers, content=GIF).status_code == 204

        over = {"Tus-Resumable": "1.0.0", "X-HTTP-Method-Override": "DELETE"}
        assert one.call("GET", path, headers=over).status_code == 200  # only a POST may
        assert one.call("POST", path, headers=over).status_code == 204

    @pytest.mark.parametrize("platform", ["folders and SQLite", "S3 and PostgreSQL"], indirect=True)
    def test_an_upload_expires_with_its_parts(self, app: Application, one: Tus):
        old, young = one.begun(len(GIF), GIF[:1000]), one.begun(len(GIF), GIF[:1000])
        late = ResumableUpload.id == old[1:]
        ResumableUpload.update(expires_at=time.time() - 1).where(late).execute()

        assert one.patch(old, 1000, GIF[1000:]).status_code == 404
        assert rows.forget_expired() == 1
        assert rows.forget_expired() == 0

        assert one.offset(young) == 1000
        assert len(app.cached) == 1

    def test_progress_postpones_the_end(self, one: Tus, monkeypatch: pytest.MonkeyPatch):
        path = one.begun(len(GIF))
        assert ResumableUpload.get().expires_at - time.time() <= rows.FIRST_S
        one.patch(path, 0, GIF[:1000])
        before, now = ResumableUpload.get().expires_at, time.time()
        monkeypatch.setattr(rows.time, "time", lambda: now + 600)
        one.patch(path, 1000, GIF[1000:1500])
        assert ResumableUpload.get().expires_at - before == pytest.approx(600, abs=60)

    def test_the_sweep_leaves_parts_alone_until_no_row_names_them(self, app: Application, one: Tus):
        # Given an unfinished upload, and a part that a killed process left
        path = one.begun(len(GIF), GIF[:1000])
        receiver = receiving.Receiver(FilmUploader, rows.find(FilmUploader, path[1:], "ann"), 1000)
        receiver.write(GIF[1000:2000])
        receiver._writer.commit("")  # and then it was killed

        found = sweep(repair=True, min_age_s=-60)

        assert len(found.abandoned) == 1
        assert one.patch(path, 1000, GIF[1000:]).status_code == 204
        told = one.told(path)
        sweep(repair=True, min_age_s=-60)
        app.work()
        assert show(told).film_tmp

    def test_a_commit_that_nobody_knows_of_keeps_its_part(
        self, app: Application, one: Tus, monkeypatch: pytest.MonkeyPatch
    ):
        # Given a connection to the database that is lost while it commits
        path = one.begun(len(GIF))
        advance = rows.advance

        def lost(*args: Any) -> None:
            advance(*args)
            raise peewee.OperationalError("the connection is gone")

        with monkeypatch.context() as patch:
            patch.setattr(rows, "advance", lost)
            assert one.patch(path, 0, GIF[:1000]).status_code == 500

        # Then the offset and the part are both there
        assert one.offset(path) == 1000
        assert one.patch(path, 1000, GIF[1000:]).status_code == 204

    def test_the_hourly_job_forgets_what_has_expired(
        self, app: Application, one: Tus, caplog: pytest.LogCaptureFixture
    ):
        from gifster.uploads import actors

        one.begun(len(GIF), GIF[:1000])
        ResumableUpload.update(expires_at=time.time() - 1).execute()
        with caplog.at_level("INFO"):
            actors.sweep_uploads.fn()
        assert "expired_uploads=1" in caplog.text
        assert app.cached == []

    def test_a_part_that_is_lost_ends_the_upload(self, app: Application, one: Tus):
        path = one.begun(len(GIF), GIF[:1000])
        for part in ResumableUpload.get().parts:
            app.cache.delete(part.key)

        answer = one.patch(path, 1000, GIF[1000:])

        assert (answer.status_code, answer.json()["code"]) == (422, "upload_lost")
        assert one.head(path).status_code == 410
        assert app.cached == []


class Killed(BaseException):
    """What a test raises in the place of a kill -9: nothing may clean up after it."""


@pytest.mark.parametrize("at", range(1, 8))
def test_a_process_that_is_killed_anywhere_loses_no_byte_that_counts(
    app: Application, one: Tus, monkeypatch: pytest.MonkeyPatch, at: int
):
    """Killed before the n-th change that it makes to the database or to the cache, it leaves an
    offset that is true: the upload goes on there, and gets whole."""
    monkeypatch.setattr(receiving, "PART_BYTES", 2000)
    path, calls = one.begun(len(GIF)), [0]

    def dies(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            if calls[0] >= at:  # a dead process does nothing more
                raise Killed
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(rows, "_swap", dies(rows._swap))
        patch.setattr(rows, "delete_file", dies(rows.delete_file))
        patch.setattr(receiving, "cache_pieces", dies(receiving.cache_pieces))
        patch.setattr(Uploader, "check_info", classmethod(dies(Uploader.check_info.__func__)))
        with pytest.raises(Killed):
            endpoint_takes(path, GIF)
            raise Killed

    offset = one.offset(path)
    if offset < len(GIF):
        assert one.patch(path, offset, GIF[offset:]).status_code == 204
    record = show(one.told(path))
    app.work()
    assert Show.get_by_id(record.id).film.read() == GIF
    assert ResumableUpload.get().stage == Stage.DONE


def endpoint_takes(path: str, content: bytes) -> None:
    """What the endpoint does with a body, in pieces, without its cleaning up."""
    upload = rows.find(FilmUploader, path[1:], "ann")
    receiver = receiving.Receiver(FilmUploader, upload, 0)
    source = io.BytesIO(content)
    while piece := source.read(1500):
        if receiver.write(piece):
            receiver.keep()
    receiver.end()
    cached = receiver.assemble()
    outcome = {"file": cached.dump(), "at": time.time()}
    rows.finish(upload, outcome)
    rows.finished(upload, outcome)
