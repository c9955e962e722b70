"""`spec/mount_single_spec.rb`: what an attribute with one file does."""

import io
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gifster.uploads import UploadError, errors
from tests.uploads.carrierwave.conftest import URL, A, B, C, Events, PictureUploader, width
from tests.uploads.form_parts import OneWay, Part, part

FALSE = ["", "0", "false", "off", "FALSE", " 0 ", 0, False, None]


# What the attribute is.


def test_a_record_without_a_file_has_an_empty_uploader(events: Events):
    event = events.model()

    assert isinstance(event.image, PictureUploader)
    assert not event.image
    assert event.image is event.image
    assert (event.image.url(), event.image.file, event.image.identifier) == (None, None, None)
    assert (event.image.read(), event.image.size, event.image.content_type) == (None, 0, None)
    assert event.image_cache is None
    with pytest.raises(FileNotFoundError, match="no file to open"):
        event.image.open()


def test_a_model_can_override_the_setter_and_subclasses_inherit_the_mount(events: Events):
    class Own(events.model):
        class Meta:
            table_name = "own"

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, B if name == "image" and value == A else value)

    events.app.create_tables(Own)
    own = Own(image=A)
    assert own.image.assigned is not None
    own.save()
    events.app.work()
    assert width(Own.get().image) == 70


def test_a_record_can_be_pickled_with_its_uploader(events: Events):
    event = events.saved(image=B, images=[B, C])
    event.image = A
    with event._meta.database.atomic():
        event.save()  # The column keeps the SQL with which it asks how the transaction ends.
    event = events.reloaded(event)

    image, thumb, second = pickle.loads(
        pickle.dumps((event.image, event.image.thumb, event.images[1]))
    )

    assert (width(image), image.record) == (60, event)
    assert thumb.url() == event.image.thumb.url()
    assert second.url() == event.images[1].url()


# A form's values.


@pytest.mark.parametrize("value", ["", "  ", part(b"", ""), part(b"", "", can_seek=False)])
def test_an_empty_field_of_a_form_changes_nothing(events: Events, value: Any):
    event = events.saved(image=A)

    event.image = value
    assert not event.is_dirty()
    event.save()

    assert width(events.reloaded(event).image) == 60
    assert events.is_clean(event)


@pytest.mark.parametrize("value", ["", part(b"", "")])
def test_an_empty_field_keeps_what_was_assigned(events: Events, value: Any):
    event = events.model(image=A)
    event.image = value
    event.save()
    assert width(events.reloaded(event).image) == 60


def test_an_empty_file_with_a_name_is_refused(events: Events):
    with pytest.raises(errors.EmptyFile):
        events.model().image = part(b"")


@pytest.mark.parametrize("can_seek", [True, False])
def test_a_part_without_a_name_is_a_file_if_it_has_content(events: Events, can_seek: bool):
    event = events.saved(image=part(A, "", can_seek=can_seek))
    assert (width(event.image), event.image.stored.filename) == (60, "upload")


def test_a_part_whose_file_is_called_file_is_taken(events: Events):
    # As Starlette's UploadFile and aiohttp's FileField have it
    uploaded = SimpleNamespace(filename="me.png", file=io.BytesIO(A))
    assert events.saved(image=uploaded).image.stored.filename == "me.png"


@pytest.mark.parametrize("value", FALSE)
def test_what_a_form_sends_for_an_unchecked_box_removes_nothing(events: Events, value: Any):
    event = events.saved(image=A, images=[B])

    event.remove_image = event.remove_images = value
    assert (event.remove_image, event.remove_images) == (False, False)
    assert not event.is_dirty()
    event.save()

    event = events.reloaded(event)
    assert (width(event.image), len(event.images)) == (60, 1)


@pytest.mark.parametrize("value", [True, 1, "1", "true", "on"])
def test_what_a_form_sends_for_a_checked_box_removes_the_file(events: Events, value: Any):
    event = events.saved(image=A, images=[B])

    event.remove_image = event.remove_images = value
    assert (event.remove_image, event.remove_images) == (True, True)
    assert event.image.file is None
    event.save()

    assert (event.remove_image, event.remove_images) == (False, False)
    event = events.reloaded(event)
    assert (bool(event.image), len(event.images)) == (False, 0)
    assert events.is_clean(event)


