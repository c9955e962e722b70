"""Resumable uploads under any order of requests, crashes and races: the offset is always true."""

import random
from typing import Any

import pytest

from gifster import uploads
from gifster.uploads import Uploader
from gifster.uploads.resumable import receiving, rows
from gifster.uploads.resumable.receiving import Receiver
from gifster.uploads.resumable.table import OffsetMoved, PartsLost, ResumableUpload
from gifster.uploads.sweep import sweep
from tests.uploads.framework import Application

LENGTH, STEPS = 30_000, 80


class AnyUploader(Uploader):
    allow_types = None
    max_bytes = LENGTH


def begin(upload_id: str) -> Receiver:
    """A request of a client that asked for the offset, and got it."""
    upload = rows.find(AnyUploader, upload_id)
    return Receiver(AnyUploader, upload, upload.received)


def sends(receiver: Receiver, content: bytes, size: int) -> None:
    """Send so many bytes of the file from the request's offset on."""
    start = receiver.upload.received
    piece = content[start : min(start + size, LENGTH - 1)]
    for at in range(0, len(piece), 700):
        if receiver.write(piece[at : at + 700]):
            receiver.keep()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("platform", ["folders and SQLite"], indirect=True)
def test_the_offset_is_true_whatever_happens(
    application: Application, monkeypatch: pytest.MonkeyPatch, seed: int
):
    monkeypatch.setattr(receiving, "PART_BYTES", 4_000)
    application.database.bind(uploads.TABLES)
    application.create_tables(*uploads.TABLES)
    chance = random.Random(seed)
    content = chance.randbytes(LENGTH)
    upload_id = rows.create(AnyUploader, LENGTH).id
    waiting: list[Receiver] = []

    for _ in range(STEPS):
        receiver = present_one = begin(upload_id)
        size = chance.choice([1, 7, 300, 1_500, 6_000])
        how = chance.choice(["ends", "breaks off", "dies", "dies late", "waits", "another goes on"])
        before = receiver.upload.received
        try:
            sends(receiver, content, size)
            if how == "ends":
                receiver.end()
            elif how == "breaks off":
                receiver.break_off()
            elif how == "dies late":  # its part is complete, but the row does not know of it
                with monkeypatch.context() as patch:
                    patch.setattr(rows, "advance", _killed)
                    with pytest.raises(KeyboardInterrupt):
                        receiver.keep()
                        _killed()
            elif how == "waits":
                waiting.append(receiver)
            elif how == "another goes on" and waiting:
                present_one = waiting.pop(chance.randrange(len(waiting)))
                present_one.end()
        except OffsetMoved:
            pass
        except PartsLost as error:  # another has merged them: it is no end of the upload
            with pytest.raises(OffsetMoved):
                rows.fail(present_one.upload, error)
        present = ResumableUpload.get_by_id(upload_id)
        assert present.received >= before
        assert b"".join(_content(application, present)) == content[: present.received]
        assert len(present.parts) < 2 * LENGTH // 4_000 + 14

    # And what nobody needs, the sweep finds
    for receiver in waiting:
        receiver.abort()
    sweep(repair=True, min_age_s=-60, force=True)
    named = {part.key for part in ResumableUpload.get_by_id(upload_id).parts}
    assert {name for name in application.cached if not name.endswith(".tmp")} >= named
    rows.terminate(rows.find(AnyUploader, upload_id))
    assert named.isdisjoint(application.cached)


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def _content(application: Application, upload: ResumableUpload) -> list[bytes]:
    return [application.cache.open(part.key).read() for part in upload.parts]
