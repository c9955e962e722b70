"""Steps and versions that get a file and give a file, conditions, and processing switched off."""

import io
import os
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from gifster.uploads import (
    Backgrounder,
    CacheField,
    CacheListField,
    ErrorField,
    Image,
    ImageInfo,
    ProcessingField,
    StateField,
    Uploader,
    UploadError,
    mount_uploader,
    mount_uploaders,
    process,
    process_in_background,
    store_in_background,
    version,
)
from gifster.uploads.testing import inline_jobs, without_processing
from tests import images
from tests.uploads.framework import Application, Base
from tests.uploads.test_processing import content, model, stored

TEXT = b"bork bork bork"
GIF = images.gif((120, 90), [50, 70, 90])


def named(tmp_path: Path, name: str, source: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(source)
    return path


class NotesUploader(Backgrounder, Uploader):
    allow_types = {"text/*", "application/pdf", "image/*"}

    @version(file=True)
    def loud(self, file: Path) -> Path | bytes:
        return file.read_bytes().upper()

    @version(file=True, of="loud")
    def louder(self, file: Path) -> Path:
        with file.open("ab") as opened:  # in place, on a copy
            opened.write(b"!")
        return file

    @version(file=True, of="louder")
    def page(self, file: Path) -> Path:
        """A picture of a document, as by the user's own tool."""
        made = file.parent / "page.png"
        PIL.Image.new("RGB", (300, 10 * len(file.read_bytes())), "navy").save(made)
        return made

    @version(of="page")
    def preview(self, image: Image) -> Image:
        return image.fit(30, 30)

    @version(of="preview")
    def tiny(self, image: Image) -> Image:
        return image.fit(10, 10).convert("webp")

    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(20, 20)


@store_in_background("file")
class Note(Base):
    file = mount_uploader(NotesUploader)
    file_tmp = CacheField()
    file_state = StateField()
    file_error = ErrorField()


@process_in_background("file")
class Letter(Base):
    file = mount_uploader(NotesUploader)
    file_processing = ProcessingField()


@store_in_background("files")
class Folder(Base):
    files = mount_uploaders(NotesUploader)
    files_tmp = CacheListField()


def assert_is_made(application: Application, made: Any) -> None:
    """Each of the text's versions is made of the one that it builds on."""
    assert list(made.stored.versions) == ["loud", "louder", "page", "preview", "tiny"]
    assert content(application, made) == TEXT
    assert content(application, made, "loud") == TEXT.upper()
    assert content(application, made, "louder") == TEXT.upper() + b"!"
    assert {
        name: (kept.content_type, kept.key.rpartition(".")[2], kept.width, kept.height)
        for name, kept in made.stored.versions.items()
    } == {
        "loud": ("text/plain", "txt", 0, 0),
        "louder": ("text/plain", "txt", 0, 0),
        "page": ("image/png", "png", 300, 150),
        "preview": ("image/png", "png", 30, 15),
        "tiny": ("image/webp", "webp", 10, 5),
    }


def test_versions_of_any_file_build_on_one_another(application: Application, tmp_path: Path):
    application.create_tables(Note, Letter, Folder)
    source = named(tmp_path, "notes.txt", TEXT)
    for table in (Note, Letter):
        record = table()
        record.file = source
        record.save()
        application.work()
        assert_is_made(application, table.get_by_id(record.id).file)
    record = Note()
    record.process_file_upload = True  # in the foreground
    record.file = source
    record.save()
    assert_is_made(application, Note.get_by_id(record.id).file)
    folder = Folder(files=[source, source])
    folder.save()
    application.work()
    for made in Folder.get_by_id(folder.id).files:
        assert_is_made(application, made)


def test_versions_are_made_again_with_those_that_they_build_on(
    application: Application, tmp_path: Path
):
    application.create_tables(Note)
    record = Note()
    record.file = named(tmp_path, "notes.txt", TEXT)
    record.save()
    application.work()
    before = Note.get_by_id(record.id).file.stored

    Note.get_by_id(record.id).file.recreate_versions("tiny", "louder")
    application.work()

    after = Note.get_by_id(record.id).file
    assert_is_made_again = {
        name for name in after.stored.versions
        if after.stored.versions[name].key != before.versions[name].key
    }  # fmt: skip
    assert assert_is_made_again == {"tiny", "louder"}
    assert (after.stored.content_type, after.stored.key) == (before.content_type, before.key)
    assert content(application, after, "louder") == TEXT.upper() + b"!"
    after.recreate_versions()
    application.work()
    again = Note.get_by_id(record.id).file
    assert set(again.stored.versions) == set(before.versions)
    assert sorted(application.stored) == sorted(key for _, key in again.stored.files)


def test_steps_that_make_files_and_recipes_alternate(application: Application):
    calls: list[str] = []

    class Alternating(Uploader):
        @process
        def shrink(self, image: Image) -> Image:
            return image.fit(100, 100)

        @process(file=True)
        def sign(self, file: Path) -> Path:
            calls.append(f"{file.name} {images.size(file.read_bytes())}")
            with PIL.Image.open(file) as picture:
                made = picture.convert("RGB")
            made.paste((255, 0, 0), (0, 0, 50, 75))
            made.save(file.parent / "signed.png")
            return file.parent / "signed.png"

        @process
        def half(self, image: Image) -> Image:
            return image.fit(50, 50)

        @process(file=True, when=lambda uploader, info: info.width > 1000)
        def never(self, file: Path) -> Path:
            raise AssertionError

        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(20, 20)

        @version(file=True)
        def facts(self, file: Path) -> bytes:
            calls.append(f"{file.name} {images.size(file.read_bytes())}")
            return b"facts"

        @version(file=True, of="thumb")
        def copy(self, file: Path) -> Path:
            return file

    made = stored(application, Alternating, GIF)

    assert calls == ["original.gif (100, 75)", "original.png (50, 38)"]
    assert (made.stored.content_type, made.stored.width, made.stored.frames) == ("image/png", 50, 1)
    assert made.stored.color == "#ff0000"
    assert content(application, made, "copy") == content(application, made, "thumb")
    assert images.size(content(application, made, "thumb")) == (20, 15)
    with PIL.Image.open(io.BytesIO(content(application, made, "thumb"))) as picture:
        assert picture.convert("RGB").getpixel((3, 7)) == (255, 0, 0)


def test_a_step_runs_in_the_process_of_its_caller(application: Application):
    pids: list[int] = []

    class Running(Uploader):
        @process(file=True)
        def here(self, file: Path) -> Path:
            pids.append(os.getpid())
            return file

        @version
        def thumb(self, image: Image) -> Image:
            pids.append(os.getpid())  # the recipe, not the decoder
            return image.fit(20, 20)

    stored(application, Running, GIF)
    assert pids == [os.getpid()] * 2


def test_the_returned_name_says_what_kind_of_text_it_is(application: Application, tmp_path: Path):
    class Converting(Uploader):
        allow_types = "text/*"

        @process(file=True)
        def to_json(self, file: Path) -> Path:
            return named(file.parent, "made.json", b'["%s"]' % file.read_bytes())

        @version(file=True)
        def page(self, file: Path) -> Path:
            return named(file.parent, "made.txt", b"<html>%s</html>" % file.read_bytes())

    made = stored(application, Converting, named(tmp_path, "a.csv", b"a"))
    assert (made.stored.content_type, made.stored.filename) == ("application/json", "a.csv")
    assert made.stored.key.endswith(".json")
    assert made.stored.versions["page"].content_type == "text/html"
    assert content(application, made, "page") == b'<html>["a"]</html>'


def test_conditions_of_steps_and_versions(application: Application):
    seen: list[tuple[str, int]] = []

    def is_wide(uploader: Any, info: ImageInfo) -> bool:
        seen.append((type(uploader.record).__name__, info.width))
        return info.width > 100

    class Conditional(Uploader):
        @process(when=is_wide)
        def shrink(self, image: Image) -> Image:
            return image.fit(60, 60)

        @version(when=is_wide)
        def wide(self, image: Image) -> Image:
            return image.fit(20, 20)

        @version(when=lambda uploader, info: not is_wide(uploader, info))
        def narrow(self, image: Image) -> Image:
            return image.fit(20, 20)

    document = model(application, Conditional)
    for size, width, names in (((120, 90), 60, ["wide"]), ((90, 90), 90, ["narrow"])):
        record = document()
        record.file = images.gif(size)
        record.save()
        assert (record.file.stored.width, list(record.file.stored.versions)) == (width, names)
    assert set(seen) == {("Document", 120), ("Document", 90)}


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (None, TypeError, "Wrong.wrong() returned None: it must return a Path or bytes"),
        ("text", TypeError, "Wrong.wrong() returned 'text'"),
        (Path("nowhere"), FileNotFoundError, "Wrong.wrong() returned nowhere, which is not a file"),
    ],
)
def test_a_step_that_returns_no_file_says_so(
    application: Application, result: Any, error: type[Exception], message: str
):
    class Wrong(Uploader):
        @version(file=True)
        def wrong(self, file: Path) -> Any:
            return result

    with pytest.raises(error) as raised:
        stored(application, Wrong, GIF)
    assert str(raised.value).startswith(message)


