"""`spec/orm/activerecord_spec.rb`: saving, changing, copying and deleting records."""

import copy
import json
from typing import Any

import peewee
import pytest
from playhouse.shortcuts import model_to_dict

from gifster import uploads
from gifster.jobs import Job
from gifster.uploads import (
    CacheField,
    UploadError,
    json_default,
    mount_uploader,
    safe_name,
    store_in_background,
)
from tests.uploads.carrierwave.conftest import (
    A,
    B,
    C,
    Events,
    PictureUploader,
    rolled_back,
    width,
    widths,
)
from tests.uploads.framework import Application, Base

# JSON.


def test_a_record_as_json_has_the_urls_of_its_files(events: Events):
    event = events.saved(name="Ann", image=A, images=[B])

    found = json.loads(json.dumps({"data": event.image}, default=json_default))["data"]
    whole = json.loads(json.dumps(model_to_dict(event), default=json_default))
    assert whole["image"] == found
    assert whole["images"] == event.images.as_json()
    only = model_to_dict(event, only=[events.model.name])
    assert json.dumps(only, default=json_default) == '{"name": "Ann"}'
    # Neither names a storage's key, a hash, or a cached file
    text = json.dumps(whole)
    assert not any(name in text for name in ("sha256", '"key"', '"source"'))

    assert found["url"] == event.image.url()
    assert (found["content_type"], found["bytes"], found["width"]) == ("image/png", len(A), 60)
    assert found["versions"]["thumb"]["url"] == event.image.thumb.url()
    assert found["versions"]["thumb"]["width"] == 20


def test_a_record_that_waits_as_json_has_no_key_of_the_cache(events: Events):
    event = events.saved(image=A, images=[B], work=False)
    text = json.dumps(model_to_dict(event), default=json_default)
    assert not any(key in text for key in events.app.cached)
    assert json.loads(text)["image"] is None or not events.app.cached


def test_an_empty_column_as_json_has_no_url(events: Events):
    event = events.saved()
    empty = {"url": None, "versions": {"thumb": {"url": None}}}
    assert json.loads(json.dumps(event.image, default=json_default)) == empty
    assert json.dumps(event.images, default=json_default) == "[]"


def test_something_else_is_no_json():
    with pytest.raises(TypeError, match="an object of type set cannot be put into JSON"):
        json.dumps({"tags": {1}}, default=json_default)


def test_a_failure_goes_into_json():
    failure = uploads.UploadFailure("too_large", "It is too large.")
    assert json.loads(json.dumps(failure, default=json_default)) == {
        "code": "too_large",
        "message": "It is too large.",
    }


# Dirty records.


def test_a_record_knows_whether_its_file_was_changed(events: Events):
    event = events.model()
    event.name = "Ann"
    event.save()
    for model in (event, events.reloaded(event)):
        assert (model.is_dirty(), model.image.changed, model.images.changed) == (False,) * 3

    event.image = A
    assert (event.image.changed, event.dirty_fields) == (True, [events.model.image])
    event.save()
    assert (event.image.changed, event.is_dirty()) == (False, False)
    event.image = A  # the same content again is another upload
    assert event.dirty_fields == [events.model.image]
    event.save()

    event = events.reloaded(event)
    event.images.append(B)
    assert (event.images.changed, event.dirty_fields) == (True, [events.model.images])
    event.save()
    assert (event.images.changed, event.is_dirty()) == (False, False)
    event = events.reloaded(event)
    event.images.remove(event.images[0])
    assert event.dirty_fields == [events.model.images]
    event.save()
    event.remove_image = True
    assert event.dirty_fields == [events.model.image]
    event.save()
    assert not event.is_dirty()
    assert events.is_clean(event)


def test_assigning_the_present_file_changes_nothing(events: Events):
    event = events.saved(image=A, images=[B, C])
    event.image = event.image
    event.image = event.image.stored
    event.images = event.images
    assert not event.is_dirty()
    event.save()
    assert events.is_clean(event)


