"""Facts that an uploader declares itself, from the upload to the row."""

from typing import Any

import peewee
import pytest

from gifster.uploads import (
    Backgrounder,
    CacheField,
    CacheListField,
    ErrorField,
    Image,
    LocalFile,
    ProcessingField,
    StateField,
    StorageUnavailable,
    StoredFile,
    Uploader,
    UploadError,
    metadata,
    mount_uploader,
    mount_uploaders,
    process_in_background,
    recreate_all,
    refresh_metadata,
    store_in_background,
    version,
)
from gifster.uploads.files import cache_ids
from gifster.uploads.files.sources import cache_upload
from gifster.uploads.testing import MemoryStorage
from tests import images
from tests.uploads import documents
from tests.uploads.documents import pdf
from tests.uploads.framework import Application, Base

#: How often a fact was read, by name.
read: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_read() -> None:
    read.clear()


class TooManyPages(UploadError):
    code = "too_many_pages"


class Facts(Uploader):
    allow_types = {"application/pdf", "image/gif"}

    @metadata
    def pages(self, file: LocalFile) -> int:
        read.append("pages")
        found = documents.count_pages(file.path)
        if found > 9:
            raise TooManyPages(f"The CV has {found} pages; send at most 9.")
        return found

    @metadata
    def is_long(self, file: LocalFile) -> bool:
        return file.metadata["pages"] > 2

    @metadata(later=True)
    def owner(self, file: LocalFile) -> str:
        read.append("owner")
        return f"{self.record.name}/{file.info.content_type}"


class CvUploader(Backgrounder, Facts):
    @version
    def small(self, image: Image) -> Image:
        return image.fit(20, 20)


@store_in_background("cv")
class CvStored(Base):
    name = peewee.CharField(default="ann")
    cv = mount_uploader(CvUploader)
    cv_tmp = CacheField()
    cv_state = StateField()
    cv_error = ErrorField()


@process_in_background("cv")
class CvProcessed(Base):
    name = peewee.CharField(default="ann")
    cv = mount_uploader(CvUploader)
    cv_processing = ProcessingField()


class CvAtOnce(Base):
    name = peewee.CharField(default="ann")
    cv = mount_uploader(Facts)


@store_in_background("cvs")
class CvListed(Base):
    name = peewee.CharField(default="ann")
    cvs = mount_uploaders(CvUploader)
    cvs_tmp = CacheListField()


@pytest.fixture
def app(application: Application) -> Application:
    application.create_tables(CvStored, CvProcessed, CvAtOnce, CvListed)
    return application


ALL = {"pages": 3, "is_long": True, "owner": "ann/application/pdf"}


@pytest.mark.parametrize("model", [CvStored, CvProcessed, CvAtOnce])
def test_facts_are_read_once_and_stay_with_the_file(app: Application, model: Any):
    # Given an upload; nothing is saved yet, and its facts are there for the form's validation
    record = model(cv=pdf(3))
    assert record.cv.pages == 3
    assert record.cv.metadata == {"pages": 3, "is_long": True}

    # When it is saved and stored
    record.save()
    app.work()

    # I expect all facts in the row, each read once; the later ones by the process that stores
    uploader = model.get_by_id(record.id).cv
    assert uploader.metadata == uploader.stored.metadata == ALL
    assert (uploader.pages, uploader.is_long, uploader.owner) == tuple(ALL.values())
    assert read == ["pages", "owner"]


def test_a_list_has_facts_of_each_file(app: Application):
    record = CvListed(cvs=[pdf(1), pdf(3)])
    record.save()
    app.work()

    record = CvListed.get_by_id(record.id)
    assert [cv.pages for cv in record.cvs] == [1, 3]
    record.cvs = reversed(record.cvs)
    record.save()
    assert [cv.metadata for cv in CvListed.get_by_id(record.id).cvs] == [
        ALL,
        {"pages": 1, "is_long": False, "owner": "ann/application/pdf"},
    ]


def test_a_fact_refuses_an_upload(app: Application):
    with pytest.raises(TooManyPages, match="10 pages"):
        CvStored(cv=pdf(10))

    assert app.cached == []


def test_facts_survive_new_versions(app: Application):
    record = CvStored(cv=images.gif())
    record.save()
    app.work()
    assert CvStored.get_by_id(record.id).cv.pages == 0

    list(recreate_all(CvStored.cv))
    app.work()

    stored = CvStored.get_by_id(record.id).cv.stored
    assert stored.metadata == {"pages": 0, "is_long": False, "owner": "ann/image/gif"}
    assert read.count("owner") == 1


def test_facts_go_with_a_cache_id_that_has_an_owner(app: Application):
    # Given a form that is shown again, with the cache id of a file
    cached = cache_upload(CvUploader, pdf(3), "cv.pdf")
    text = cache_ids.cache_id(cached, "ann")

    # When it comes back
    again = cache_ids.retrieve(CvUploader, text, "ann")

    # I expect that nothing was read a second time
    assert again.metadata == {"pages": 3, "is_long": True}
    assert read == ["pages"]