def test_a_step_can_refuse_the_upload(application: Application, tmp_path: Path):
    class Refusing(Backgrounder, Uploader):
        allow_types = "text/*"

        @process(file=True)
        def check(self, file: Path) -> Path:
            raise UploadError("There is a virus in it.")

    @store_in_background("file")
    class Scanned(Base):
        file = mount_uploader(Refusing)
        file_tmp = CacheField()
        file_state = StateField()
        file_error = ErrorField()

    application.create_tables(Scanned)
    record = Scanned()
    record.file = named(tmp_path, "notes.txt", TEXT)
    record.save()
    application.work()
    record = Scanned.get_by_id(record.id)
    assert (record.file_state, record.file_error.message) == ("failed", "There is a virus in it.")
    assert (application.cached, application.stored) == ([], [])


def test_later_files_come_after_the_others(application: Application):
    order: list[str] = []

    class Layered(Backgrounder, Uploader):
        @version(later=True)
        def large(self, image: Image) -> Image:
            return image.fit(100, 100)

        @version(file=True, of="large")  # so it is later, too
        def copy(self, file: Path) -> Path:
            order.append("copy")
            return file

        @version(file=True)
        def poster(self, file: Path) -> Path:
            order.append("poster")
            with PIL.Image.open(file) as picture:
                picture.convert("RGB").save(file.parent / "poster.png")
            return file.parent / "poster.png"

        @version(of="poster")
        def small(self, image: Image) -> Image:
            return image.fit(20, 20)

        @version(of="poster", later=True)
        def middle(self, image: Image) -> Image:
            return image.fit(40, 40)

        @version(file=True, later=True, smaller_than="small")
        def huge(self, file: Path) -> bytes:
            return bytes(100_000)

        def before_store(self, stored: Any) -> None:
            order.append(" ".join(sorted(stored.versions)))

    @store_in_background("file")
    class Clip(Base):
        file = mount_uploader(Layered)
        file_tmp = CacheField()

    application.create_tables(Clip)
    record = Clip()
    record.file = GIF
    record.save()
    application.work()

    assert order == ["poster", "poster small", "copy", "copy large middle poster small"]
    made = Clip.get_by_id(record.id).file
    assert made.stored.thumbhash
    assert sorted(application.stored) == sorted(key for _, key in made.stored.files)


