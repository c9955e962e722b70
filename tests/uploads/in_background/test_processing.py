"""Processing: steps, versions, file names, the facts in the row, and the hooks."""

import io
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageOps
import pytest

from gifster.jobs import enqueue
from gifster.uploads import (
    CacheField,
    Image,
    ImageInfo,
    LocalStorage,
    StateField,
    Uploader,
    UploadError,
    mount_uploader,
    process,
    store_in_background,
    version,
)
from gifster.uploads.attaching.storing import folder
from gifster.uploads.columns.fields import ErrorField
from gifster.uploads.testing import MemoryStorage, enqueued
from tests import images
from tests.uploads.framework import Application, AvatarUploader, Base
from tests.uploads.one_file import content, model, stored

GIF = images.gif(size=(300, 200), durations=[30, 50, 70, 110], loop=3)


def test_versions_build_on_versions_and_have_formats(application: Application):
    class Formats(Uploader):
        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(90, 90)

        @version(of="thumb")
        def poster(self, image: Image) -> Image:
            return image.first_frame().convert("png")

        @version
        def square(self, image: Image) -> Image:
            return image.fill(64, 64)

        @version
        def moving(self, image: Image) -> Image:
            return image.fit(100, 100).convert("webp")

        @version
        def photo(self, image: Image) -> Image:
            return image.convert("jpeg")

    file = stored(application, Formats, GIF)

    made = file.stored.versions
    assert {name: (v.content_type, v.width, v.height) for name, v in made.items()} == {
        "thumb": ("image/gif", 90, 60),
        "poster": ("image/png", 90, 60),
        "square": ("image/gif", 64, 64),
        "moving": ("image/webp", 100, 67),
        "photo": ("image/jpeg", 300, 200),
    }
    # A GIF counts repetitions, and WebP how often it plays
    for name, loop in (("thumb", 3), ("square", 3), ("moving", 4)):
        assert images.timing(content(application, file, name)) == ([30, 50, 70, 110], loop)
    assert file.url("poster").endswith("/poster.png")
    assert images.size(content(application, file, "square")) == (64, 64)


def test_fill_crops_to_the_middle(application: Application):
    # Given a picture whose middle third is green
    picture = PIL.Image.new("RGB", (90, 30), "red")
    picture.paste((0, 255, 0), (30, 0, 60, 30))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")

    class Middle(Uploader):
        @version
        def square(self, image: Image) -> Image:
            return image.fill(10, 10)

    file = stored(application, Middle, buffer.getvalue())

    with PIL.Image.open(io.BytesIO(content(application, file, "square"))) as square:
        assert square.convert("RGB").getcolors() == [(100, (0, 255, 0))]


def test_conditions_decide_which_versions_are_made(application: Application):
    class Conditions(Uploader):
        @version(when=lambda uploader, info: info.frames > 1)
        def poster(self, image: Image) -> Image:
            return image.first_frame()

        @version(of="poster")
        def small_poster(self, image: Image) -> Image:
            return image.fit(20, 20)

        @version(when=lambda uploader, info: info.width > 1000)
        def preview(self, image: Image) -> Image:
            return image.fit(1000, 1000)

        def default_url(self, version: str | None) -> str | None:
            return f"/default/{version}.png"

    moving = stored(application, Conditions, GIF)
    assert set(moving.stored.versions) == {"poster", "small_poster"}
    assert moving.url("preview") == "/default/preview.png"
    assert Conditions(moving.record, moving.mount).url() != "/default/None.png"

    class Still(Conditions):
        pass

    assert stored(application, Still, images.still("PNG")).stored.versions == {}


def test_a_version_may_have_another_storage(application: Application):
    public = MemoryStorage("https://public.example.org")
    application.configure()
    from gifster.uploads.config import config

    config.storages["public"] = public

    class Elsewhere(Uploader):
        @version(storage="public")
        def thumb(self, image: Image) -> Image:
            return image.fit(20, 20)

    file = stored(application, Elsewhere, GIF)
    assert file.url("thumb").startswith("https://public.example.org/")
    assert len(public.files) == 1
    assert len(application.stored) == 1

    file.record.delete_instance()
    application.work()
    assert public.files == {}
    assert application.stored == []