# Assigning.


def test_an_assigned_file_can_be_read_before_it_is_saved(events: Events):
    event = events.model()
    event.image.assign(A, "me.png")

    assert event.image.read() == A
    assert (event.image.size, event.image.content_type) == (len(A), "image/png")
    assert event.image.file.filename == "me.png"
    with event.image.open() as file:
        assert file.read(4) == A[:4]
    assert event.image.url() is None  # nobody else may see it yet


def test_a_refused_file_raises_and_leaves_the_present_one(
    events: Events, monkeypatch: pytest.MonkeyPatch
):
    event = events.saved(image=A)

    with pytest.raises(errors.TypeNotAllowed):
        event.image = b"no image"

    assert not event.is_dirty()
    event.save()
    assert events.is_clean(event)


@pytest.mark.parametrize("what", ["the uploader", "its stored file", "a version"])
def test_a_file_of_another_record_is_copied(events: Events, what: str):
    one = events.saved(image=A)
    source = {
        "the uploader": one.image,
        "its stored file": one.image.stored,
        "a version": one.image.thumb,
    }[what]
    other = events.model(image=source)
    assert other.image.assigned is not None
    other.save()
    events.app.work()

    one.delete_instance()
    other = events.reloaded(other)
    assert width(other.image) == (20 if what == "a version" else 60)
    assert events.is_clean(other)


def test_a_copy_that_is_rolled_back_leaves_both_records_as_they_were(events: Events):
    one, other = events.saved(image=A), events.saved(image=B)
    other.image = one.image
    with pytest.raises(RuntimeError), events.app.database.atomic():
        other.save()
        raise RuntimeError
    assert [width(events.reloaded(event).image) for event in (one, other)] == [60, 70]

    other.save()  # the next attempt
    assert [width(events.reloaded(event).image) for event in (one, other)] == [60, 60]
    assert events.is_clean(one, other)


def test_a_file_that_is_gone_cannot_be_copied(events: Events):
    one = events.saved(image=A)
    stale = events.reloaded(one)
    one.image = B
    one.save()
    events.app.work()

    other = events.model()
    with pytest.raises(errors.CacheFileMissing, match="The file to copy no longer exists"):
        other.image = stale.image
    assert not other.image.changed


def test_a_version_that_does_not_exist_cannot_be_copied(events: Events):
    with pytest.raises(errors.CacheFileMissing, match="There is no thumb to copy"):
        events.model(image=events.model().image.thumb)


# Sources that were read before.


def test_an_open_file_is_read_from_its_beginning(events: Events, tmp_path: Path):
    (tmp_path / "me.png").write_bytes(A)
    with (tmp_path / "me.png").open("rb") as file:
        file.read()
        event = events.model(image=file)
    assert event.image.read() == A


def test_a_stream_that_cannot_seek_and_was_read_is_refused(events: Events):
    stream = OneWay(A)
    stream.read(10)
    with pytest.raises(ValueError, match="10 bytes of OneWay were read already"):
        events.model(image=stream)
    with pytest.raises(ValueError, match="10 bytes of OneWay"):
        events.model(image=Part("me.png", stream))


def test_a_stream_that_cannot_seek_can_be_assigned_again(events: Events):
    # As a transaction does that runs again
    stream = OneWay(A)
    for _ in range(2):
        event = events.model(image=stream)
        with pytest.raises(RuntimeError), events.app.database.atomic():
            event.save()
            raise RuntimeError
    other = events.model(image=stream)
    event.save()
    other.save()
    assert [width(events.reloaded(one).image) for one in (event, other)] == [60, 60]


def test_a_file_in_text_mode_is_refused(events: Events):
    with pytest.raises(TypeError, match='open it with mode "rb"'):
        events.model(image=io.StringIO("text"))
    assert events.app.cached == []


# Cache ids and remote URLs.


