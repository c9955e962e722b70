"""What a form or a JSON body may assign: anything else is refused with an `UploadError`, and
nothing changes."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from gifster.uploads import UploadError, errors
from tests.uploads.carrierwave.conftest import (
    A,
    AtOnce,
    B,
    Events,
    PictureUploader,
    app,
    events,
    width,
)
from tests.uploads.form_parts import Part, part

__all__ = ["app", "events"]  # fixtures

#: What JSON can have that is neither a text nor a list.
NO_TEXT: list[Any] = [0, 1, True, False, 1.5, float("nan"), 10**400, {}, {"a": 1}]
#: Lists with something that is no text, as texts of JSON could have them, too.
LISTS: list[Any] = [[value] for value in NO_TEXT] + [[[]], [["a"]], [None, 1], ["", {}], [[None]]]
#: What a program may hand over by mistake.
OBJECTS: list[Any] = [
    object(), int, SimpleNamespace(filename=None, file=None), Part("a.png", 5), Part(b"a.png", "")
]  # fmt: skip


@pytest.fixture
def record(app: Any) -> AtOnce:
    """A saved record with one file in each column."""
    app.create_tables(AtOnce)
    record = AtOnce(image=A, images=[A])
    record.save()
    return record


class Awaited:
    """A part whose content must be awaited."""

    filename = "a.png"

    def read(self, size: int) -> Any:
        return SimpleNamespace(__await__=None)


def refused(record: AtOnce, attribute: str, value: Any) -> str:
    """The code with which a value is refused, if it changes nothing."""
    with pytest.raises(UploadError) as refusal:
        setattr(record, attribute, value)
    assert not record.is_dirty(), value
    assert [width(record.image), *map(width, record.images)] == [60, 60]
    assert (record.remote_image_url, record.remote_images_urls) == (None, None)
    return refusal.value.code


def test_a_value_that_is_no_file_is_refused(record: AtOnce):
    for value in [*NO_TEXT, *LISTS, [], *OBJECTS, Awaited()]:
        assert refused(record, "image", value) == "value_invalid"
    for value in [*NO_TEXT, "a.png", bytearray(A), part(A), *OBJECTS]:
        assert refused(record, "images", value) == "value_invalid"
    for value in [*LISTS, *[[item] for item in OBJECTS], [part(B), 1], [Awaited()], {1}]:
        assert refused(record, "images", value) == "value_invalid"
    with pytest.raises(TypeError, match="an object of type dict"):  # it may be a program's mistake
        record.images.append({})


def test_a_value_that_is_no_cache_id_is_refused(record: AtOnce):
    for value in [*NO_TEXT, *LISTS, b"id", part(A), *OBJECTS]:
        assert refused(record, "image_cache", value) == "cache_id_invalid"
        assert refused(record, "images_cache", value) == "cache_id_invalid"
    for value in [*NO_TEXT[:-2], *LISTS]:
        assert refused(record, "images_cache", json.dumps(value)) == "cache_id_invalid"
    assert refused(record, "images_cache", [part(B)]) == "cache_id_invalid"


def test_a_value_that_is_no_url_is_refused_and_not_remembered(record: AtOnce):
    for value in [*NO_TEXT, *LISTS, b"http://a", part(A), *OBJECTS]:
        assert refused(record, "remote_image_url", value) == "remote_url_invalid"
        assert refused(record, "remote_images_urls", value) == "remote_url_invalid"


def test_a_flag_takes_any_value(record: AtOnce):
    for value in [*NO_TEXT, *LISTS, *OBJECTS]:
        record.remove_image = value
        assert record.remove_image is bool(value)


# How many files a list may have.


def test_a_list_has_a_limit(events: Events, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PictureUploader, "max_files", 2)
    event = events.saved(images=[A, B])
    first, second = [image.identifier for image in event.images]

    for too_many in ([first, second, A], [first, second, part(A)], [first] * 3, [A, A, A]):
        with pytest.raises(errors.TooManyFiles, match="would have 3 files"):
            event.images = too_many
    with pytest.raises(errors.TooManyFiles):
        event.images.append(A)
    assert not event.is_dirty()
    assert events.is_clean(event)  # also the cache

    event.images = [second, "0" * 16, "", part(b"", "")]  # as a form says it that is not full
    event.images.append(part(A))
    event.save()
    assert len(events.reloaded(event).images) == 2


def test_a_longer_list_can_be_changed_but_not_grow(events: Events, monkeypatch: pytest.MonkeyPatch):
    event = events.saved(images=[A, B, A])
    monkeypatch.setattr(PictureUploader, "max_files", 1)

    event.images = reversed(event.images)
    event.images.remove(event.images[0])
    event.save()
    event = events.reloaded(event)
    assert len(event.images) == 2
    with pytest.raises(errors.TooManyFiles):
        event.images.append(A)


def test_many_texts_are_refused_before_a_file_is_copied_or_fetched(
    app: Any, record: AtOnce, monkeypatch: pytest.MonkeyPatch
):
    form = AtOnce(images=[B])
    cache_id = json.loads(str(form.images_cache))[0]
    monkeypatch.setattr("gifster.uploads.uploader.retrieve", pytest.fail)
    monkeypatch.setattr("gifster.uploads.uploader.cache_download", pytest.fail)
    monkeypatch.setattr("gifster.uploads.uploader.cache_upload", pytest.fail)

    identifier = record.images[0].identifier
    assert refused(record, "images", [cache_id] * 1001) == "too_many_files"
    assert refused(record, "images", [identifier] * 1_000_000) == "too_many_files"
    assert refused(record, "remote_images_urls", ["http://a/"] * 1001) == "too_many_files"
    ids = [f"{cache_id}{number}" for number in range(1001)]
    assert refused(record, "images_cache", ids) == "too_many_files"
    with pytest.raises(errors.TooManyFiles):
        form.images_cache = ids
    with pytest.raises(errors.TooManyFiles):  # it adds them to the file that is there
        form.remote_images_urls = ["http://a/"] * 1000
    assert form.images[0].read() == B


def test_a_list_may_have_no_limit(app: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PictureUploader, "max_files", None)
    with pytest.raises(errors.CacheIdInvalid):
        AtOnce(images=["no cache id"] * 1001)
