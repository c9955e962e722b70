"""An uploader that reads videos, and one that does not."""

import io

import PIL.Image
import pytest

from gifster import uploads
from gifster.uploads import (
    Backgrounder,
    CacheField,
    Image,
    StateField,
    Uploader,
    errors,
    mount_uploader,
    store_in_background,
    version,
)
from gifster.uploads.files import declared_limits
from tests.uploads.framework import Application, Base
from tests.videos import video

VIDEOS = {"video/mp4", "video/webm"}


class MovieUploader(Backgrounder, Uploader):
    allow_types = VIDEOS | {"image/gif"}
    max_video_s = 3

    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(48, 48)

    @version(later=True)
    def film(self, image: Image) -> Image:
        return image.convert("mp4")


class FileUploader(MovieUploader):
    max_video_s = None


class Movie(Base):
    file = mount_uploader(MovieUploader)
    other = mount_uploader(FileUploader)


@store_in_background("file")
class LaterMovie(Base):
    file = mount_uploader(MovieUploader)
    file_tmp = CacheField()
    file_state = StateField()


@pytest.fixture(autouse=True)
def _movies(application: Application) -> None:
    application.create_tables(Movie, LaterMovie)


def test_the_versions_of_a_video(application: Application):
    content = video(sound=True)

    movie = Movie.create(file=content)

    stored = movie.file.stored
    assert (stored.content_type, stored.frames, stored.duration_ms) == ("video/mp4", 30, 1500)
    assert (stored.has_sound, stored.loop, stored.bytes) == (True, 0, len(content))
    assert Movie.get_by_id(movie.id).file.stored == stored
    assert {name: made.content_type for name, made in stored.versions.items()} == {
        "thumb": "image/gif", "film": "video/mp4",
    }  # fmt: skip
    with application.store.open(stored.versions["thumb"].key) as file:
        thumb = PIL.Image.open(io.BytesIO(file.read()))
    assert (thumb.size, getattr(thumb, "n_frames", 1)) == ((48, 32), 3)


def test_a_worker_makes_them_too(application: Application):
    movie = LaterMovie.create(file=video(format="webm"))
    assert movie.file_state == "queued"

    application.work()

    stored = LaterMovie.get_by_id(movie.id).file.stored
    assert (stored.frames, stored.has_sound) == (30, False)
    assert set(stored.versions) == {"thumb", "film"}
    LaterMovie.get_by_id(movie.id).file.recreate_versions()
    application.work()
    assert set(LaterMovie.get_by_id(movie.id).file.stored.versions) == {"thumb", "film"}


def test_a_video_is_a_file_without_max_video_s():
    movie = Movie.create(other=video())

    stored = movie.other.stored
    assert (stored.content_type, stored.frames, stored.versions) == ("video/mp4", 0, {})


def test_facts_of_other_files_are_as_earlier_releases_know_them():
    movie = Movie.create(file=video())

    assert "has_sound" not in movie.file.stored.dump()
    assert movie.file.stored.load(movie.file.stored.dump()) == movie.file.stored


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (video(frames_each=25), "too_long"),
        (video()[:-40], "truncated"),
        (video().replace(b"avc1", b"zzz1").replace(b"avcC", b"zzzC"), "unreadable"),
    ],
    ids=["long", "cut", "codec"],
)
def test_a_video_that_is_refused(application: Application, content: bytes, code: str):
    with pytest.raises(errors.UploadError) as refused:
        Movie.create(file=content)

    assert refused.value.code == code
    assert application.cached == []


def test_too_many_pixels_in_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MovieUploader, "max_video_pixels", 30 * 96 * 64 - 1)

    with pytest.raises(errors.TooManyPixels, match="The video has 30 frames of 96×64 pixels"):
        Movie.create(file=video())


def test_without_pyav_such_an_uploader_cannot_be_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(declared_limits, "find_spec", lambda name: None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gifster\[mp4\]'"):

        class _Movies(uploads.Uploader):
            max_video_s = 60
