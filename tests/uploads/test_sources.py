"""Where uploads can come from, and that nothing is left behind by one that is refused."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from gifster.uploads import S3Storage, errors, presign
from gifster.uploads import sources as sources_module
from gifster.uploads.sources import cache_id, take_in_part
from tests import images
from tests.uploads.framework import Application, AvatarUploader, Person

GIF = images.gif(size=(80, 60))


def data_uri(content: bytes) -> str:
    return "data:image/gif;base64," + base64.b64encode(content).decode()


@pytest.mark.parametrize("kind", ["bytes", "file", "path", "part", "data URI"])
def test_what_can_be_assigned(application: Application, tmp_path: Path, kind: str):
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


def test_what_is_no_source_is_said_so(application: Application):
    with pytest.raises(TypeError, match="a int is no file, path"):
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
def test_what_is_refused_leaves_nothing(
    application: Application, monkeypatch: pytest.MonkeyPatch, changes: Any, error: type[Exception]
):
    for name, value in changes.items():
        monkeypatch.setattr(AvatarUploader, name, value)
    person = Person()

    with pytest.raises(error):
        person.avatar.assign(GIF, "a.gif")

    assert application.cached == []
    assert not person.avatar.changed


def test_the_cache_may_be_a_folder_of_the_storage(
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

    cached = asyncio.run(take_in_part(AvatarUploader, part, asyncio.to_thread))

    assert cached is not None
    assert cached.bytes == len(content)


def test_each_uploader_checks_a_part_by_its_own_rules(application: Application):
    class Small(AvatarUploader):
        max_bytes = 10

    async def take(rules: type[AvatarUploader], part: Part) -> Any:
        return await take_in_part(rules, part, asyncio.to_thread)

    part = Part(GIF, "a.gif")
    first = asyncio.run(take(AvatarUploader, part))
    assert asyncio.run(take(AvatarUploader, part)) is first
    with pytest.raises(errors.TooLarge):
        asyncio.run(take(Small, part))


def test_a_file_field_in_which_nothing_was_chosen_is_nothing(application: Application):
    assert asyncio.run(take_in_part(AvatarUploader, Part(b"", ""), asyncio.to_thread)) is None
    with pytest.raises(errors.EmptyFile):
        asyncio.run(take_in_part(AvatarUploader, Part(b"", "a.gif"), asyncio.to_thread))


def test_a_refused_part_leaves_nothing(application: Application):
    with pytest.raises(errors.TypeNotAllowed):
        asyncio.run(take_in_part(AvatarUploader, Part(b"x" * 9000, "a.gif"), asyncio.to_thread))

    assert application.cached == []


# A form that is shown again.


def test_a_form_shown_again_keeps_its_file(application: Application):
    # Given a form that was refused for another reason
    refused = Person()
    refused.avatar.assign(GIF, "me.gif")
    hidden_field = refused.avatar_cache
    assert hidden_field

    # When it is sent again, twice
    for _ in range(2):
        person = Person()
        person.avatar_cache = hidden_field
        person.save()
    application.work()

    people = list(Person.select())
    assert [person.avatar.stored.filename for person in people] == ["me.gif", "me.gif"]
    assert people[0].avatar.stored.key != people[1].avatar.stored.key
    assert len(application.cached) == 1  # the first one's, which the sweep will remove


def test_a_newly_chosen_file_wins_over_the_hidden_field(application: Application):
    refused = Person()
    refused.avatar = GIF
    person = Person()

    person.avatar = images.gif(size=(90, 60))
    person.avatar_cache = refused.avatar_cache
    person.save()
    application.work()

    assert Person.get_by_id(person.id).avatar.stored.width == 90


def test_an_empty_hidden_field_is_nothing(application: Application):
    person = Person()
    person.avatar_cache = ""
    person.avatar_cache = None

    assert person.avatar_cache is None
    assert not person.avatar.changed


def test_nobody_can_name_anothers_cached_file(application: Application):
    waiting = Person()
    waiting.avatar = GIF
    waiting.save()
    good = cache_id(waiting.avatar_tmp)
    application.configure(secret="another installation's")
    foreign = cache_id(waiting.avatar_tmp)
    application.configure()

    for text in (waiting.avatar_tmp.key, good[:-2], "x" + good, foreign, "..", "ä", "a.b.c"):
        with pytest.raises(errors.CacheIdInvalid):
            Person().avatar_cache = text


def test_a_cache_id_is_good_for_an_hour(application: Application, monkeypatch: pytest.MonkeyPatch):
    person = Person()
    person.avatar = GIF
    text = person.avatar_cache

    monkeypatch.setattr(sources_module, "CACHE_ID_S", -1)

    with pytest.raises(errors.CacheIdInvalid, match="choose the file again"):
        Person().avatar_cache = text


def test_a_cache_id_of_a_file_that_is_gone_says_so(application: Application):
    person = Person()
    person.avatar = GIF
    text = person.avatar_cache
    person.avatar.assigned.delete()

    with pytest.raises(errors.CacheFileMissing, match="choose the file again"):
        Person().avatar_cache = text


def test_without_a_secret_there_are_no_cache_ids(application: Application):
    application.configure(secret="")
    person = Person()
    person.avatar = GIF

    with pytest.raises(LookupError, match="secret="):
        _ = person.avatar_cache


# A client that writes into the cache directly.


def test_a_client_can_write_into_the_cache_directly(application: Application):
    if not isinstance(application.cache, S3Storage):
        with pytest.raises(TypeError, match="no S3Storage"):
            presign(AvatarUploader, "me.gif", len(GIF), "image/gif")
        return

    # When a client is given a request, makes it, and sends the id
    direct = presign(AvatarUploader, "me.gif", len(GIF), "image/gif")
    answer = httpx.request(
        direct.request.method, direct.request.url, content=GIF, headers=direct.request.headers
    )
    assert answer.is_success, answer.text
    person = Person()
    person.avatar_cache = direct.cache_id
    person.save()
    application.work()

    assert Person.get_by_id(person.id).avatar.stored.filename == "me.gif"

    # And what is sent is checked, whatever was said of it
    liar = presign(AvatarUploader, "me.gif", 9000, "image/gif")
    httpx.put(liar.request.url, content=b"x" * 9000, headers=liar.request.headers)
    with pytest.raises(errors.TypeNotAllowed):
        Person().avatar_cache = liar.cache_id
    never = presign(AvatarUploader, "me.gif", 9000, "image/gif")
    with pytest.raises(errors.CacheFileMissing):
        Person().avatar_cache = never.cache_id


def test_a_direct_upload_that_would_be_refused_is_not_begun(application: Application):
    with pytest.raises(errors.TooLarge):
        presign(AvatarUploader, "me.gif", 2_000_000, "image/gif")
