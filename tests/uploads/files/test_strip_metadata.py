"""`strip_metadata = True`: no storage ever has the metadata of an upload, however it comes."""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import PIL.Image
import pytest

from gifster.uploads import (
    Backgrounder,
    CacheField,
    CacheListField,
    Image,
    LocalFile,
    Uploader,
    metadata,
    mount_uploader,
    mount_uploaders,
    process_in_background,
    store_in_background,
    sweep,
    version,
)
from gifster.uploads.errors import Truncated
from gifster.uploads.files import stripping
from gifster.uploads.files.cache_ids import presign
from gifster.uploads.files.content import HELD_BYTES
from gifster.uploads.files.sources import cache_pieces, cache_upload
from gifster.uploads.storage.local_writer import LocalWriter
from gifster.uploads.storage.spool import Spool
from tests import images
from tests.combinations import on_s3
from tests.imaging import carriers
from tests.imaging.carriers import ALL, SECRET
from tests.machine import files_below
from tests.uploads.framework import Application, AvatarUploader, Base, LogoUploader

PHOTO = carriers.jpeg(orientation=6)


class Stripping(Backgrounder, Uploader):
    strip_metadata = True

    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(50, 50)

    @version
    def same(self, image: Image) -> Image:
        return image.fit(2000, 2000)


class StrippingAtOnce(Uploader):
    strip_metadata = True


class Reading(StrippingAtOnce):
    @metadata
    def facts(self, file: LocalFile) -> list[object]:
        content = file.path.read_bytes()
        return [SECRET.decode() in str(content), hashlib.sha256(content).hexdigest(), file.sha256]


@store_in_background("photo")
class Later(Base):
    photo = mount_uploader(Stripping)
    photo_tmp = CacheField()


@process_in_background("photo")
class Processed(Base):
    photo = mount_uploader(Stripping)


@store_in_background("photos")
class Several(Base):
    photos = mount_uploaders(Stripping)
    photos_tmp = CacheListField()


class StrippedAtOnce(Base):
    photo = mount_uploader(StrippingAtOnce)
    plain = mount_uploader(LogoUploader)


@pytest.fixture
def app(application: Application) -> Application:
    application.create_tables(Later, Processed, Several, StrippedAtOnce)
    return application


def contents(app: Application) -> list[bytes]:
    """What is in the cache and in the store."""
    folders: list[Path] = [app.cache_folder, app.store_folder]
    return [(folder / name).read_bytes() for folder in folders for name in files_below(folder)]


def assert_nobody_finds_it(app: Application) -> None:
    found = contents(app)
    assert found
    assert not [content for content in found if SECRET in content or b"Exif\0\0II" in content]


def assert_is_stripped(photo: Uploader) -> None:
    """The original is that of its facts, and its only EXIF is the orientation."""
    content = photo.read()
    stored = photo.stored
    assert content is not None
    assert stored is not None
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert stored.bytes == len(content) < len(PHOTO)
    assert (stored.width, stored.height) == (60, 80)
    with PIL.Image.open(io.BytesIO(content)) as image:
        assert dict(image.getexif()) == {0x0112: 6}
        assert image.info["icc_profile"] == carriers.PROFILE


def test_a_worker_stores_it_and_finds_nothing_in_the_cache(app: Application):
    record = Later.create(photo=PHOTO)
    # While it waits
    assert_nobody_finds_it(app)

    app.work()

    record = Later.get()
    assert_is_stripped(record.photo)
    assert_nobody_finds_it(app)
    # … nor do versions that are made again
    record.photo.recreate_versions()
    app.work()
    assert_nobody_finds_it(app)
    assert Later.get().photo.same.stored is not None


def test_the_save_stores_it(app: Application):
    record = StrippedAtOnce.create(photo=PHOTO)

    assert_is_stripped(record.photo)
    assert_nobody_finds_it(app)


def test_the_original_is_stored_before_a_worker_processes_it(app: Application):
    Processed.create(photo=PHOTO)
    assert_nobody_finds_it(app)

    app.work()

    assert_is_stripped(Processed.get().photo)
    assert_nobody_finds_it(app)


def test_a_list_has_only_such_files(app: Application):
    record = Several.create(photos=[PHOTO, carriers.png(), carriers.gif()])
    assert_nobody_finds_it(app)
    app.work()

    record = Several.get()
    record.photos.append(carriers.webp())
    record.save()
    app.work()

    assert_nobody_finds_it(app)
    assert_is_stripped(Several.get().photos[0])
    assert len(Several.get().photos) == 4


