"""Every source of an upload can be assigned, and a refused one leaves nothing behind."""

import asyncio
import base64
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gifster.uploads import StorageUnavailable, errors, metadata
from gifster.uploads import sources as former
from gifster.uploads.files import cache_ids, sources
from gifster.uploads.files.cache import CacheWriter
from gifster.uploads.files.sources import cache_form_part
from tests import images
from tests.combinations import on_one_platform
from tests.uploads.framework import Application, AvatarUploader, Person

GIF = images.gif(size=(80, 60))


def data_uri(content: bytes) -> str:
    return "data:image/gif;base64," + base64.b64encode(content).decode()


@pytest.mark.parametrize("kind", ["bytes", "file", "path", "part", "data URI"])
def test_each_kind_of_source_can_be_assigned(application: Application, tmp_path: Path, kind: str):
    path = tmp_path / "me.gif"
    path.write_bytes(GIF)
    source: Any = {
        "bytes": GIF,
        "file": io.BytesIO(GIF),
        "path": path,
        "part": SimpleNamespace(filename="C:\\me.gif", stream=io.BytesIO(GIF)),
        "data URI": data_uri(GIF),
    }[kind]

    person = Person()
    person.avatar = source
    person.save()
    application.work()

    stored = Person.get_by_id(person.id).avatar.stored
    assert stored.bytes == len(GIF)
    assert stored.filename == ("me.gif" if kind in ("path", "part") else "upload")
    assert application.cached == []


def test_another_object_is_no_source(application: Application):
    with pytest.raises(TypeError, match="an object of type int: pass a Path, bytes"):
        Person().avatar = 5


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("hello", errors.DataUriInvalid),
        ("data:image/gif;base64", errors.DataUriInvalid),
        ("data:image/gif;base64,R0lGOD!!", errors.DataUriInvalid),
        ("data:image/gif,GIF89a", errors.Truncated),
        ("data:,", errors.EmptyFile),
        ("data:image/gif;base64," + "A" * 2_000_000, errors.TooLarge),
        (data_uri(b"no image, whatever the URI says"), errors.TypeNotAllowed),
    ],
)
def test_bad_data_uris_are_refused(application: Application, uri: str, error: type[Exception]):
    with pytest.raises(error):
        Person().avatar = uri
    assert application.cached == []


def test_a_path_as_text_is_refused_with_what_to_pass(application: Application):
    with pytest.raises(errors.DataUriInvalid, match=r"^The text 'me\.png' is not .* pass a Path"):
        Person().avatar = "me.png"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"min_bytes": 1_000_000}, errors.TooSmall),
        ({"extensions": {"png"}}, errors.ExtensionNotAllowed),
        ({"deny_types": {"image/gif"}}, errors.TypeNotAllowed),
        ({"width_range": (100, 200)}, errors.DimensionsNotAllowed),
        ({"height_range": (1, 50)}, errors.DimensionsNotAllowed),
    ],
)
def test_a_refused_upload_leaves_nothing(
    application: Application, monkeypatch: pytest.MonkeyPatch, changes: Any, error: type[Exception]
):
    for name, value in changes.items():
        monkeypatch.setattr(AvatarUploader, name, value)
    person = Person()

    with pytest.raises(error):
        person.avatar.assign(GIF, "a.gif")

    assert application.cached == []
    assert not person.avatar.changed


def test_cache_dir_is_a_folder_in_the_storage(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(AvatarUploader, "cache_dir", "waiting/people")
    person = Person()
    person.avatar = GIF

    assert application.cached[0].startswith("waiting/people/")


class Part:
    """A part of a multipart form, as Falcon's ASGI side hands it over."""

    def __init__(self, content: bytes, filename: str) -> None:
        self.filename = filename
        self._content = content

    @property
    def stream(self) -> AsyncIterator[bytes]:
        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(self._content), 1000):
                yield self._content[start : start + 1000]

        return chunks()


@pytest.mark.parametrize("size", [(80, 60), (700, 500)])
def test_a_part_is_received_on_an_event_loop(application: Application, size: tuple[int, int]):
    content = images.noisy_gif(size, 2)
    part = Part(content, "a.gif")

    cached = asyncio.run(cache_form_part(AvatarUploader, part, asyncio.to_thread))

    assert cached is not None
    assert cached.bytes == len(content)


