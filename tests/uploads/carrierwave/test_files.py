"""Stored files: `spec/sanitized_file_spec.rb`, `spec/uploader/*_spec.rb` of proxy, cache, store,
remove, default_url, serialization and mountable, and `features/*.feature`."""

import io
from pathlib import Path
from typing import Any

import pytest

from gifster.uploads import (
    Image,
    Uploader,
    errors,
    mount_uploader,
    mount_uploaders,
    version,
)
from gifster.uploads.files.cache_ids import retrieve
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.files.uploader_version import UploaderVersion
from gifster.uploads.testing import MemoryStorage
from gifster.uploads.versions.declaring import Version
from tests.combinations import PLATFORMS
from tests.uploads.carrierwave.conftest import (
    A,
    B,
    C,
    Events,
    PictureUploader,
    StoredLater,
    width,
)
from tests.uploads.framework import Application, Base


class DocumentUploader(Uploader):
    """Takes any file, and has a picture for records without one."""

    allow_types = None

    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(20, 20)

    def default_url(self, version: str | None) -> str | None:
        return "/".join(["/none", *([version] if version else [])])


class Note(Base):
    document = mount_uploader(DocumentUploader)
    documents = mount_uploaders(DocumentUploader)


@pytest.fixture
def notes(app: Application) -> Application:
    app.create_tables(Note)
    return app


# Reading a stored file.


def test_a_stored_file_is_opened_read_and_sized(events: Events):
    event = events.saved(image=A, images=[B])

    for uploader, content in ((event.image, A), (event.images[0], B)):
        assert uploader.read() == content
        assert (uploader.size, uploader.content_type) == (len(content), "image/png")
        with uploader.open() as file:
            assert (file.read(8), file.read()) == (content[:8], content[8:])
        assert uploader.stored.read() == uploader.file.read() == content
        assert uploader.identifier == uploader.stored.identifier


def test_a_version_has_the_same(events: Events):
    event = events.saved(image=A)
    thumb = event.image.thumb

    assert isinstance(PictureUploader.thumb, Version)
    assert isinstance(thumb, UploaderVersion)
    assert thumb
    assert thumb.url() == event.image.url("thumb") == str(thumb) == str(thumb.stored)
    assert thumb.size == len(thumb.read()) == event.image.stored.versions["thumb"].bytes
    assert thumb.content_type == "image/png"
    with thumb.open() as file:
        assert file.read() == thumb.read()
    assert repr(thumb) == f"<thumb of {event.image!r}: image/png, {thumb.size} bytes>"


def test_a_version_that_is_not_stored_is_empty(events: Events):
    thumb = events.model(image=A).image.thumb
    assert not thumb
    assert (thumb.url(), thumb.read(), thumb.size, thumb.content_type) == (None, None, 0, None)
    assert (str(thumb), repr(thumb)[-13:]) == ("", ": not stored>")
    with pytest.raises(FileNotFoundError, match="there is no such file now"):
        thumb.open()


def test_a_file_is_printed_as_its_url_and_described_without_its_key(events: Events):
    event = events.model()
    name = f"PictureUploader of {type(event).__name__}"
    assert (str(event.image), repr(event.image)) == ("", f"<{name} None.image: no file>")
    event.image.assign(A, "me.png")
    assert (str(event.image), event.image.cached) == ("", None)
    facts = f"'me.png', image/png, {len(A)} bytes"
    assert repr(event.image) == f"<{name} None.image: {facts}>"
    event.save()
    event = events.reloaded(event)
    assert str(event.image) == event.image.url() == str(event.image.stored)
    assert f"{event.image}".startswith("/files/")
    assert repr(event.image) == f"<{name} {event.id}.image: {facts}>"


def test_a_waiting_file_can_be_read_but_is_not_shown(app: Application):
    app.create_tables(StoredLater)
    event = StoredLater.create(image=A)
    for waiting in (event, StoredLater.get()):
        assert (waiting.image.read(), waiting.image.url(), bool(waiting.image)) == (A, None, False)
    app.work()
    event = StoredLater.get()
    event.image = B
    event.save()
    # Until the new file is stored, pages show the old one, and so does a reader
    assert (StoredLater.get().image.read(), StoredLater.get().image.size) == (A, len(A))
    app.work()
    assert StoredLater.get().image.read() == B


