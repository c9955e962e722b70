"""Events of what the framework does with files: who gets them, and what they tell."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from gifster.uploads import Uploader, errors, instrumentation, metadata
from gifster.uploads.files import sources
from gifster.uploads.instrumentation import Event, instrument, subscribe
from gifster.uploads.testing import MemoryStorage
from tests import images
from tests.logs import said_by
from tests.uploads.framework import Application, AvatarUploader, Company, Person

GIF = images.gif()


@pytest.fixture
def events() -> Iterator[list[Event]]:
    """All events of a test."""
    heard: list[Event] = []
    end = subscribe(heard.append)
    yield heard
    end()


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def facts(events: list[Event], name: str) -> list[dict[str, Any]]:
    return [event.facts for event in events if event.name == name]


def test_the_way_of_an_upload(application: Application, events: list[Event]):
    # When an upload is assigned, and a worker stores it
    person = Person(avatar=GIF)
    assert names(events) == ["cache"]
    cached = person.avatar.assigned
    assert events.pop().facts == {
        "uploader": AvatarUploader,
        "storage": "cache",
        "key": cached.key,
        "filename": "upload",
        "bytes": len(GIF),
        "content_type": "image/gif",
    }
    person.save()
    application.work()

    # I expect its versions, its files, and the removal of the cached file
    stored = Person.get_by_id(person.id).avatar.stored
    assert facts(events, "process") == [{"uploader": AvatarUploader, "versions": ["thumb"]}]
    assert sorted(each["key"] for each in facts(events, "store")) == sorted(
        key for _, key in stored.files
    )
    assert {each["version"] for each in facts(events, "store")} == {"original", "thumb"}
    assert facts(events, "delete") == [{"storage": "cache", "key": cached.key}]
    assert ("download" in names(events)) == (application._s3 is not None)
    assert all(event.duration_s > 0 and event.error is None for event in events)
    assert [event.started_ns for event in events] == sorted(event.started_ns for event in events)

    # and when it is removed, that of its files
    events.clear()
    person = Person.get_by_id(person.id)
    person.remove_avatar = True
    person.save()
    application.work()
    assert [each["key"] for each in facts(events, "delete")] == [key for _, key in stored.files]


def test_reading_a_stored_file(application: Application, events: list[Event]):
    company = Company(logo=GIF)
    company.save()
    stored = Company.get_by_id(company.id).logo.stored
    events.clear()

    Company(logo=stored)  # a copy

    assert names(events) == ["open", "cache"]
    assert events[0].facts == {"storage": "store", "key": stored.key}


def test_a_refused_upload_tells_why(cache: MemoryStorage, events: list[Event]):
    with pytest.raises(errors.TypeNotAllowed) as refused:
        sources.cache_upload(AvatarUploader, b"no image")

    assert names(events) == ["cache"]
    assert events[0].error is refused.value


def test_an_upload_whose_sender_leaves_tells_so(cache: MemoryStorage, events: list[Event]):
    class Part:
        filename = "a.gif"

        @property
        async def stream(self) -> Any:
            yield GIF[:600]
            raise ConnectionResetError

    async def receive() -> None:
        await sources.cache_form_part(AvatarUploader, Part(), asyncio.to_thread)

    with pytest.raises(ConnectionResetError):
        asyncio.run(receive())

    assert [type(event.error) for event in events] == [ConnectionResetError]


def test_facts_of_the_uploader_are_an_event_within_another(
    cache: MemoryStorage, events: list[Event]
):
    class Counted(Uploader):
        @metadata
        def colors(self, file: Any) -> int:
            return 1

    sources.cache_upload(Counted, GIF)

    assert names(events) == ["extract", "cache"]
    assert events[0].facts["names"] == ["colors"]


def test_a_subscriber_gets_the_events_that_it_asked_for(cache: MemoryStorage):
    heard: list[Event] = []
    end = subscribe(heard.append, {"delete"})

    cached = sources.cache_upload(AvatarUploader, GIF)
    cached.delete()
    assert names(heard) == ["delete"]

    end()
    cached.delete()
    assert names(heard) == ["delete"]


def test_a_subscriber_that_subscribes_twice_is_called_once(cache: MemoryStorage):
    heard: list[Event] = []
    ends = [subscribe(heard.append), subscribe(heard.append, ["cache"])]

    sources.cache_upload(AvatarUploader, GIF)

    assert names(heard) == ["cache"]
    for end in ends:
        end()


def test_there_is_no_event_of_another_name():
    with pytest.raises(ValueError, match="no event is called 'upload': use cache, delete"):
        subscribe(print, ["upload"])


def test_a_subscriber_that_fails_breaks_no_upload(
    cache: MemoryStorage, events: list[Event], caplog: pytest.LogCaptureFixture
):
    def broken(event: Event) -> None:
        raise RuntimeError("the collector is away")

    end = subscribe(broken)
    try:
        assert sources.cache_upload(AvatarUploader, GIF).exists()
    finally:
        end()

    assert names(events) == ["cache"]
    (record,) = said_by("gifster.uploads", caplog)
    assert "a subscriber failed event=cache" in record.message
    assert "the collector is away" in record.exc_text


def test_events_are_logged(cache: MemoryStorage, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "gifster.uploads")
    end = instrumentation.log_events(["cache"])
    try:
        cached = sources.cache_upload(AvatarUploader, GIF, "my cat.gif")
        with pytest.raises(errors.EmptyFile):
            sources.cache_upload(AvatarUploader, b"")
    finally:
        end()

    records = said_by("gifster.uploads", caplog)
    done, failed = (record.getMessage() for record in records)
    assert done.startswith(
        f"cache uploader=AvatarUploader storage=cache key={cached.key} filename='my cat.gif' "
        f"bytes={len(GIF)} content_type=image/gif ms="
    )
    assert failed.endswith("error='The file is empty.'")
    assert [record.levelname for record in records] == ["INFO", "WARNING"]


def test_a_step_without_a_subscriber_takes_no_time_of_day(monkeypatch: pytest.MonkeyPatch):
    def no_clock() -> int:
        raise AssertionError("nobody listens")

    monkeypatch.setattr(instrumentation.time, "time_ns", no_clock)
    with instrument("store", storage="store"):
        pass