def test_processing_steps_change_the_original_and_its_versions(application: Application):
    class Steps(Uploader):
        @process
        def shrink(self, image: Image) -> Image:
            return image.fit(150, 150)

        @process
        def grey(self, image: Image) -> Image:
            return image.apply(PIL.ImageOps.grayscale)

        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(50, 50)

    class Inherited(Steps):
        grey = None  # Removes the inherited step.

    file = stored(application, Steps, images.still("PNG"))
    assert (file.stored.width, file.stored.height) == (150, 100)
    for name in (None, "thumb"):
        with PIL.Image.open(io.BytesIO(content(application, file, name))) as image:
            assert image.mode == "L"
    assert file.stored.bytes == len(content(application, file))

    other = stored(application, Inherited, images.still("PNG"))
    with PIL.Image.open(io.BytesIO(content(application, other))) as image:
        assert (image.mode, image.size) == ("RGB", (150, 100))


@pytest.mark.parametrize("declare", [version, process])
def test_a_step_of_what_cannot_be_called_is_refused_at_once(declare: Any):
    for condition in ("is_wide", True):
        with pytest.raises(TypeError, match=rf"when is {condition!r}, which cannot be called"):

            class Conditional(Uploader):
                @declare(when=condition)
                def small(self, image: Image) -> Image:
                    return image.fit(10, 10)

    with pytest.raises(TypeError, match=r"the method is 'thumb'.* decorate a method"):
        declare("thumb")


def test_a_version_that_builds_on_a_missing_one_raises(application: Application):
    class Lost(Uploader):
        @version(of="nobody")
        def thumb(self, image: Image) -> Image:
            return image

    with pytest.raises(
        TypeError, match="Lost: these versions build on a missing version or on themselves: thumb"
    ):
        stored(application, Lost, GIF)


def test_file_names_are_safe_and_can_be_overridden(application: Application):
    class Named(AvatarUploader):
        def filename(self, version, upload):
            return f"{version or 'full'}-{upload.sha256[:8]}"

        def store_dir(self):
            return f"people/{self.record.id}"

    named = model(application, Named)()
    named.file.assign(GIF, "../../etc/passwd\0.gif")
    named.save()

    assert named.file.stored.filename == "passwd.gif"
    digest = named.file.stored.sha256[:8]
    assert named.file.stored.key.startswith(f"people/{named.id}/")
    assert named.file.stored.key.endswith(f"/full-{digest}.gif")
    assert named.file.stored.versions["thumb"].key.endswith(f"/thumb-{digest}.gif")

    class Same(AvatarUploader):
        def filename(self, version, upload):
            return "same"

    with pytest.raises(ValueError, match=r"Same.filename\(\) gives two files the same name"):
        stored(application, Same, GIF)


def test_the_row_has_the_facts_of_the_file(application: Application):
    red = PIL.Image.new("RGBA", (40, 30), (200, 10, 10, 255))
    red.paste((0, 0, 0, 0), (0, 0, 10, 30))
    buffer = io.BytesIO()
    red.save(buffer, "PNG")

    facts = stored(application, AvatarUploader, buffer.getvalue()).stored

    assert (facts.content_type, facts.bytes) == ("image/png", len(buffer.getvalue()))
    assert (facts.width, facts.height, facts.frames, facts.loop) == (40, 30, 1, None)
    assert facts.color == "#c80a0a"
    assert facts.thumbhash
    assert len(facts.sha256) == 64
    moving = stored(application, type("Other", (AvatarUploader,), {}), GIF).stored
    assert (moving.frames, moving.duration_ms, moving.loop) == (4, 260, 4)


