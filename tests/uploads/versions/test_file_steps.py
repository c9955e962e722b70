"""Steps and versions that get a file and give a file."""

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
from tests import images
from tests.uploads.framework import Application, Base
from tests.uploads.notes import GIF, TEXT, NotesUploader, StoredNote, named
from tests.uploads.one_file import content, stored


@process_in_background("file")
class ProcessedNote(Base):
    file = mount_uploader(NotesUploader)
    file_processing = ProcessingField()


@store_in_background("files")
class NoteFolder(Base):
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
    application.create_tables(StoredNote, ProcessedNote, NoteFolder)
    source = named(tmp_path, "notes.txt", TEXT)
    for table in (StoredNote, ProcessedNote):
        record = table()
        record.file = source
        record.save()
        application.work()
        assert_is_made(application, table.get_by_id(record.id).file)
    record = StoredNote()
    record.process_file_upload = True  # in the foreground
    record.file = source
    record.save()
    assert_is_made(application, StoredNote.get_by_id(record.id).file)
    folder = NoteFolder(files=[source, source])
    folder.save()
    application.work()
    for made in NoteFolder.get_by_id(folder.id).files:
        assert_is_made(application, made)


def test_versions_are_made_again_with_those_that_they_build_on(
    application: Application, tmp_path: Path
):
    application.create_tables(StoredNote)
    record = StoredNote()
    record.file = named(tmp_path, "notes.txt", TEXT)
    record.save()
    application.work()
    before = StoredNote.get_by_id(record.id).file.stored

    StoredNote.get_by_id(record.id).file.recreate_versions("tiny", "louder")
    application.work()

    after = StoredNote.get_by_id(record.id).file
    assert_is_made_again = {
        name for name in after.stored.versions
        if after.stored.versions[name].key != before.versions[name].key
    }  # fmt: skip
    assert assert_is_made_again == {"tiny", "louder"}
    assert (after.stored.content_type, after.stored.key) == (before.content_type, before.key)
    assert content(application, after, "louder") == TEXT.upper() + b"!"
    after.recreate_versions()
    application.work()
    again = StoredNote.get_by_id(record.id).file
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