def test_facts_are_read_again_on_demand(app: Application, monkeypatch: pytest.MonkeyPatch):
    # Given a file that was stored before its uploader had this fact
    record = CvStored(cv=pdf(3))
    record.save()
    app.work()
    title = metadata(lambda self, file: file.path.read_bytes().split(b"(")[1][:2].decode())
    title.name = "title"
    monkeypatch.setattr(CvUploader, "title", title, raising=False)
    record = CvStored.get_by_id(record.id)
    assert record.cv.title is None

    # When I have that fact read, or all
    assert refresh_metadata(CvStored.cv, record, ["title"]).cv.metadata == ALL | {"title": "CV"}
    assert read == ["pages", "owner"]
    refresh_metadata(CvStored.cv, record)

    # I expect it in the row, and nothing of a fact that is no longer declared
    assert CvStored.get_by_id(record.id).cv.metadata == ALL | {"title": "CV"}
    assert read == ["pages", "owner", "pages", "owner"]
    monkeypatch.setattr(CvUploader, "title", None)
    assert refresh_metadata(CvStored.cv, record).cv.metadata == ALL
    with pytest.raises(LookupError, match="has no fact 'size'"):
        refresh_metadata(CvStored.cv, record, ["size"])


def test_a_file_that_was_replaced_meanwhile_keeps_its_facts(app: Application):
    # The old file is still there, because its removal has not run.
    record = CvAtOnce(cv=pdf(3))
    record.save()
    stale = CvAtOnce.get_by_id(record.id)
    record.cv = pdf(1)
    record.save()

    assert refresh_metadata(CvAtOnce.cv, stale).cv.pages == 1
    assert CvAtOnce.get_by_id(record.id).cv.pages == 1


class FailingUploader(Backgrounder, Uploader):
    allow_types = None
    #: What the fact does.
    reads: Any = None

    @metadata(later=True)
    def pages(self, file: LocalFile) -> int:
        return type(self).reads(file)


@store_in_background("cv")
class CvFailing(Base):
    cv = mount_uploader(FailingUploader)
    cv_tmp = CacheField()
    cv_state = StateField()
    cv_error = ErrorField()


def test_a_worker_fails_an_upload_whose_fact_cannot_be_read(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    app.create_tables(CvFailing)
    monkeypatch.setattr(FailingUploader, "reads", lambda file: {}["pages"])
    record = CvFailing.create(cv=pdf(3))

    app.work()

    record = CvFailing.get_by_id(record.id)
    assert (record.cv_state, record.cv_error.code) == ("failed", "metadata_unreadable")
    assert app.cached == app.stored == []


def test_a_worker_tries_again_after_a_failure_of_the_system(
    app: Application, monkeypatch: pytest.MonkeyPatch
):
    app.create_tables(CvFailing)

    def away(file: LocalFile) -> int:
        raise StorageUnavailable("no route to host")

    monkeypatch.setattr(FailingUploader, "reads", away)
    record = CvFailing.create(cv=pdf(3))
    with pytest.raises(StorageUnavailable):
        app.work()

    monkeypatch.setattr(FailingUploader, "reads", lambda file: documents.count_pages(file.path))
    app.work()

    record = CvFailing.get_by_id(record.id)
    assert (record.cv_state, record.cv_error, record.cv.pages) == ("ready", None, 3)


def test_a_rollback_keeps_the_facts(app: Application):
    record = CvAtOnce()
    with pytest.raises(ZeroDivisionError), app.database.atomic():
        record.cv = pdf(3)
        record.save()
        raise ZeroDivisionError

    record.save()

    assert CvAtOnce.get_by_id(record.id).cv.metadata == ALL
    assert read.count("pages") == 1


class CopyingUploader(Facts):
    def after_store(self, stored: StoredFile) -> None:
        model, pk = type(self.record), self.record.id
        model.update(cv_pages=stored.metadata["pages"]).where(model.id == pk).execute()


class CvSearchable(Base):
    name = peewee.CharField(default="ann")
    cv = mount_uploader(CopyingUploader)
    cv_pages = peewee.IntegerField(null=True)


def test_a_fact_can_be_copied_to_a_column_of_its_own(app: Application):
    app.create_tables(CvSearchable)

    record = CvSearchable.create(cv=pdf(3))

    assert CvSearchable.get(CvSearchable.cv_pages == 3).id == record.id


# Without a database.


def test_rows_of_an_earlier_release_have_no_facts(app: Application):
    record = CvAtOnce(cv=pdf(1))
    record.save()
    dumped = CvAtOnce.get_by_id(record.id).cv.stored.dump()
    del dumped["metadata"]

    assert StoredFile.load(dumped).metadata == {}


def test_a_subclass_inherits_facts_and_may_drop_them(cache: MemoryStorage):
    class Fewer(Facts):
        is_long = None

    assert cache_upload(Fewer, pdf(3)).metadata == {"pages": 3}
