"""`recreate_versions()` and `recreate_all()`: the versions of uploads that were stored before."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageOps
import pytest

from gifster.uploads import (
    Image,
    mount_uploader,
    process,
    recreate_all,
    version,
)
from gifster.uploads.errors import StoredFileChanged
from gifster.uploads.versions import declaring as versions_module
from tests import images
from tests.uploads.framework import Application, Base, Person, fresh
from tests.uploads.in_background.albums import ONE, TWO, Album, PhotoUploader, album


@pytest.fixture
def bigger_thumbs() -> Iterator[None]:
    """The uploader is changed after uploads were stored: a larger thumb, and one more version."""
    thumb = PhotoUploader.thumb

    def bigger(self, image):
        return image.fit(50, 50)

    def tiny(self, image):
        return image.fit(10, 10)

    bigger.__name__ = "thumb"
    PhotoUploader.thumb = versions_module.version(bigger)
    PhotoUploader.tiny = versions_module.version(tiny)
    yield
    PhotoUploader.thumb = thumb
    del PhotoUploader.tiny


class Release:
    """An uploader of another release of the application, whose processes run beside this one's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def becomes(self, uploader: type[PhotoUploader]) -> None:
        """This process is of the release with that uploader from now on."""
        self._monkeypatch.setattr(Album.photo, "uploader", uploader)


class LaterUploader(PhotoUploader):
    @version
    def tiny(self, image: Image) -> Image:
        return image.fit(10, 10)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    return Release(monkeypatch)


def stored_album(app: Application, content: bytes = ONE) -> Any:
    made = album(content)
    app.work()
    return fresh(made)


def test_recreated_versions_have_new_urls(app: Application, request: Any):
    made = stored_album(app)
    before = made.photo.stored
    request.getfixturevalue("bigger_thumbs")

    assert made.photo.recreate_versions() is not None
    assert made.photo.recreate_versions() is None  # Such a job already waits.
    app.work()

    after = fresh(made).photo.stored
    assert {name: v.width for name, v in after.versions.items()} == {"thumb": 50, "tiny": 10}
    assert after.key == before.key
    assert after.versions["thumb"].key != before.versions["thumb"].key
    assert sorted(app.stored) == sorted(key for _, key in after.files)
    with app.store.open(after.versions["thumb"].key) as file:
        assert images.size(file.read()) == (50, 38)


def test_recreating_some_versions_keeps_the_others(app: Application, request: Any):
    made = stored_album(app)
    before = made.photo.stored
    request.getfixturevalue("bigger_thumbs")

    made.photo.recreate_versions("tiny")
    app.work()

    after = fresh(made).photo.stored
    assert after.versions["thumb"] == before.versions["thumb"]
    assert after.versions["tiny"].width == 10
    with pytest.raises(LookupError, match="no version 'huge'"):
        made.photo.recreate_versions("huge")


def test_jobs_for_different_versions_do_not_undo_each_other(app: Application, request: Any):
    made = stored_album(app)
    request.getfixturevalue("bigger_thumbs")
    made.photo.recreate_versions("tiny")
    made.photo.recreate_versions("thumb")

    app.work()

    assert {n: v.width for n, v in fresh(made).photo.stored.versions.items()} == {
        "thumb": 50,
        "tiny": 10,
    }


@pytest.mark.parametrize("names", [["tiny"], []])
def test_a_worker_of_the_release_before_leaves_a_new_version_to_the_next_one(
    app: Application, release: Release, names: list[str]
):
    # Given two GIFs, of which a later release has made its new version of one
    plain = stored_album(app)
    release.becomes(LaterUploader)
    made = stored_album(app)
    for one in (plain, made):
        one.photo.recreate_versions(*names)
    before = app.stored

    # When a worker of the release before gets the jobs, I expect it to try again later
    release.becomes(PhotoUploader)
    for job in app.jobs():
        with pytest.raises(LookupError, match="no version 'tiny'"):
            app.deliver(job)
    assert app.stored == before

    # and the next worker to make the version of both
    release.becomes(LaterUploader)
    app.work()
    stored = [fresh(one).photo.stored for one in (plain, made)]
    assert [sorted(one.versions) for one in stored] == [["thumb", "tiny"]] * 2
    assert sorted(app.stored) == sorted(key for one in stored for _, key in one.files)