@pytest.mark.parametrize("value", [7, 1.5, ["a"], {"a": 1}, b"a", object()])
def test_a_value_that_is_no_text_is_refused_as_a_wrong_text_is(events: Events, value: Any):
    event = events.saved(image=A)
    with pytest.raises(errors.CacheIdInvalid):
        event.image_cache = value
    with pytest.raises(errors.RemoteUrlInvalid):
        event.remote_image_url = value
    assert width(events.reloaded(event).image) == width(event.image)


@pytest.mark.parametrize("value", [None, "", " "])
def test_an_empty_cache_id_changes_nothing(events: Events, value: Any):
    event = events.saved(image=A)
    event.image_cache = event.remote_image_url = value
    assert not event.is_dirty()
    assert width(events.reloaded(event).image) == 60


def test_a_cache_id_brings_an_assigned_file_back(events: Events):
    kept = events.model(image=A).image_cache
    event = events.saved(image=B)

    event.image_cache = kept
    assert event.is_dirty()
    event.save()

    event = events.reloaded(event)
    assert (width(event.image), event.image_cache) == (60, None)


def test_a_cache_id_does_not_replace_a_file_that_was_just_assigned(events: Events):
    event = events.model(image=B)
    event.image_cache = events.model(image=A).image_cache
    event.save()
    assert width(events.reloaded(event).image) == 70


def test_a_remote_url_is_fetched_and_can_be_read_until_the_record_is_saved(
    events: Events, remote: list[str]
):
    event = events.saved(image=B)
    assert event.remote_image_url is None

    event.remote_image_url = f"{URL}/a.png"
    assert (event.remote_image_url, event.is_dirty()) == (f"{URL}/a.png", True)
    event.save()

    assert event.remote_image_url is None
    assert width(events.reloaded(event).image) == 60
    assert events.is_clean(event)


def test_a_remote_url_does_not_replace_a_file_that_was_just_assigned(
    events: Events, remote: list[str]
):
    event = events.model(image=B)
    event.remote_image_url = f"{URL}/a.png"
    assert remote == []
    event.save()
    assert width(events.reloaded(event).image) == 70


def test_a_remote_url_that_failed_can_be_shown_again_and_corrected(
    events: Events, remote: list[str]
):
    event = events.model()
    with pytest.raises(UploadError):
        event.remote_image_url = f"{URL}/missing.png"
    assert event.remote_image_url == f"{URL}/missing.png"

    event.remote_image_url = f"{URL}/b.png"
    event.remote_image_url = f"{URL}/a.png"
    event.save()
    assert width(events.reloaded(event).image) == 60

    event.remote_image_url = f"{URL}/b.png"
    event.remote_image_url = None
    assert event.remote_image_url is None


# Removing.


def test_a_removal_can_be_cancelled(events: Events):
    event = events.saved(image=A)

    event.remove_image = "1"
    event.remove_image = "0"
    assert (event.remove_image, event.is_dirty(), event.image.changed) == (False, False, False)
    event.save()

    assert width(events.reloaded(event).image) == 60
    assert events.is_clean(event)


def test_cancelling_a_removal_brings_back_what_was_assigned(events: Events):
    event = events.saved(image=A)

    event.image = B
    event.remove_image = True
    assert event.image.assigned is None
    event.remove_image = False
    event.save()

    assert width(events.reloaded(event).image) == 70
    assert events.is_clean(event)


def test_cancelling_a_removal_of_a_new_record_brings_back_what_was_assigned(events: Events):
    event = events.model(image=A)
    event.remove_image = True
    event.remove_image = False
    event.save()
    assert width(events.reloaded(event).image) == 60


def test_none_removes_and_nothing_is_removed_twice(events: Events):
    event = events.saved(image=A)
    event.image = None
    event.save()
    event.image = None
    event.remove_image = True
    event.save()
    assert not events.reloaded(event).image
    assert events.is_clean(event)


def test_a_removal_that_is_rolled_back_can_be_cancelled(events: Events):
    event = events.saved(image=A)
    event.remove_image = True
    with pytest.raises(RuntimeError), events.app.database.atomic():
        event.save()
        raise RuntimeError
    assert event.remove_image
    event.remove_image = False
    event.save()
    assert width(events.reloaded(event).image) == 60
    assert events.is_clean(event)