def test_a_file_that_is_not_an_image_is_stored_unchanged(application: Application):
    class Papers(Uploader):
        allow_types = {"application/pdf", "application/octet-stream"}

        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(10, 10)

    paper = stored(application, Papers, b"%PDF-1.7 ...")
    assert (paper.stored.content_type, paper.stored.width) == ("application/pdf", 0)
    assert paper.stored.key.endswith(".pdf")
    assert paper.stored.versions == {}
    assert paper.stored.thumbhash is None

    class Anything(Papers):
        allow_types = None
        deny_types = {"application/pdf"}

    assert stored(application, Anything, b"just text").stored.key.endswith(".bin")
    with pytest.raises(UploadError, match="PDF"):
        stored(application, type("AnythingToo", (Anything,), {}), b"%PDF-1.7 ...")


def test_the_hooks_are_called_in_order(application: Application):
    calls: list[str] = []

    class Hooked(AvatarUploader):
        def before_cache(self, filename):
            calls.append("before_cache")

        def after_cache(self, cached):
            calls.append(f"after_cache {cached.bytes}")

        def before_process(self, info: ImageInfo):
            calls.append(f"before_process {info.width}")

        def after_process(self, files):
            calls.append(f"after_process {[file.name for file in files]}")

        def before_store(self, stored):
            calls.append("before_store")

        def after_store(self, stored):
            calls.append(f"after_store {self.record.id}")
            enqueue("remove_files", "doc_hooked", 0, "file", [])

        def before_remove(self, stored):
            calls.append("before_remove")

        def after_remove(self, files):
            calls.append(f"after_remove {len(files)}")

    file = stored(application, Hooked, GIF)
    assert calls == [
        "before_cache", f"after_cache {len(GIF)}", "before_process 300",
        "after_process ['thumb', 'original']", "before_store", "after_store 1",
    ]  # fmt: skip
    assert len(enqueued("remove_files")) == 1

    calls.clear()
    file.record.remove_file = True
    file.record.save()
    application.work()
    assert calls == ["before_remove", "after_remove 0", "after_remove 2"]


@pytest.mark.parametrize("hook", ["before_process", "after_process", "before_store"])
def test_a_hook_can_refuse_an_upload_in_the_background(application: Application, hook: str):
    class NotToday(UploadError):
        code = "not_today"

    def refuse(self, *arguments):
        raise NotToday("Not today.")

    refusing = type("Refusing", (AvatarUploader,), {hook: refuse})

    @store_in_background("file")
    class Refused(Base):
        file = mount_uploader(refusing)
        file_tmp = CacheField()
        file_state = StateField()
        file_error = ErrorField()

    application.create_tables(Refused)
    made = Refused.create(file=GIF)
    application.work()

    failed = Refused.get_by_id(made.id)
    assert (failed.file_state, failed.file_error.code) == ("failed", "not_today")
    assert application.cached == application.stored == []


def test_after_cache_can_refuse_an_upload(application: Application):
    class Refusing(AvatarUploader):
        def after_cache(self, cached):
            raise UploadError("Not today.")

    with pytest.raises(UploadError, match="Not today"):
        stored(application, Refusing, GIF)
    assert application.cached == []


def test_an_exception_in_after_store_undoes_the_save(application: Application):
    class Undone(AvatarUploader):
        def after_store(self, stored):
            raise RuntimeError("no")

    made = model(application, Undone)()
    made.file = GIF
    with pytest.raises(RuntimeError):
        made.save()

    assert type(made).select().count() == 0
    assert application.stored == []


def test_rows_of_an_earlier_release_can_be_read(application: Application, tmp_path: Path):
    old = (
        '{"storage": "store", "key": "a/b/original.gif", "filename": "a.gif", "content_type":'
        ' "image/gif", "bytes": 1, "sha256": "", "width": 1, "height": 1, "frames": 1,'
        ' "duration_ms": 0, "loop": null, "versions": {"thumb": {"key": "a/b/thumb.gif",'
        ' "content_type": "image/gif", "bytes": 1, "width": 1, "height": 1}}}'
    )
    documents = model(application, type("Old", (AvatarUploader,), {}))
    application.database.execute_sql(
        f"INSERT INTO {documents._meta.table_name} (file) VALUES ('{old}')"
    )

    [document] = documents.select()
    assert document.file.url("thumb").endswith("/a/b/thumb.gif")
    assert folder(document.file, document.file.stored) == "a/b"
    assert isinstance(LocalStorage(tmp_path), LocalStorage)
