"""Rows of `docs/coming-from-carrierwave.md` that no other test tries: each follows the text of one
or more examples of CarrierWave's specs, which the comment or the docstring names."""

import io
from typing import Any

import PIL.Image
import pytest

from gifster import jobs
from gifster.uploads import Image, Uploader, UploadError, errors, mount_uploader, process, version
from tests import images
from tests.uploads.carrierwave.conftest import A, B, C, D, Events, PictureUploader, width, widths
from tests.uploads.form_parts import part
from tests.uploads.framework import Application, Base


class Undo(Exception):
    """Rolls a transaction back."""


# Records (orm/activerecord_spec.rb).


def test_a_file_that_was_removed_can_be_stored_again(events: Events):
    """ "image?": "returns true when a file is removed and stored again"."""
    event = events.saved(image=A)
    event.remove_image = True
    event.save()
    assert not event.image.file
    event.image = A
    assert event.image.file
    event.save()
    assert width(events.reloaded(event).image) == 60


def test_remove_is_false_again_after_the_save(events: Events):
    """ "resets remove_image? to false on save"."""
    event = events.saved(image=A, images=[A])
    event.remove_image = event.remove_images = True
    assert event.image.changed
    assert event.images.changed
    event.save()
    assert (event.remove_image, event.remove_images, event.is_dirty()) == (False, False, False)


def test_another_object_of_the_row_removes_its_file(events: Events):
    """ "Use another instance to simulate the real use case"."""
    event = events.saved(image=A)
    another = events.model.get_by_id(event.id)
    another.remove_image = True
    another.save()
    events.app.work()
    assert not event.image.stored.exists()
    event.name = "stale"
    event.save()
    assert not events.reloaded(event).image


def test_update_clears_the_file_and_a_constructor_does_not(events: Events):
    """ "calling #update! on the instance": "allows clearing the stored image"."""
    event = events.saved(image=A, images=[A])
    for name, value in {"image": None, "images": []}.items():
        setattr(event, name, value)
    event.save()
    event = events.reloaded(event)
    assert (bool(event.image), len(event.images)) == (False, 0)
    assert events.is_clean(event)


def test_a_partly_loaded_record_saves_its_file(events: Events):
    """ "should not update image when save with select"."""
    event = events.saved(image=A, name="before")
    partly = events.model.select(events.model.id, events.model.name).get()
    partly.name = "after"
    partly.save()
    event = events.reloaded(event)
    assert (event.name, width(event.image)) == ("after", 60)


def test_saving_again_stores_nothing_again(events: Events):
    """ "shouldn't be generated after second save"; `touch`."""
    event = events.saved(image=A, images=[B])
    before = (event.image.stored.key, events.app.stored, jobs.Job.select().count())
    for _ in range(2):
        event.name = "again"
        event.save()
    assert (events.reloaded(event).image.stored.key, events.app.stored) == before[:2]
    assert jobs.Job.select().count() == before[2]


def test_a_deletion_that_is_rolled_back_keeps_the_file(events: Events):
    event = events.saved(image=A, images=[B])
    with pytest.raises(Undo), events.app.database.atomic():
        event.delete_instance()
        raise Undo
    event = events.reloaded(event)
    assert (event.image.read(), event.images[0].read()) == (A, B)


# Rollback: "#mount_uploader into transaction".


def test_a_record_created_and_deleted_in_one_transaction_leaves_nothing(events: Events):
    with events.app.database.atomic():
        event = events.model(image=A, images=[B])
        event.save()
        event.delete_instance()
    events.app.work()
    assert (events.app.cached, events.app.stored) == ([], [])


def test_images_removed_one_by_one_in_a_transaction_all_go(events: Events):
    """ "should remove all the images when trying to remove them one by one"."""
    event = events.saved(images=[A, B, C])
    with events.app.database.atomic():
        for _ in range(3):
            event.images = event.images[1:]
            event.save()
    event = events.reloaded(event)
    assert len(event.images) == 0
    assert events.is_clean(event)


def test_a_removal_in_a_rolled_back_transaction_keeps_a_list(events: Events):
    event = events.saved(images=[A, B])
    with pytest.raises(Undo), events.app.database.atomic():
        event.images = [event.images[1], C]
        event.save()
        raise Undo
    assert widths(events.reloaded(event).images) == [60, 70]


# Lists (mount_multiple_spec.rb).