def test_a_rolled_back_record_is_dirty_again(events: Events):
    event = events.saved(image=A, images=[B])
    event.image, event.images = B, []
    rolled_back(events, event.save)
    assert {field.name for field in event.dirty_fields} >= {"image", "images"}
    event.save()
    event = events.reloaded(event)
    assert (width(event.image), len(event.images)) == (70, 0)


def test_dirty_fields_alone_can_be_saved(events: Events):
    event = events.saved(image=A, images=[B])
    event.image = C
    event.images.append(A)
    event.save(only=event.dirty_fields)
    event = events.reloaded(event)
    assert (width(event.image), widths(event.images)) == (80, [70, 60])
    assert not event.is_dirty()


# Saving.


def test_saving_without_a_file_or_for_another_reason_keeps_the_files(events: Events):
    event = events.saved()
    assert not event.image
    event = events.saved(image=A, images=[B])
    event.name = "Ann"
    event.save()
    some = events.model.select(events.model.id, events.model.name)
    some.where(events.model.id == event.id).get().save()
    event = events.reloaded(event)
    assert (event.name, width(event.image), widths(event.images)) == ("Ann", 60, [70])


def test_a_save_that_is_refused_keeps_what_was_assigned(events: Events):
    class Validated(events.model):
        class Meta:
            table_name = events.model._meta.table_name

        def save(self, *arguments: Any, **options: Any) -> Any:
            if not self.name:
                raise ValueError("choose a name")
            if self.image.file is None:
                raise ValueError("choose a file")
            if self.image.size > 10_000 or len(self.images) > 2:
                raise ValueError("too much")
            return super().save(*arguments, **options)

    event = Validated(image=A)
    with pytest.raises(ValueError, match="choose a name"):
        event.save()
    assert event.image.read() == A
    event.name = "Ann"
    event.images = [A, B, C]
    with pytest.raises(ValueError, match="too much"):
        event.save()
    event.images.remove(event.images[1])
    event.save()
    with pytest.raises(ValueError, match="choose a file"):
        Validated(name="Bob").save()
    event.remove_image = True
    with pytest.raises(ValueError, match="choose a file"):
        event.save()
    event = events.reloaded(event)
    assert (width(event.image), widths(event.images)) == (60, [60, 80])


def test_a_file_of_the_same_name_replaces_the_old_one(events: Events):
    event = events.model()
    event.image.assign(A, "me.png")
    event.save()
    first = events.reloaded(event).image.url()
    event.image.assign(B, "me.png")
    event.save()
    event = events.reloaded(event)
    assert (event.image.stored.filename, width(event.image)) == ("me.png", 70)
    assert event.image.url() != first  # so no cache shows the old one
    assert events.is_clean(event)


def test_files_replaced_several_times_in_a_transaction_are_all_removed(events: Events):
    event = events.saved(image=A, images=[A])
    with events.app.database.atomic():
        for content in (B, C, A, B):
            event.image, event.images = content, [content]
            event.save()
    event = events.reloaded(event)
    assert (width(event.image), widths(event.images)) == (70, [70])
    assert events.is_clean(event)


def test_a_mount_can_have_another_column_name(app: Application):
    class Other(Base):
        avatar = mount_uploader(PictureUploader, column_name="image")

    app.create_tables(Other)
    other = Other.create(avatar=A)
    app.work()
    assert "image" in {column.name for column in app.database.get_columns("other")}
    assert width(Other.get().avatar) == 60
    other.avatar = B
    other.save()
    app.work()
    assert len(app.stored) == 2
    other.delete_instance()
    app.work()
    assert app.stored == []


def test_a_failing_store_keeps_the_old_file(events: Events, monkeypatch: pytest.MonkeyPatch):
    event = events.saved(image=A)

    def refuse(*_: Any) -> None:
        raise UploadError("no")

    event.image = B
    with monkeypatch.context() as patch:
        patch.setattr(PictureUploader, "before_store", refuse)
        if events.model.__name__ == "StoredLater":
            event.save()
            events.app.work()
        else:
            with pytest.raises(UploadError):
                event.save()
    assert width(events.reloaded(event).image) == 60