def test_a_version_that_is_new_or_gone_survives_a_job_of_the_other_release(
    app: Application, release: Release
):
    # Given a job of the release before for all versions, and one that is new since
    made = stored_album(app)
    made.photo.recreate_versions()
    release.becomes(LaterUploader)
    made.photo.recreate_versions("tiny")
    app.deliver(app.jobs()[1])

    # When a worker of the later release has done both, I expect it to have both versions
    app.work()

    stored = fresh(made).photo.stored
    assert {name: v.width for name, v in stored.versions.items()} == {"thumb": 40, "tiny": 10}
    assert sorted(app.stored) == sorted(key for _, key in stored.files)
    # and a release that does not declare it any more to delete it
    release.becomes(PhotoUploader)
    fresh(made).photo.recreate_versions()
    app.work()
    assert sorted(fresh(made).photo.stored.versions) == ["thumb"]
    assert len(app.stored) == 2


class OwnUploader(PhotoUploader):
    @version(file=True)
    def own(self, path: Path) -> Path:
        return path

    @version(when=lambda uploader, info: False)
    def never(self, image: Image) -> Image:
        return image


@pytest.mark.parametrize("name", ["own", "never", "thumb"])
def test_recreating_a_version_keeps_the_placeholder(app: Application, release: Release, name: str):
    release.becomes(OwnUploader)
    made = stored_album(app)
    before = made.photo.stored

    made.photo.recreate_versions(name)
    app.work()

    after = fresh(made).photo.stored
    assert sorted(after.versions) == ["own", "thumb"]
    assert before.color
    for fact in ("color", "thumbhash", "dhash"):
        assert getattr(after, fact) == getattr(before, fact)


def test_a_recreation_that_is_delivered_twice_or_superseded_leaves_nothing(
    app: Application, request: Any
):
    made, other = stored_album(app), stored_album(app)
    request.getfixturevalue("bigger_thumbs")
    made.photo.recreate_versions()
    other.photo.recreate_versions()
    first, second = app.jobs()

    app.deliver(first)
    app.deliver(first)
    other.delete_instance()
    app.deliver(second)
    app.work()

    assert sorted(app.stored) == sorted(key for _, key in fresh(made).photo.stored.files)


@pytest.mark.parametrize("way", ["the first time", "again"])
def test_no_versions_are_made_of_an_original_that_has_changed(
    app: Application, tmp_path: Path, way: str
):
    # Given an original that somebody has written over since it was stored
    made = album() if way == "the first time" else stored_album(app)
    before = fresh(made).photo.stored
    if way == "again":
        made.photo.recreate_versions()
    changed = tmp_path / "changed.gif"
    changed.write_bytes(TWO)
    app.store.upload(changed, before.key, "image/gif")

    # When a worker is to make versions of it
    [job] = app.jobs()
    if way == "the first time":
        app.deliver(job)
    else:
        with pytest.raises(StoredFileChanged, match="upload it again"):
            app.deliver(job)

    # Then the row says what was stored, and why there is no version
    now = fresh(made)
    assert (now.photo.stored.sha256, now.photo.stored.versions) == (before.sha256, before.versions)
    if way == "the first time":
        assert (now.photo_state, now.photo_error.code) == ("failed", "stored_file_changed")


def test_a_pending_upload_survives_a_recreation(app: Application):
    person = Person()
    person.avatar = ONE
    person.save()
    app.work()
    person = fresh(person)
    person.avatar.recreate_versions()
    person.avatar = TWO
    person.save()

    recreation, store = app.jobs()
    app.deliver(recreation)
    assert fresh(person).avatar_tmp is not None
    app.deliver(store)
    app.work()

    assert fresh(person).avatar.stored.width == 90
    assert len(app.stored) == 2


def test_recreate_all_enqueues_a_job_for_each_file(app: Application, request: Any):
    albums = [stored_album(app) for _ in range(3)]
    Album.create()
    request.getfixturevalue("bigger_thumbs")

    recreate_all(Album.photo, where=Album.id != albums[0].id)
    assert len(app.jobs()) == 2
    assert [job is None for job in recreate_all(Album.photo)] == [False, True, True]
    app.work()

    assert all(fresh(made).photo.stored.versions["tiny"].width == 10 for made in albums)


def test_recreating_versions_does_not_repeat_the_processing_steps(app: Application):
    class Inverting(PhotoUploader):
        @process
        def invert(self, image: Image) -> Image:
            return image.apply(PIL.ImageOps.invert)

    class Inverted(Base):
        photo = mount_uploader(Inverting)

    app.create_tables(Inverted)
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (80, 60), "black").save(buffer, "PNG")
    made = Inverted(photo=buffer.getvalue())
    made.save()

    made.photo.recreate_versions()
    app.work()

    thumb = fresh(made).photo.stored.versions["thumb"]
    with app.store.open(thumb.key) as file, PIL.Image.open(file) as image:
        assert image.getpixel((5, 5)) == (255, 255, 255)