def test_each_uploader_checks_a_part_by_its_own_rules(application: Application):
    class Small(AvatarUploader):
        max_bytes = 10

    async def take(rules: type[AvatarUploader], part: Part) -> Any:
        return await cache_form_part(rules, part, asyncio.to_thread)

    part = Part(GIF, "a.gif")
    first = asyncio.run(take(AvatarUploader, part))
    assert asyncio.run(take(AvatarUploader, part)) is first
    with pytest.raises(errors.TooLarge):
        asyncio.run(take(Small, part))


def test_a_file_field_without_a_chosen_file_is_none(application: Application):
    assert asyncio.run(cache_form_part(AvatarUploader, Part(b"", ""), asyncio.to_thread)) is None
    with pytest.raises(errors.EmptyFile):
        asyncio.run(cache_form_part(AvatarUploader, Part(b"", "a.gif"), asyncio.to_thread))


def test_a_request_that_is_cancelled_leaves_nothing(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a thread that is about to finish a file
    begun, cancelled, finish = threading.Event(), threading.Event(), CacheWriter.finish_quickly

    def finish_late(writer: CacheWriter) -> Any:
        begun.set()
        cancelled.wait(60)
        return finish(writer)

    monkeypatch.setattr(CacheWriter, "finish_quickly", finish_late)

    async def request() -> None:
        part = Part(GIF, "a.gif")
        task = asyncio.create_task(cache_form_part(AvatarUploader, part, asyncio.to_thread))
        await asyncio.to_thread(begun.wait, 20)
        # When the server cancels its request, even twice
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(request())

    # I expect that the file is removed only after it is complete, and then is gone
    assert application.cached == []


class Slow(AvatarUploader):
    """Its files take long to check."""

    @metadata
    def letters(self, file: Any) -> int:
        return 0


def test_a_request_that_is_cancelled_while_it_waits_for_its_check_leaves_the_queue(
    application: Application,
):
    async def request() -> None:
        waits = asyncio.Event()

        async def never(check: Any) -> Any:
            waits.set()
            await asyncio.Event().wait()

        # Given a request that waits for the checks of others
        part = Part(GIF, "a.gif")
        task = asyncio.create_task(cache_form_part(Slow, part, asyncio.to_thread, never))
        await asyncio.wait_for(waits.wait(), 60)

        # When it is cancelled, I expect it to end at once
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)

    asyncio.run(request())
    assert application.cached == []


class Pipe(io.BytesIO):
    """It can be read only once."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError


def test_a_part_that_was_refused_before_is_not_saved_without_its_file(application: Application):
    person, part = Person(), Pipe(GIF)
    person.avatar = part
    person.avatar.assigned.discard()  # as a list does that has too many files

    with pytest.raises(errors.CacheFileMissing, match="choose it again"):
        person.avatar = part


@on_one_platform
def test_a_file_whose_disk_is_not_mounted_is_not_gone(application: Application):
    # Given a record's file, and an upload that was assigned before
    first, second, part = Person(), Person(), Pipe(GIF)
    first.avatar = GIF
    first.save()
    application.work()
    second.avatar = part

    # When the disks of the store and the cache are away
    for folder in (application.store_folder, application.cache_folder):
        folder.rename(folder.with_name(f"{folder.name} away"))

    # I expect that nobody calls the files gone
    with pytest.raises(StorageUnavailable, match="is its disk mounted"):
        Person().avatar = Person.get_by_id(first.id).avatar
    with pytest.raises(StorageUnavailable, match="is its disk mounted"):
        Person().avatar = part


def test_a_refused_part_leaves_nothing(application: Application):
    with pytest.raises(errors.TypeNotAllowed):
        asyncio.run(cache_form_part(AvatarUploader, Part(b"x" * 9000, "a.gif"), asyncio.to_thread))

    assert application.cached == []


# Names of the last release.


@pytest.mark.parametrize(
    ("name", "present"),
    [
        ("cache_form_part", sources.cache_form_part),
        ("take_in_part", sources.cache_form_part),
        ("take_in_again", cache_ids.retrieve),
        ("cache_id", cache_ids.cache_id),
    ],
)
def test_a_name_that_moved_says_where_it_is_now(name: str, present: Any):
    with pytest.warns(DeprecationWarning, match=f"is now .*{present.__name__}"):
        assert getattr(former, name) is present