@pytest.mark.parametrize("in_background", [False, True])
def test_names_and_folders_may_depend_on_the_record(app: Application, in_background: bool):
    class Named(PictureUploader):
        store_prefix = "named"

        def store_dir(self) -> str:
            return f"named/{self.record.name}"

        def filename(self, version: str | None, upload: Any) -> str:
            label = safe_name(upload.filename)[::-1]
            return f"{version}_{label}" if version else label

    class Jonas(Base):
        name = peewee.CharField()
        image = mount_uploader(Named)
        image_tmp = CacheField()

    if in_background:
        store_in_background("image")(Jonas)
    app.create_tables(Jonas)
    jonas = Jonas(name="one")
    jonas.image.assign(A, "bork.png")
    jonas.save()
    app.work()
    first = Jonas.get().image
    assert first.url().startswith("/files/named/one/")
    assert first.url().endswith("/krob.png")
    assert first.thumb.url().endswith("/thumb_krob.png")

    # When the path changes with the record, the old file is found all the same
    jonas = Jonas.get()
    jonas.name = "two"
    jonas.image.assign(B, "monkey.png")
    jonas.save()
    app.work()
    assert Jonas.get().image.url().startswith("/files/named/two/")
    assert len(app.stored) == 2
    Jonas.get().delete_instance()
    app.work()
    assert app.stored == []


# Copies of records (`#dup`).


@pytest.mark.parametrize("was_saved", [True, False])
def test_a_copied_record_gets_files_of_its_own(events: Events, was_saved: bool):
    event = events.model(image=A, images=[B])
    if was_saved:
        event.save()
        event = events.reloaded(event)
    other = copy.deepcopy(event)
    other.id = None
    assert other.image.record is other
    other.save(force_insert=True)
    event.save()
    event, other = events.reloaded(event), events.reloaded(other)

    assert event.image.stored.key != other.image.stored.key
    assert str(other.id) in other.image.stored.key
    assert events.is_clean(event, other)
    event.delete_instance()
    assert (width(other.image), widths(other.images)) == (60, [70])
    assert events.is_clean(other)


# Reading again (`#reload`), and versions made again.


def test_a_loaded_record_shows_what_the_row_has(events: Events):
    event = events.saved(image=A)
    events.model.update(image=None).where(events.model.id == event.id).execute()
    assert not events.reloaded(event).image


def test_an_empty_text_in_the_row_is_no_file(events: Events):
    event = events.saved(image=A, images=[B])
    table = events.model._meta.table_name
    events.app.database.execute_sql(f"UPDATE {table} SET image = '', images = ''")
    event = events.reloaded(event)
    assert (bool(event.image), list(event.images), event.image.as_json()["url"]) == (
        False,
        [],
        None,
    )
    event.image = C
    event.save()
    assert width(events.reloaded(event).image) == 80


def test_saving_after_recreating_versions_keeps_the_file(events: Events):
    event = events.saved(image=A)
    event.image.recreate_versions()
    events.app.work()
    event = events.reloaded(event)
    event.name = "Ann"
    event.save()
    assert event.image.read() == A
    assert event.image.thumb.read()


# Nested records.


def test_a_nested_record_takes_a_cache_id(app: Application):
    class Show(Base):
        pass

    class Ticket(Base):
        show = peewee.ForeignKeyField(Show, backref="tickets")
        image = mount_uploader(PictureUploader)

    app.create_tables(Show, Ticket)
    kept = Ticket(image=A).image_cache
    show = Show.create()
    Ticket.create(show=show)
    for ticket in show.tickets:
        ticket.image_cache = kept
        ticket.save()
    assert width(show.tickets[0].image) == 60


# Deleting.


def test_deleting_a_record_removes_its_files(events: Events):
    events.saved().delete_instance()
    event = events.saved(image=A, images=[B, C])
    rolled_back(events, event.delete_instance)
    assert width(events.reloaded(event).image) == 60
    assert events.is_clean(event)
    event.delete_instance()
    events.app.work()
    assert events.app.stored == events.app.cached == []
    assert Job.select().count() == 0