def test_a_list_is_sliced_joined_and_extended(events: Events):
    """`images = images[1..]`, `images += [file]` (README)."""
    event = events.saved(images=[A, B])
    event.images = [*event.images[1:], C]
    event.save()
    event = events.reloaded(event)
    assert widths(event.images) == [70, 80]
    event.images += [D]
    event.save()
    event = events.reloaded(event)
    assert widths(event.images) == [70, 80, 90]
    event.images = [A, *event.images, event.images[0]]  # one that comes twice is copied
    event.save()
    assert widths(events.reloaded(event).images) == [60, 70, 80, 90, 70]


def test_uploading_and_reordering_at_once(events: Events):
    """ "allows uploading and reordering at once"."""
    event = events.saved(images=[A, B])
    first, second = event.images.identifiers
    event.images = [second, part(C), first, ""]
    event.save()
    event = events.reloaded(event)
    assert widths(event.images) == [70, 80, 60]
    assert events.is_clean(event)


def test_a_list_with_identifiers_and_cache_ids_and_files(events: Events):
    """ "accepts cache name and retrieves from cache", beside all else."""
    event = events.saved(images=[A])
    form = events.model(images=[B])
    [cache_id] = [image.cache_id for image in form.images]
    event.images = [cache_id, event.images[0].identifier, part(C)]
    event.save()
    assert widths(events.reloaded(event).images) == [70, 60, 80]


def test_a_removed_list_and_a_new_file(events: Events):
    """`remove_images = true` with a newly assigned list."""
    event = events.saved(images=[A, B])
    event.remove_images = True
    event.images.append(C)
    event.save()
    event = events.reloaded(event)
    assert widths(event.images) == [80]
    assert events.is_clean(event)


def test_a_list_keeps_its_order_however_its_jobs_run(events: Events):
    event = events.model(images=[A, B, C, D])
    event.save()
    for job in reversed(events.app.jobs()):
        events.app.deliver(job)
    assert widths(events.reloaded(event).images) == [60, 70, 80, 90]


# Versions (uploader/versions_spec.rb, processing_spec.rb) and callbacks.


class BaseUploader(Uploader):
    calls: list[str] = []

    @process(when=lambda uploader, info: info.width > 70)
    def shrink(self, image: Image) -> Image:
        return image.fit(70, 70)

    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(30, 30)

    @version(of="thumb")
    def mini(self, image: Image) -> Image:
        return image.fit(10, 10)

    @version(when=lambda uploader, info: info.width > 60)
    def wide(self, image: Image) -> Image:
        return image.fit(55, 55)

    @version(of="wide")
    def of_wide(self, image: Image) -> Image:
        return image.fit(22, 22)

    def default_url(self, name: str | None) -> str:
        return f"/default/{name or 'image'}.png"


class OwnUploader(BaseUploader):
    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(20, 20).convert("webp")

    @version
    def extra(self, image: Image) -> Image:
        return image.fit(15, 15)

    def store_dir(self) -> str:
        return f"own/{self.record.id}"


class Painting(Base):
    image = mount_uploader(BaseUploader)


class OwnPainting(Base):
    image = mount_uploader(OwnUploader)


@pytest.fixture
def paintings(app: Application) -> Application:
    app.create_tables(Painting, OwnPainting)
    return app


def painted(model: Any, content: bytes) -> Any:
    """The uploader of a new record, loaded again."""
    made = model(image=content)
    made.save()
    return model.get_by_id(made.id).image


def sizes(uploader: Any) -> dict[str, int]:
    return {name: file.width for name, file in uploader.stored.versions.items()}


def test_versions_of_versions_are_made_of_them_and_have_one_name(paintings: Application):
    """ "should process nested versions"; "should cache the files based on the version"."""
    image = painted(Painting, B)
    assert sizes(image) == {"thumb": 30, "mini": 10, "wide": 55, "of_wide": 22}
    assert image.url("mini") == image.mini.url() == image.versions["mini"].url()
    with pytest.raises(LookupError, match="no version 'nothing'"):
        image.url("nothing")


def test_a_version_of_one_that_is_not_made_is_not_made(paintings: Application):
    """ "should not process conditional versions if …"; "should not cache an inactive version"."""
    image = painted(Painting, A)
    assert sizes(image) == {"thumb": 30, "mini": 10}
    assert not image.wide
    assert image.wide.url() == image.url("of_wide").replace("of_", "") == "/default/wide.png"


