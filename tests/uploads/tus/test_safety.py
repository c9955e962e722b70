"""Resumable uploads whose connections are lost, whose offsets lie, and whose processes die."""

import io
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peewee
import pytest

from gifster import jobs
from gifster.uploads import (
    StorageUnavailable,
    Uploader,
    endpoints,
)
from gifster.uploads.resumable import receiving, rows, table
from gifster.uploads.resumable.table import ResumableUpload, Stage
from gifster.uploads.sweep import sweep
from tests.tus import CONTENT, Tus, checksum
from tests.uploads.calling import Caller, leaves
from tests.uploads.fate import Crashed
from tests.uploads.framework import Application
from tests.uploads.tus.films import GIF, FilmUploader, Show, show, who


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
        with pytest.raises(table.OffsetMoved) as moved:
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
        with pytest.raises(table.OffsetMoved):
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

    def test_a_creation_that_breaks_off_or_is_refused_leaves_no_upload(self, app: Application):
        endpoint = endpoints.tus(FilmUploader, allow=who)
        one = Tus(Caller(endpoint, "wsgi"))

        leaves(endpoint, "/", [GIF[:200_000]], "POST", upload_length=str(len(GIF)))
        refused = one.create(len(GIF), b"X" + GIF[1:], Upload_Checksum=checksum(GIF))

        assert refused.status_code == 460
        assert ResumableUpload.select().count() == 0
        assert app.cached == []


