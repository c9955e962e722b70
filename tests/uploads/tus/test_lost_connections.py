"""Resumable uploads whose clients leave in the middle of a request."""

import time

import pytest

from gifster.uploads import (
    endpoints,
)
from gifster.uploads.resumable import protocol, receiving, rows
from gifster.uploads.resumable.table import ResumableUpload
from tests.tus import Tus, checksum
from tests.uploads.calling import Caller, leaves
from tests.uploads.framework import Application
from tests.uploads.tus.films import GIF, FilmUploader, who


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

    def test_an_upload_does_not_expire_while_its_content_comes(
        self, one: Tus, monkeypatch: pytest.MonkeyPatch
    ):
        # Given a body of two hours with a checksum, of which nothing is kept before its end
        now, begun = [100.0], time.time()
        monkeypatch.setattr(receiving.time, "monotonic", lambda: now[0])
        path = one.begun(len(GIF))
        expected = protocol.checksum_of({"upload-checksum": checksum(GIF)})
        upload = rows.find(FilmUploader, path[1:], "ann")
        receiver = receiving.Receiver(FilmUploader, upload, 0, expected)

        # When the hourly job comes meanwhile
        for at in range(0, len(GIF), len(GIF) // 120 + 1):
            now[0] += receiving.PROLONG_S
            monkeypatch.setattr(time, "time", lambda: begun + now[0] - 100)
            if receiver.write(GIF[at : at + len(GIF) // 120 + 1]):
                receiver.keep()
            assert rows.forget_expired() == 0
        receiver.end()

        # I expect all of it, but the last byte, which waits for the application
        assert ResumableUpload.get().received == len(GIF) - 1

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
        assert not receiver.write(GIF[1201:1300])  # so little is not worth it yet
        now[0] += receiving.PROLONG_S
        assert receiver.write(GIF[1300:1301])
        receiver.abort()

    def test_small_requests_leave_few_parts(self, app: Application, one: Tus):
        path = one.begun(len(GIF))
        for at in range(0, 700, 7):
            assert one.patch(path, at, GIF[at : at + 7]).status_code == 204

        upload = ResumableUpload.get()
        assert sum(part.bytes for part in upload.parts) == 700
        assert len(upload.parts) == len(app.cached) <= 8