def test_a_conditional_step_is_decided_by_the_file(paintings: Application):
    """ "calls the processor if the condition … returns true", and not otherwise."""
    assert painted(Painting, D).stored.width == 70
    assert painted(Painting, A).read() == A


def test_a_subclass_overrides_a_version_and_its_parent_keeps_its_own(paintings: Application):
    """ "should override parent version", "shouldn't affect parent class' version", "should respect
    store_dir in the subclass", "should respect default_url in the subclass"."""
    own, plain = painted(OwnPainting, A), painted(Painting, A)
    assert sizes(own) == {"thumb": 20, "mini": 10, "extra": 15}
    assert own.thumb.content_type == "image/webp"
    assert own.stored.key.startswith(f"own/{own.record.id}/")
    assert "extra" not in plain.versions
    assert plain.thumb.stored.width == 30
    assert OwnPainting().image.thumb.url() == "/default/thumb.png"


def test_only_the_named_versions_are_made_again(paintings: Application):
    """ "should recreate only specified versions if passed as args", "should keep the original
    file", "should not create version if proc returns false"."""
    image = painted(Painting, A)
    before = {name: file.key for name, file in image.stored.versions.items()}
    image.recreate_versions("thumb", "wide")
    paintings.work()

    after = Painting.get_by_id(image.record.id).image
    now = {name: file.key for name, file in after.stored.versions.items()}
    assert set(now) == {"thumb", "mini"}
    assert now["thumb"] != before["thumb"]
    assert now["mini"] == before["mini"]
    assert after.stored.key == image.stored.key
    assert after.read() == A


def test_a_version_that_is_missing_is_made_again(paintings: Application):
    """ "should recreate all versions if any are missing"."""
    image = painted(Painting, B)
    paintings.store.delete(image.thumb.stored.key)
    image.recreate_versions()
    paintings.work()

    after = Painting.get_by_id(image.record.id).image
    assert sizes(after) == {"thumb": 30, "mini": 10, "wide": 55, "of_wide": 22}
    assert all(file.exists() for file in after.stored.versions.values())
    assert len(paintings.stored) == 5


def test_recreating_without_a_file_does_nothing(paintings: Application):
    """ "when the file is not stored": "should not break"."""
    painting = Painting.create()
    assert painting.image.recreate_versions() is None
    with pytest.raises(LookupError):
        painting.image.recreate_versions("nothing")


def test_a_version_keeps_the_name_that_filename_gives_it(app: Application):
    """ "with version full_filename overridden": "retrieves the file without inconsistency"."""

    class Named(BaseUploader):
        def filename(self, version: str | None, upload: Any) -> str:
            return f"{version or 'full'}-{upload.sha256[:4]}"

    class NamedPainting(Base):
        image = mount_uploader(Named)

    app.create_tables(NamedPainting)
    image = painted(NamedPainting, A)
    assert image.thumb.url().rpartition("/")[2] == f"thumb-{image.stored.sha256[:4]}.png"
    assert PIL.Image.open(io.BytesIO(image.mini.read())).width == 10


def test_a_callback_can_keep_a_file_and_the_record(app: Application):
    class Kept(BaseUploader):
        def before_remove(self, stored: Any) -> None:
            raise UploadError("It is still needed.")

    class KeptPainting(Base):
        image = mount_uploader(Kept)

    app.create_tables(KeptPainting)
    image = painted(KeptPainting, A)
    record = image.record
    with pytest.raises(UploadError, match="still needed"):
        record.delete_instance()
    record.image = B
    with pytest.raises(UploadError, match="still needed"):
        record.save()
    app.work()
    assert KeptPainting.get_by_id(record.id).image.read() == A


def test_a_refused_file_is_refused_by_the_rules_of_the_subclass(events: Events):
    """ "defined processors inheritance works"; the checks are inherited, too."""

    class Strict(PictureUploader):
        width_range = (None, 65)

    class StrictEvent(Base):
        image = mount_uploader(Strict)

    events.app.create_tables(StrictEvent)
    assert width(painted(StrictEvent, A)) == 60
    with pytest.raises(errors.DimensionsNotAllowed):
        StrictEvent(image=B)
    assert set(StrictEvent().image.versions) == {"thumb"}
    assert images.size(A) == (60, 40)
