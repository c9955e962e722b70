"""`keep_files`: CarrierWave's `remove_previously_stored_files_after_update = false`."""

import pytest

from gifster import uploads
from tests.uploads.carrierwave.conftest import (
    A,
    B,
    Events,
    PictureUploader,
    rolled_back,
)


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PictureUploader, "keep_files", True)


def test_an_uploader_can_keep_replaced_and_removed_files(events: Events, keeping: None):
    event = events.saved(image=A, images=[A, B])
    before = set(events.app.stored)
    event.image, event.images = B, [event.images[1]]
    event.save()
    event = events.reloaded(event)
    event.remove_image = event.remove_images = True
    event.save()
    events.app.work()

    assert before < set(events.app.stored)
    # When the sweep comes, it says why it leaves them
    found = uploads.sweep(repair=True, min_age_s=-60)
    assert (found.orphans, found.missing) == ([], [])
    assert "has keep_files" in str(found.left_alone[0])
    assert before < set(events.app.stored)


def test_a_deleted_records_files_go_even_if_replaced_files_are_kept(events: Events, keeping: None):
    event = events.saved(image=A, images=[B])
    event.delete_instance()
    events.app.work()
    assert events.app.stored == events.app.cached == []


def test_a_rolled_back_upload_is_not_kept(events: Events, keeping: None):
    event = events.saved(image=A)
    before = events.app.stored
    event.image = B
    rolled_back(events, event.save)
    events.app.work()
    assert events.app.stored == before


def test_recreated_versions_are_not_kept(events: Events, keeping: None):
    event = events.saved(image=A)
    event.image.recreate_versions()
    events.app.work()
    event = events.reloaded(event)
    assert events.is_clean(event)