@pytest.mark.parametrize("name", ALL)
def test_each_format_has_the_facts_of_what_is_stored(app: Application, name: str):
    cached = cache_upload(StrippingAtOnce, ALL[name])

    content = cached.read()
    assert SECRET not in content
    assert (cached.bytes, cached.info.bytes) == (len(content), len(content))
    assert cached.sha256 == hashlib.sha256(content).hexdigest()
    assert cached.sent_sha256 == hashlib.sha256(ALL[name]).hexdigest()
    # A file that differs only in its metadata is a duplicate, and so is the stripped one.
    again = cache_upload(StrippingAtOnce, content)
    assert (again.sha256, again.sent_sha256) == (cached.sha256, "")


def test_a_file_without_metadata_is_not_written_again(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stripping, "rewrite", None)

    for content in (images.gif(), images.still("JPEG"), images.still("PNG"), images.still("WEBP")):
        assert cache_upload(StrippingAtOnce, content).sha256 == hashlib.sha256(content).hexdigest()


def test_by_default_an_original_is_stored_as_it_came(app: Application):
    assert StrippedAtOnce.create(plain=PHOTO).plain.read() == PHOTO


def test_a_file_of_another_uploader_is_stripped_on_its_way(app: Application):
    # Given a file in the cache, and a stored one, with all that came with them
    cached = cache_upload(AvatarUploader, PHOTO)
    other = StrippedAtOnce.create(plain=PHOTO)

    for source in (cached, other.plain, other.plain.stored):
        record = StrippedAtOnce.create(photo=source)
        assert_is_stripped(record.photo)


def test_a_cached_file_is_not_stripped_twice(app: Application, monkeypatch: pytest.MonkeyPatch):
    cached = cache_upload(Stripping, PHOTO)
    monkeypatch.setattr(stripping, "rewrite", None)

    record = Later.create(photo=cached)

    assert record.photo.cached is not None
    assert record.photo.cached.key == cached.key


def test_facts_are_read_of_the_file_that_is_kept(app: Application):
    facts = cache_upload(Reading, PHOTO).metadata["facts"]

    assert facts[0] is False
    assert facts[1] == facts[2]
    json.dumps(facts)


@on_s3
def test_a_direct_upload_is_stripped_when_it_is_assigned(app: Application):
    direct = presign(Stripping, "me.jpg", len(PHOTO), "image/jpeg")
    sent = httpx.put(direct.request.url, headers=direct.request.headers, content=PHOTO)
    assert sent.is_success

    record = Later(photo_cache=direct.cache_id)
    record.save()
    app.work()

    assert_is_stripped(Later.get().photo)