def test_processing_can_be_switched_off(application: Application, tmp_path: Path):
    class Plain(NotesUploader):
        max_bytes = 1_000

        @process
        def shrink(self, image: Image) -> Image:
            raise AssertionError

        @process(file=True)
        def check(self, file: Path) -> Path:
            raise AssertionError

        @version(when=lambda uploader, info: False)
        def never(self, image: Image) -> Image:
            return image

    document = model(application, Plain)

    def versions(source: Any) -> dict[str, bytes]:
        record = document()
        record.file = source
        record.save()
        file = document.get_by_id(record.id).file
        return {name: content(application, file, name) for name in file.stored.versions}

    still = images.still("PNG", (20, 20))
    notes = named(tmp_path, "notes.txt", TEXT)
    for switched_off in (without_processing(), without_processing(Plain)):
        with switched_off:
            # Each version is a copy of the original, and the limits count
            names = ["loud", "louder", "page", "preview", "tiny"]
            assert versions(notes) == dict.fromkeys(names, TEXT)
            assert set(versions(still)) == {*names, "thumb"}
            assert set(versions(still).values()) == {still}
            with pytest.raises(UploadError, match="too large"):
                versions(images.noisy_gif((120, 90), 6))
            with pytest.raises(UploadError):
                versions(b"\0binary")
        with pytest.raises(AssertionError):
            versions(notes)
    Plain.enable_processing = False
    assert versions(still)
    assert NotesUploader.enable_processing
    with without_processing(NotesUploader), inline_jobs():
        application.create_tables(Note)
        record = Note()
        record.file = still
        record.save()
    assert Note.get_by_id(record.id).file.stored.versions["thumb"].width == 20
    assert "enable_processing" not in vars(NotesUploader)


def test_a_version_is_an_attribute(application: Application):
    class Accessed(Uploader):
        @version
        def _800x600(self, image: Image) -> Image:
            return image.fit(80, 60)

        @version(when=lambda uploader, info: False)
        def never(self, image: Image) -> Image:
            return image

        def default_url(self, name: str | None) -> str:
            return f"/default/{name}"

    document = model(application, Accessed)
    record = document()
    assert not record.file._800x600
    assert record.file._800x600.url() == "/default/_800x600"
    record.file = GIF
    record.save()
    file = document.get_by_id(record.id).file
    assert file._800x600
    assert file._800x600.stored.width == 80
    assert file._800x600.url() == file.url("_800x600")
    assert not file.never
    assert (file.never.stored, file.never.url()) == (None, "/default/never")
    assert {name: bool(made) for name, made in file.versions.items()} == {
        "_800x600": True,
        "never": False,
    }


def test_an_unknown_version_is_an_error(application: Application):
    class Versions(Uploader):
        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(20, 20)

        @version(when=lambda uploader, info: False)
        def never(self, image: Image) -> Image:
            return image

        def default_url(self, name: str | None) -> str:
            return f"/default/{name}"

    made = stored(application, Versions, GIF)
    empty = model(application, type("Empty", (Versions,), {}))().file
    for file in (made, empty):
        with pytest.raises(LookupError) as unknown:
            file.url("nope")
        assert str(unknown.value) == (
            f"{type(file).__name__} has no version 'nope'; it declares: thumb, never"
        )
        # One that is declared may still have to be made
        assert file.url("never") == "/default/never"
    assert made.url("thumb").startswith("/files/")
    assert empty.url() == "/default/None"
    # One that was declared when the file was stored is still there
    Versions.thumb = None
    assert made.url("thumb").startswith("/files/")
    with pytest.raises(LookupError, match="it declares: never"):
        empty.url("thumb")