class TestFullDisks:
    """Disks that take some bytes of a piece, and no more."""

    def test_a_piece_of_which_only_a_part_was_written_is_not_kept(self, app: Application, one: Tus):
        # Given a body of three pieces, and no room for more than one and a half
        content = GIF + os.urandom(290_000)
        piece = len(content) // 3
        path = one.begun(len(content))
        receiver = receiving.Receiver(FilmUploader, rows.find(FilmUploader, path[1:], "ann"), 0)
        receiver.write(content[:piece])
        with largest_file(piece * 3 // 2), pytest.raises(OSError, match="too large"):
            receiver.write(content[piece : 2 * piece])
        receiver.break_off()

        # When there is room again, and the client goes on where the server says
        offset = one.offset(path)
        assert one.patch(path, offset, content[offset:]).status_code == 204

        # Then what is there is what was sent
        assert one.told(path)["bytes"] == len(content)
        [cached] = app.cached
        assert (app.cache_folder / cached).read_bytes() == content

    @pytest.mark.parametrize("platform", ["folders and SQLite"], indirect=True)
    @pytest.mark.parametrize("change", [lambda part: part + b"x", lambda part: part[:-1]])
    def test_a_part_of_another_length_counts_as_lost(
        self, app: Application, one: Tus, change: Callable[[bytes], bytes]
    ):
        path = one.begun(len(GIF), GIF[:1000])
        [part] = app.cached
        (app.cache_folder / part).write_bytes(change(GIF[:1000]))

        answer = one.patch(path, 1000, GIF[1000:])

        assert (answer.status_code, answer.json()["code"]) == (422, "upload_lost")
        assert one.head(path).status_code == 410


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond a size, until the block ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
        ResumableUpload.update(expires_at=time.time() - rows.GRACE_S - 1).where(late).execute()

        assert one.patch(old, 1000, GIF[1000:]).status_code == 404
        assert rows.forget_expired() == 1
        assert rows.forget_expired() == 0

        assert one.offset(young) == 1000
        assert len(app.cached) == 1

    def test_a_cache_that_is_away_is_asked_once_for_all_that_has_expired(
        self, app: Application, one: Tus, monkeypatch: pytest.MonkeyPatch
    ):
        # Given three uploads that have expired, and a bucket that takes minutes to fail
        for _ in range(3):
            one.begun(len(GIF), GIF[:1000])
        ResumableUpload.update(expires_at=time.time() - rows.GRACE_S - 1).execute()
        asked = []

        def away(key: str) -> None:
            asked.append(key)
            raise StorageUnavailable("the cache does not answer")

        with monkeypatch.context() as patch:
            patch.setattr(app.cache, "delete", away)
            assert rows.forget_expired() == 3
        assert len(asked) == 1

        # When it is back, I expect the sweep to delete what is left
        sweep(repair=True, min_age_s=-60)
        assert app.cached == []

    def test_progress_postpones_the_end(self, one: Tus, monkeypatch: pytest.MonkeyPatch):
        path = one.begun(len(GIF))
        assert ResumableUpload.get().expires_at - jobs.now() <= rows.FIRST_S
        one.patch(path, 0, GIF[:1000])
        before, now = ResumableUpload.get().expires_at, jobs.now()
        monkeypatch.setattr(jobs, "now", lambda: now + 600)
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
            assert one.patch(path, 0, GIF[:1000]).status_code == 503

        # Then the offset and the part are both there
        assert one.offset(path) == 1000
        assert one.patch(path, 1000, GIF[1000:]).status_code == 204

    def test_the_hourly_job_forgets_what_has_expired(
        self, app: Application, one: Tus, caplog: pytest.LogCaptureFixture
    ):
        from gifster.uploads import actors

        one.begun(len(GIF), GIF[:1000])
        ResumableUpload.update(expires_at=time.time() - rows.GRACE_S - 1).execute()
        with caplog.at_level("INFO"):
            actors.sweep_uploads.fn()
        assert "expired_uploads=1" in caplog.text
        assert app.cached == []

    @pytest.mark.parametrize("platform", ["folders and SQLite", "S3 and PostgreSQL"], indirect=True)
    @pytest.mark.parametrize(
        "damage",
        [
            "storage = 'former'",
            "storage = CAST(x'ff' AS TEXT)",
            "parts = '['",
            "parts = '[{}]'",
        ],
    )
    def test_an_upload_that_cannot_be_read_or_reached_keeps_no_other(
        self, app: Application, one: Tus, damage: str
    ):
        # Given an upload that expires or whose owner goes, of a cache that has another name by now,
        # or with damaged JSON, or a text that is no UTF-8 (which PostgreSQL refuses)
        from gifster.uploads import actors

        if isinstance(app.database, peewee.PostgresqlDatabase) and "CAST" in damage:
            pytest.skip("PostgreSQL refuses it")

        def begin() -> None:
            for content in (GIF[:1000], GIF[:2000]):
                one.begun(len(GIF), content)
            app.database.execute_sql(f"UPDATE resumable_upload SET {damage} WHERE received = 1000")

        # I expect the others to go, too, and the sweep to delete the parts
        begin()
        ResumableUpload.update(expires_at=time.time() - rows.GRACE_S - 1).execute()
        actors.sweep_uploads.fn()
        assert ResumableUpload.select().count() == 0
        assert len(app.cached) == 1

        begin()
        rows.forget_of("ann")
        assert ResumableUpload.select().count() == 0
        assert len(app.cached) == 2
        sweep(repair=True, min_age_s=-60)
        assert app.cached == []

    @pytest.mark.parametrize("damage", ["parts = '['", "outcome = '{'"])
    def test_an_upload_that_cannot_be_read_says_so(self, app: Application, one: Tus, damage: str):
        path = one.begun(len(GIF), GIF[:1000])
        app.database.execute_sql(f"UPDATE resumable_upload SET {damage}")

        answers = [one.delete(path), one.patch(path, 1000, GIF[1000:])]

        told = [(answer.status_code, answer.json()["code"]) for answer in answers]
        assert told == [(503, "unreadable")] * 2

    def test_a_part_that_is_lost_ends_the_upload(self, app: Application, one: Tus):
        path = one.begun(len(GIF), GIF[:1000])
        for part in ResumableUpload.get().parts:
            app.cache.delete(part.key)

        answer = one.patch(path, 1000, GIF[1000:])

        assert (answer.status_code, answer.json()["code"]) == (422, "upload_lost")
        assert one.head(path).status_code == 410
        assert app.cached == []


def test_a_part_that_cannot_be_kept_is_given_up_with_its_error(
    app: Application, one: Tus, monkeypatch: pytest.MonkeyPatch
):
    # Given an upload with a part, and a cache that stops to answer while the next one is merged
    path = one.begun(len(GIF), GIF[:1000])
    receiver = receiving.Receiver(FilmUploader, rows.find(FilmUploader, path[1:], "ann"), 1000)
    receiver.write(GIF[1000:1500])
    asked: list[str] = []

    def is_away(storage: str, key: str) -> Any:
        asked.append(key)
        raise StorageUnavailable("the cache does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(receiving, "open_file", is_away)
        with pytest.raises(StorageUnavailable):
            receiver.end()
        # When the request breaks off because of that
        receiver.break_off()

    # I expect it to be asked once, and the upload to go on
    assert len(asked) == 1
    assert len(app.cached) == 1
    assert one.patch(path, 1000, GIF[1000:]).status_code == 204


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
                raise Crashed
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(rows, "_swap", dies(rows._swap))
        patch.setattr(rows, "delete_file", dies(rows.delete_file))
        patch.setattr(receiving, "cache_pieces", dies(receiving.cache_pieces))
        patch.setattr(Uploader, "check_info", classmethod(dies(Uploader.check_info.__func__)))
        with pytest.raises(Crashed):
            endpoint_takes(path, GIF)
            raise Crashed

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
