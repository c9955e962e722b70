"""Resumable uploads beside everything else. `test_quotas.py` has what they count, and
`api/direct/` what clients see of them."""

from pathlib import Path

import pytest

from gifster.app import accounts, direct
from gifster.app.accounts import leaving
from gifster.app.models import ImageUploader, User
from gifster.app.settings import Settings
from gifster.uploads.resumable.receiving import Receiver
from gifster.uploads.resumable.rows import NoSuchUpload
from gifster.uploads.resumable.table import ResumableUpload
from tests import images
from tests.machine import files_below

GIF = images.gif()
CACHE = Path("var/cache")


def begun(user: User | None, received: int = 100) -> ResumableUpload:
    """An unfinished upload of which some bytes have come."""
    upload = direct.begin(len(GIF), "filename YS5naWY=", user, None, 3600)
    receiver = Receiver(ImageUploader, upload, 0)
    receiver.write(GIF[:received])
    receiver.end()
    return upload


def test_who_leaves_leaves_no_unfinished_upload(booted: Settings):
    # Given an unfinished upload of Ann's and one of Bob's
    ann = accounts.sign_up("ann@example.org", "correct horse")
    bob = accounts.sign_up("bob@example.org", "correct horse")
    hers, his = begun(ann), begun(bob)

    # When she leaves
    leaving.leave(ann, with_gifs=True)
    leaving.remove(ann.id, with_gifs=True)

    # Then hers is gone with what had come of it, and his is not
    with pytest.raises(NoSuchUpload):
        direct.find(hers.id, ann)
    assert direct.find(his.id, bob).received == 100
    assert len(files_below(CACHE)) == 1