def test_a_file_that_cannot_be_written_leaves_nothing(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    # Given a disk that is full when the second file is written
    monkeypatch.setattr(stripping.Pieces, "read", full)

    with pytest.raises(OSError, match="No space"):
        StrippedAtOnce.create(photo=PHOTO)

    assert contents(app) == []


def test_a_crash_leaves_only_what_the_sweep_removes(app: Application):
    # Given a process that dies while it writes the second file
    child = os.fork()
    if child == 0:
        stripping.Pieces.read = lambda *_: os._exit(1)  # type: ignore[method-assign]
        cache_upload(StrippingAtOnce, PHOTO)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1

    # I expect no file under its name, and nothing at all after a sweep
    assert not [name for name in app.cached if not name.endswith(".tmp")]
    sweep(repair=True, min_age_s=0)
    assert contents(app) == []


def test_a_file_of_very_many_parts_is_stripped_in_a_process_of_its_own(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    content = images.still("PNG", (40, 30))
    text = carriers.chunk(b"tEXt", b"Comment\0" + SECRET)
    monkeypatch.setattr("gifster.imaging.probe.QUICK_STEPS", 10)
    monkeypatch.setattr("gifster.imaging.probe.QUICK_BYTES_A_STEP", 10**9)

    cached = cache_upload(StrippingAtOnce, content[:33] + text * 500 + content[33:])

    assert cached.read() == content


def test_a_cut_photo_is_refused(app: Application):
    with pytest.raises(Truncated):
        StrippedAtOnce.create(photo=PHOTO[: len(PHOTO) // 2])

    assert contents(app) == []


#: Larger than what is held in memory.
LARGE = images.noisy_gif((300, 300), 4)
COMMENT = b"\x21\xfe" + carriers.sub_blocks(SECRET)
CONTROL = b"\x21\xf9"


def put(content: bytes, added: bytes, at: int) -> bytes:
    return content[:at] + added + content[at:]


PLACES = {
    "in front": put(LARGE, COMMENT, LARGE.index(CONTROL)),
    "in front, larger than the head": put(LARGE, COMMENT * 15_000, LARGE.index(CONTROL)),
    "in the middle": put(LARGE, COMMENT, LARGE.index(CONTROL, HELD_BYTES)),
    "in front and in the middle": put(
        put(LARGE, COMMENT, LARGE.index(CONTROL, HELD_BYTES)), COMMENT, LARGE.index(CONTROL)
    ),
    "at the end": put(LARGE, COMMENT, len(LARGE) - 1),
    "behind the end": LARGE + carriers.FILM,
    "far behind the end": LARGE + carriers.FILM * 500,
    "everywhere": put(put(LARGE, COMMENT, LARGE.index(CONTROL, 300_000)), COMMENT, 781) + SECRET,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_large_file_is_stripped_wherever_the_metadata_is(app: Application, place: str):
    sent = PLACES[place]
    assert SECRET in sent

    for length in (100_000, 10_000, len(sent)):
        cached = cache_pieces(
            StrippingAtOnce, (sent[at : at + length] for at in range(0, len(sent), length)), "a.gif"
        )

        assert cached.read() == LARGE
        assert cached.sha256 == hashlib.sha256(LARGE).hexdigest()
        assert cached.sent_sha256 == hashlib.sha256(sent).hexdigest()
        assert (cached.bytes, cached.info.bytes) == (len(LARGE), len(LARGE))
        assert not [name for name in app.cached if name.endswith(".tmp")]


@pytest.mark.parametrize(
    "place", ["in front", "at the end", "behind the end", "far behind the end"]
)
def test_only_metadata_in_the_middle_makes_it_write_twice(
    app: Application, monkeypatch: pytest.MonkeyPatch, place: str
):
    monkeypatch.setattr(stripping, "rewrite", None)

    assert cache_upload(StrippingAtOnce, PLACES[place]).read() == LARGE
    with pytest.raises(TypeError):
        cache_upload(StrippingAtOnce, PLACES["in the middle"])


def test_a_small_file_is_not_written_before_it_is_stripped(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    written: list[bytes] = []
    monkeypatch.setattr(LocalWriter, "write", lambda self, piece: written.append(piece))
    monkeypatch.setattr(Spool, "write", lambda self, piece: written.append(piece))
    monkeypatch.setattr(stripping, "rewrite", None)

    cached = cache_upload(StrippingAtOnce, PHOTO)

    assert SECRET not in b"".join(written)
    assert hashlib.sha256(b"".join(written)).hexdigest() == cached.sha256


def test_a_source_may_use_its_buffer_again(app: Application):
    buffer = bytearray(1000)

    def pieces() -> Iterator[bytearray]:
        for at in range(0, len(PHOTO), len(buffer)):
            piece = PHOTO[at : at + len(buffer)]
            buffer[:] = piece
            yield buffer

    assert cache_pieces(LogoUploader, pieces(), "a.jpg").read() == PHOTO


def test_a_large_file_that_cannot_be_written_again_leaves_nothing(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    # Given a disk that is full when the second file is written
    monkeypatch.setattr(stripping.Pieces, "read", full)

    with pytest.raises(OSError, match="No space"):
        cache_upload(StrippingAtOnce, PLACES["in the middle"])

    assert contents(app) == []


def test_a_crash_while_a_large_file_is_written_again_leaves_only_what_the_sweep_removes(
    app: Application,
):
    # Given a process that dies while it writes the second file
    child = os.fork()
    if child == 0:
        stripping.Pieces.read = lambda *_: os._exit(1)  # type: ignore[method-assign]
        cache_upload(StrippingAtOnce, PLACES["in the middle"])
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1

    # I expect no file under its name, and nothing at all after a sweep
    assert not [name for name in app.cached if not name.endswith(".tmp")]
    sweep(repair=True, min_age_s=0)
    assert contents(app) == []