@pytest.mark.parametrize("to", ["copy.png", "old.png"])
def test_a_stored_file_is_downloaded(events: Events, tmp_path: Path, to: str):
    (tmp_path / "old.png").write_bytes(b"something else")
    event = events.saved(image=A)

    path = event.image.stored.download(tmp_path / to)

    assert (path, path.read_bytes()) == (tmp_path / to, A)
    assert event.image.thumb.stored.download(str(tmp_path / "t.png")).read_bytes()
    assert sorted(found.suffix for found in tmp_path.iterdir() if found.is_file()) == [
        ".png" for _ in {to, "old.png", "t.png"}
    ]


def test_a_download_that_fails_leaves_nothing(events: Events, tmp_path: Path):
    event = events.saved(image=A)
    stored = event.image.stored
    (events.app.store_folder / stored.key).write_bytes(B)
    with pytest.raises(errors.StoredFileChanged):
        stored.download(tmp_path / "copy.png")
    assert stored.exists()
    (events.app.store_folder / stored.key).unlink()
    assert not stored.exists()
    with pytest.raises(FileNotFoundError, match="load the record again"):
        stored.download(tmp_path / "copy.png")
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("platform", PLATFORMS, indirect=True)
def test_a_file_that_is_open_is_read_to_its_end_while_it_is_replaced(application: Application):
    application.create_tables(StoredLater)
    StoredLater.create(image=A)
    application.work()
    stale = StoredLater.get()
    with stale.image.open() as file, stale.image.thumb.open() as thumb:
        begin = file.read(5)
        event = StoredLater.get()
        event.image = B
        event.save()
        application.work()  # stores the new file, and removes the old one
        assert begin + file.read() == A
        assert thumb.read()

    for old in (stale.image, stale.image.thumb):
        with pytest.raises(FileNotFoundError, match="replaced or removed, load the record again"):
            old.open()
    with pytest.raises(FileNotFoundError):
        stale.image.read()
    assert StoredLater.get().image.read() == B
    # When its versions are made again, a stale record's are gone, and its original is there
    stale = StoredLater.get()
    StoredLater.get().image.recreate_versions()
    application.work()
    assert stale.image.read() == B
    with pytest.raises(FileNotFoundError):
        stale.image.thumb.read()


def test_reading_needs_no_local_disk(app: Application):
    app.store = MemoryStorage()
    app.configure()
    app.create_tables(StoredLater)
    StoredLater.create(image=A, images=[B])
    app.work()
    event = StoredLater.get()
    assert (event.image.read(), event.images[0].read()) == (A, B)
    assert event.image.thumb.read() == app.store.files[event.image.thumb.stored.key]


# `default_url`.


def test_the_default_url_is_shown_while_there_is_no_file(notes: Application):
    note = Note()
    assert (note.document.url(), str(note.document)) == ("/none", "/none")
    assert note.document.url("thumb") == "/none/thumb"
    none = {"url": "/none", "versions": {"thumb": {"url": "/none/thumb"}}}
    assert note.document.as_json() == none
    assert not note.document
    note.document = b"text"
    note.save()
    assert note.document.url() == f"/files/{note.document.stored.key}"


# Any kind of file.


def test_a_file_that_is_no_image_can_be_read(notes: Application):
    note = Note(documents=[b"this is stuff", io.BytesIO(b"more")])
    note.document.assign(b"this is stuff", "bork.txt")
    note.save()
    assert (note.document.read(), note.document.size) == (b"this is stuff", 13)
    assert [document.read() for document in note.documents] == [b"this is stuff", b"more"]
    assert note.document.as_json()["filename"] == "bork.txt"


