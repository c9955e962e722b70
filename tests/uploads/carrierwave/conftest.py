"""The models of these tests: a record with one file and a list of files, whose uploads are stored
by `save()`, stored by a worker, or stored by `save()` and processed by a worker.

The tests follow CarrierWave's own specs; each file says which. `docs/coming-from-carrierwave.md`
says what differs here. No test needs a server.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import peewee
import pytest
from dramatiq.brokers.stub import StubBroker

from gifster.uploads import (
    Backgrounder,
    CacheField,
    CacheListField,
    Image,
    Uploader,
    errors,
    mount_uploader,
    mount_uploaders,
    process_in_background,
    store_in_background,
    version,
)
from tests import databases, images
from tests.uploads.framework import Application, Base

A, B, C, D = (images.still("PNG", (width, 40)) for width in (60, 70, 80, 90))
URL = "https://example.org"


class PictureUploader(Backgrounder, Uploader):
    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(20, 20)


class AtOnce(Base):
    name = peewee.CharField(default="")
    image = mount_uploader(PictureUploader)
    images = mount_uploaders(PictureUploader)


@store_in_background("image")
@store_in_background("images")
class StoredLater(Base):
    name = peewee.CharField(default="")
    image = mount_uploader(PictureUploader)
    image_tmp = CacheField()
    images = mount_uploaders(PictureUploader)
    images_tmp = CacheListField()


@process_in_background("image")
@process_in_background("images")
class ProcessedLater(Base):
    name = peewee.CharField(default="")
    image = mount_uploader(PictureUploader)
    images = mount_uploaders(PictureUploader)


class Events:
    """An application with one of the three models, on SQLite."""

    def __init__(self, app: Application, model: Any) -> None:
        self.app, self.model = app, model

    def saved(self, *, work: bool = True, **values: Any) -> Any:
        """A new record that was saved, and loaded again after the workers have worked."""
        event = self.model(**values)
        event.save()
        return self.reloaded(event, work=work)

    def reloaded(self, event: Any, *, work: bool = True) -> Any:
        """The record as its row is, after the workers have worked."""
        if work:
            self.app.work()
        return self.model.get_by_id(event._pk)

    def is_clean(self, *events: Any) -> bool:
        """Whether the storages have exactly the files of these records."""
        self.app.work()
        rows = [self.model.get_by_id(event._pk) for event in events]
        files = [file for row in rows for file in (row.image, *row.images) if file]
        named = [key for file in files for _, key in file.stored.files]
        return self.app.cached == [] and sorted(self.app.stored) == sorted(named)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    """An application with folders, SQLite and no broker."""
    before = dramatiq.broker.global_broker
    dramatiq.set_broker(StubBroker())
    database = databases.connect(f"sqlite:///{tmp_path}/var/gifster.db")
    with database.connection_context():
        yield Application(tmp_path, database)
    database.close_all()
    dramatiq.set_broker(before)


@pytest.fixture(params=[AtOnce, StoredLater, ProcessedLater], ids=lambda model: model.__name__)
def events(app: Application, request: pytest.FixtureRequest) -> Events:
    """The application, with each of the models."""
    app.create_tables(request.param)
    return Events(app, request.param)


def width(uploader: Any) -> int | None:
    """The stored picture's width, by which the tests tell pictures apart."""
    return uploader.stored and uploader.stored.width


def widths(uploaders: Any) -> list[int | None]:
    return [width(uploader) for uploader in uploaders]


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fetches `…/a.png` and `…/b.png` from nowhere; the list has the URLs that were fetched."""
    fetched: list[str] = []

    def assign_remote(uploader: Uploader, url: str, *_: Any) -> None:
        fetched.append(url)
        content = {"a": A, "b": B}.get(Path(url).stem)
        if content is None:
            raise errors.RemoteFailed("There is no such file.")
        uploader.assign(content, Path(url).name)

    monkeypatch.setattr(Uploader, "assign_remote", assign_remote)
    return fetched


def rolled_back(events: Events, *steps: Any) -> None:
    with pytest.raises(RuntimeError), events.app.database.atomic():
        for step in steps:
            step()
        raise RuntimeError
