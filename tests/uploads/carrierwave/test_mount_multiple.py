"""`spec/mount_multiple_spec.rb`: what an attribute with a list of files does."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from gifster.uploads import UploadError, errors
from tests.uploads.carrierwave.conftest import (
    URL,
    A,
    B,
    C,
    D,
    Events,
    PictureUploader,
    width,
    widths,
)
from tests.uploads.form_parts import part


def identifiers(event: Any) -> list[str]:
    return [image.identifier for image in event.images]


def test_a_new_record_has_an_empty_list(events: Events):
    event = events.model()
    assert (list(event.images), event.images.urls(), event.images.as_json()) == ([], [], [])
    assert (event.images_cache, event.remote_images_urls) == (None, None)
    assert not event.images


def test_each_file_is_an_uploader_that_knows_its_record_and_place(events: Events):
    event = events.saved(images=[A, B])
    assert all(isinstance(image, PictureUploader) for image in event.images)
    assert [image.record for image in event.images] == [event, event]
    assert [event.images.index(image) for image in event.images] == [0, 1]
    assert event.images.urls() == [image.stored.url() for image in event.images]
    assert event.images.urls("thumb") == [image.thumb.url() for image in event.images]


def test_files_of_one_name_are_not_confused(events: Events):
    event = events.model(images=[part(A, "a.png"), part(B, "a.png")])
    assert [image.read() for image in event.images] == [A, B]
    assert len(set(identifiers(event))) == 2
    assert event.images.identifiers == identifiers(event)
    event.save()
    event = events.reloaded(event)
    assert [image.stored.filename for image in event.images] == ["a.png", "a.png"]
    assert widths(event.images) == [60, 70]


# A form's values.


@pytest.mark.parametrize("value", [None, "", " ", [part(b"", "")], [part(b"", "", can_seek=False)]])
def test_an_empty_field_of_a_form_changes_nothing(events: Events, value: Any):
    event = events.saved(images=[A, B])

    event.images = value
    assert not event.is_dirty()
    event.save()

    assert widths(events.reloaded(event).images) == [60, 70]
    assert events.is_clean(event)


@pytest.mark.parametrize("value", [[], [""], [None], ["", part(b"", "")]])
def test_a_list_of_nothing_detaches_all(events: Events, value: Any):
    event = events.saved(images=[A, B])
    event.images = value
    assert event.is_dirty()
    event.save()
    assert list(events.reloaded(event).images) == []
    assert events.is_clean(event)


@pytest.mark.parametrize("value", [A, "me.png", Path("me.png"), part(A), io.BytesIO(A)])
def test_one_file_is_no_list(events: Events, value: Any):
    with pytest.raises(TypeError):
        events.model().images = value


def test_an_empty_field_adds_nothing(events: Events):
    event = events.saved(images=[A])
    event.images.append(part(b"", ""))
    event.images.extend([part(b"", ""), ""])
    assert not event.images.changed
    event.images.extend([part(b"", ""), part(B)])
    event.save()
    assert widths(events.reloaded(event).images) == [60, 70]


# Identifiers.


def test_identifiers_keep_reorder_and_remove(events: Events):
    event = events.saved(images=[A, B, C])
    first, second, third = identifiers(event)

    event.images = [third, part(D), first, ""]
    event.save()
    event = events.reloaded(event)

    assert widths(event.images) == [80, 90, 60]
    assert identifiers(event)[::2] == [third, first]
    assert second not in identifiers(event)
    assert events.is_clean(event)


def test_an_identifier_is_the_same_before_and_after_the_file_is_stored(events: Events):
    event = events.model(image=A, images=[B])
    before = (event.image.identifier, event.images[0].identifier)
    event.save()
    assert (event.image.identifier, event.images[0].identifier) == before
    event = events.reloaded(event)
    assert (event.image.identifier, event.images[0].identifier) == before


def test_the_identifier_of_a_file_that_waits_keeps_it(events: Events):
    event = events.saved(images=[A, B], work=False)
    event.images = identifiers(event)[::-1]
    event.save()
    assert widths(events.reloaded(event).images) == [70, 60]
    assert events.is_clean(event)


def test_an_unknown_identifier_is_left_out(events: Events):
    # Somebody else has removed that file since the form was shown
    event = events.saved(images=[A])
    event.images = ["0123456789abcdef", *identifiers(event)]
    event.save()
    assert widths(events.reloaded(event).images) == [60]


@pytest.mark.parametrize("by", ["identifier", "uploader", "stored file"])
def test_a_file_that_comes_twice_is_copied(events: Events, by: str):
    event = events.saved(images=[A, B])
    one, two = event.images
    names = {
        "identifier": [one.identifier, two.identifier, one.identifier],
        "uploader": [one, two, one],
        "stored file": [one.stored, two.stored, one.stored],
    }
    event.images = names[by]
    assert len(event.images) == 3
    event.save()

    event = events.reloaded(event)
    assert widths(event.images) == [60, 70, 60]
    assert len(set(identifiers(event))) == 3
    # When one of the two is removed, the other stays
    event.images.remove(event.images[0])
    event.save()
    assert widths(events.reloaded(event).images) == [70, 60]
    assert events.is_clean(event)


def test_files_are_removed_one_by_one(events: Events):
    event = events.saved(images=[A, B])
    event.images = identifiers(event)[:1]
    event.save()
    event = events.reloaded(event)
    event.images[0].remove()
    assert event.is_dirty()
    event.save()
    assert list(events.reloaded(event).images) == []
    assert events.is_clean(event)


def test_a_file_of_the_list_is_replaced(events: Events):
    event = events.saved(images=[A, B, C])
    event.images[1].assign(D)
    assert event.images.changed
    event.save()
    assert widths(events.reloaded(event).images) == [60, 90, 80]
    assert events.is_clean(event)


def test_the_list_of_another_record_is_copied(events: Events):
    one = events.saved(images=[A, B])
    other = events.saved(images=[C])
    other.images = one.images
    other.save()
    events.app.work()
    events.reloaded(one).delete_instance()

    assert widths(events.reloaded(other).images) == [60, 70]
    assert events.is_clean(other)


# Refused files.


def test_a_refused_file_leaves_the_list_and_copies_nothing(events: Events):
    event = events.saved(images=[A, B])
    before = identifiers(event)
    with pytest.raises(errors.TypeNotAllowed):
        event.images = [part(C), part(b"no image")]
    assert (identifiers(event), event.is_dirty(), events.app.cached) == (before, False, [])
    event.save()
    assert identifiers(events.reloaded(event)) == before
    assert events.is_clean(event)


# Cache ids.


def test_cache_ids_restore_the_list_of_a_form_that_is_shown_again(events: Events):
    event = events.saved(images=[A, B])
    shown = events.reloaded(event)
    shown.images = [shown.images[1].identifier, part(C)]
    kept = shown.images_cache
    assert len(json.loads(kept)) == 2

    event.images_cache = kept
    event.save()

    assert widths(events.reloaded(event).images) == [70, 80]
    assert event.images_cache is None
    # When the form is sent twice
    again = events.reloaded(event)
    again.images_cache = kept
    again.save()
    assert widths(events.reloaded(event).images) == [70, 80]


def test_a_list_of_cache_ids_is_taken_too(events: Events):
    ids = json.loads(events.model(images=[A, B]).images_cache)
    event = events.saved(images=[C])
    event.images = [ids[1], event.images[0].identifier, ids[0]]
    event.save()
    assert widths(events.reloaded(event).images) == [70, 80, 60]

    event = events.saved(images_cache=[ids[0], "", ids[0]])
    assert widths(event.images) == [60]  # one file, however often the id comes


def test_cache_ids_are_added_to_files_that_were_just_assigned(events: Events):
    kept = events.model(images=[A]).images_cache
    event = events.saved(images=[C])
    event.images = [part(B)]
    event.images_cache = kept
    event.save()
    assert widths(events.reloaded(event).images) == [70, 60]
    assert events.model.get_by_id(event.id).save() is not None


@pytest.mark.parametrize("value", [None, "", "[]", '[""]', [], [""]])
def test_no_cache_ids_change_nothing(events: Events, value: Any):
    event = events.saved(images=[A])
    event.images_cache = value
    assert not event.is_dirty()
    assert len(event.images) == 1


@pytest.mark.parametrize(
    "value", ["invalid", "{}", "[1]", '["forged.cache.id"]', ["forged"], "[" * 100_000]
)
def test_forged_cache_ids_are_refused(events: Events, value: Any):
    good = json.loads(events.model(images=[B]).images_cache)
    event = events.saved(images=[A])
    with pytest.raises(errors.CacheIdInvalid):
        event.images_cache = [*good, *value] if isinstance(value, list) else value
    assert (widths(event.images), event.is_dirty()) == ([60], False)


# Remote URLs.


def test_remote_urls_replace_the_stored_files(events: Events, remote: list[str]):
    event = events.saved(images=[C])
    event.remote_images_urls = ["", f"{URL}/a.png", f"{URL}/b.png"]
    assert event.remote_images_urls == [f"{URL}/a.png", f"{URL}/b.png"]
    assert event.is_dirty()
    event.save()
    assert event.remote_images_urls is None
    assert widths(events.reloaded(event).images) == [60, 70]
    assert events.is_clean(event)


def test_remote_urls_are_added_to_files_that_were_just_assigned(events: Events, remote: list[str]):
    event = events.saved(images=[A, C])
    event.images = [event.images[1], part(D)]
    event.remote_images_urls = f"{URL}/b.png"
    event.save()
    assert widths(events.reloaded(event).images) == [80, 90, 70]


@pytest.mark.parametrize("value", [None, "", [], [""]])
def test_no_remote_urls_change_nothing(events: Events, remote: list[str], value: Any):
    event = events.saved(images=[A])
    event.remote_images_urls = value
    assert not event.is_dirty()
    assert len(event.images) == 1


def test_a_url_that_fails_leaves_the_list(events: Events, remote: list[str]):
    event = events.saved(images=[C])
    urls = [f"{URL}/a.png", f"{URL}/missing.png"]
    with pytest.raises(UploadError):
        event.remote_images_urls = urls
    assert event.remote_images_urls == urls  # to be shown again
    assert (widths(event.images), event.is_dirty(), events.app.cached) == ([80], False, [])
    event.remote_images_urls = None
    assert event.remote_images_urls is None


# Removing.


def test_a_removal_of_the_list_can_be_cancelled(events: Events):
    event = events.saved(images=[A, B])
    event.remove_images = "1"
    assert (event.remove_images, len(event.images), event.is_dirty()) == (True, 0, True)
    event.remove_images = "1"
    event.remove_images = "0"
    assert (event.remove_images, len(event.images), event.is_dirty()) == (False, 2, False)
    event.save()
    assert widths(events.reloaded(event).images) == [60, 70]
    assert events.is_clean(event)


def test_cancelling_a_removal_keeps_what_was_assigned_before_and_after(events: Events):
    event = events.saved(images=[A])
    event.images.append(B)
    event.remove_images = True
    event.images.append(C)
    event.remove_images = False
    event.save()
    assert widths(events.reloaded(event).images) == [60, 70, 80]
    assert events.is_clean(event)


def test_a_rolled_back_change_of_a_list_is_saved_by_the_next_attempt(events: Events):
    event = events.saved(images=[A, B, C])
    event.images = [event.images[2].identifier, part(D), event.images[0].identifier]
    with pytest.raises(RuntimeError), events.app.database.atomic():
        event.save()
        raise RuntimeError
    assert widths(events.reloaded(event).images) == [60, 70, 80]
    assert event.is_dirty()
    event.save()
    assert widths(events.reloaded(event).images) == [80, 90, 60]
    assert not event.is_dirty()
    assert events.is_clean(event)


def test_single_and_list_columns_do_not_affect_each_other(events: Events):
    event = events.saved(image=A, images=[B, C])
    event.remove_images = True
    event.save()
    event = events.reloaded(event)
    assert (width(event.image), len(event.images)) == (60, 0)
    event.images = [D]
    event.image = None
    event.save()
    event = events.reloaded(event)
    assert (width(event.image), widths(event.images)) == (None, [90])
    assert events.is_clean(event)