@pytest.mark.parametrize(
    ("filename", "kept"),
    [
        ("complex.filename-1.tar.gz", "complex.filename-1.tar.gz"),
        ("../../very_tricky/foo.bar", "foo.bar"),
        ("C:\\dir\\evil.gif", "evil.gif"),
        ("UPPER Case.JPG", "UPPER Case.JPG"),
        ("юникод.jpg", "юникод.jpg"),
        ("..", "upload"),
        ("", "upload"),
        ("a\x00b\n.png", "ab .png"),
    ],
)
def test_the_clients_name_is_a_label_and_never_a_path(notes: Application, filename: str, kept: str):
    note = Note()
    note.document.assign(b"this is stuff", filename)
    note.save()
    assert note.document.stored.filename == kept
    assert note.document.stored.key.startswith(f"note/document/{note.id}/")


def test_a_source_stays_as_it_is(events: Events, tmp_path: Path):
    # CarrierWave's `move_to_cache` would take it away
    path = tmp_path / "me.png"
    path.write_bytes(A)
    events.saved(image=path)
    assert path.read_bytes() == A


def test_a_text_is_never_a_path_on_the_server(events: Events, tmp_path: Path):
    (tmp_path / "me.png").write_bytes(A)
    for text in (str(tmp_path / "me.png"), "me.png", "/etc/passwd", "file:///etc/passwd"):
        with pytest.raises(errors.DataUriInvalid):
            events.model(image=text)
        with pytest.raises(errors.CacheIdInvalid):
            events.model(images=[text])


# The cache.


def test_two_files_in_succession_are_both_stored(events: Events):
    event = events.model()
    event.image = A
    event.image = B
    assert event.image.read() == B
    event.save()
    event.image = C
    event.save()
    event = events.reloaded(event)
    assert width(event.image) == 80


def test_a_cached_file_knows_no_more_of_the_one_before(events: Events):
    event = events.saved(image=A)
    before = event.image.identifier
    event.image.assign(B, "b.png")
    assert event.image.identifier != before
    assert event.image.file.filename == "b.png"


def test_a_cache_id_has_the_file_and_its_name(events: Events):
    event = events.model()
    event.image.assign(A, "my file.png")
    found = retrieve(PictureUploader, event.image_cache)
    assert (found.filename, found.read(), found.exists()) == ("my file.png", A, True)
    for bad in ("", "12345/test.jpeg", "../../etc/passwd"):
        with pytest.raises(errors.CacheIdInvalid):
            retrieve(PictureUploader, bad)


def test_a_cached_file_as_json_keeps_its_key_secret(app: Application):
    cached = cache_upload(PictureUploader, A, "me.png")
    facts = {"filename": "me.png", "content_type": "image/png", "bytes": len(A)}
    assert cached.as_json() == facts


# Hooks (`callback_spec.rb`), and what an uploader knows of its place (`mountable_spec.rb`).


def test_hooks_of_one_uploader_are_not_anothers(app: Application):
    seen: list[str] = []

    class One(Uploader):
        def before_cache(self, filename: str) -> None:
            seen.append(filename)

    class Two(One):
        def before_cache(self, filename: str) -> None:
            seen.append("two")

    class Both(Base):
        one = mount_uploader(One)
        two = mount_uploader(Two)
        three = mount_uploader(Uploader)

    both = Both()
    both.three = A
    assert seen == []
    both.one.assign(A, "a.png")
    both.two = A
    assert seen == ["a.png", "two"]
    assert (both.one.record, both.one.mount.name) == (both, "one")


def test_uploaders_inherit_versions_but_not_those_of_their_subclasses(app: Application):
    class Secret(PictureUploader):
        @Version
        def secret(self, image: Any) -> Any:
            return image.fit(5, 5)

    class Pair(Base):
        one = mount_uploader(PictureUploader)
        two = mount_uploader(Secret)

    app.create_tables(Pair)
    pair = Pair.create(one=A, two=A)
    assert not hasattr(pair.one, "secret")
    assert all((pair.two.secret, pair.two.thumb, pair.one.thumb))
    assert set(pair.two.as_json()["versions"]) == {"thumb", "secret"}
