"""Which versions a file has: conditions, processing switched off, and the names of versions."""

from pathlib import Path
from typing import Any

import pytest

from gifster.uploads import Image, ImageInfo, Uploader, UploadError, process, version
from gifster.uploads.testing import inline_jobs, without_processing
from tests import images
from tests.uploads.framework import Application
from tests.uploads.notes import GIF, TEXT, NotesUploader, StoredNote, named
from tests.uploads.one_file import content, model, saved, stored


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
        file = saved(document, images.gif(size)).stored
        assert (file.width, list(file.versions)) == (width, names)
    assert set(seen) == {("Document", 120), ("Document", 90)}


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
        file = saved(document, source)
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
        application.create_tables(StoredNote)
        assert saved(StoredNote, still).stored.versions["thumb"].width == 20
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
    empty = document().file
    assert not empty._800x600
    assert empty._800x600.url() == "/default/_800x600"
    file = saved(document, GIF)
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
