"""No two rows share a file: a file that a record gets from another record is copied."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import peewee
import pytest

from gifster.uploads import (
    CacheField,
    CacheListField,
    HasUploads,
    StateField,
    errors,
    mount_uploader,
    mount_uploaders,
    store_in_background,
)
from tests import images
from tests.conftest import PLATFORMS
from tests.uploads.framework import Application, AvatarUploader, Base, Company, LogoUploader, Person
from tests.uploads.test_rollback import BOTH, atomic, fresh, is_clean, width

#: These tests do not depend on the database or the storage: one platform is enough.
pytestmark = pytest.mark.parametrize("platform", PLATFORMS[:1], indirect=True)

ONE, TWO, THREE = (images.gif(size=(width, 60)) for width in (80, 90, 100))


@store_in_background("photos")
class Folder(Base):
    photos = mount_uploaders(AvatarUploader)
    photos_tmp = CacheListField()
    photos_state = StateField()


def widths(record: Any) -> list[int]:
    return [photo.stored.width for photo in fresh(record).photos]


def stored(application: Application, model: Any, column: str) -> Any:
    record = model.create(name="Ann", **{column: ONE})
    application.work()
    return fresh(record)


WAYS = [
    lambda a, b, column: setattr(b, column, getattr(a, column)),
    lambda a, b, column: setattr(b, column, getattr(a, column).stored),
    lambda a, b, column: getattr(b, column).assign(getattr(a, column).stored),
]


@BOTH
def test_another_records_file_is_copied(application: Application, model: Any, column: str):
    one = stored(application, model, column)
    others = [model(name="Bob") for _ in WAYS] + [fresh(model.create(name="Cid")) for _ in WAYS]

    for other, way in zip(others, [*WAYS, *WAYS], strict=True):
        way(one, other, column)
        other.save()
    application.work()
    fresh(one).delete_instance()
    application.work()

    assert [width(other, column) for other in others] == [80] * 6
    assert is_clean(application, *(getattr(fresh(other), column) for other in others))


@BOTH
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("state", ["stored", "waiting", "assigned"])
def test_a_copied_record_has_a_file_of_its_own(
    application: Application, model: Any, column: str, way: Any, state: str
):
    one = model(name="Ann", **{column: ONE})
    if state != "assigned":
        one.save()
    if state == "stored":
        application.work()
        one = fresh(one)
    pk = one._pk
    other = way(one)

    other.id = None
    other.save()
    copied = fresh(other)
    if state == "assigned":
        one.id = None  # A shallow copy shares its `__data__` with the original.
        one.save()
        pk = one._pk
    application.work()
    first = model.get_by_id(pk)
    assert width(copied, column) == width(first, column) == 80
    assert first != copied
    first.delete_instance()
    application.work()

    assert width(copied, column) == 80
    assert is_clean(application, getattr(fresh(copied), column))


@BOTH
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("before", [None, TWO])
def test_a_copied_record_does_not_get_what_the_original_gets_later(
    application: Application, model: Any, column: str, way: Any, before: bytes | None
):
    one = stored(application, model, column)
    if before is not None:
        setattr(one, column, before)
    other = way(one)
    setattr(one, column, THREE)

    had = 80 if before is None else 90
    assert images.size(getattr(other, column).read())[0] == had
    one.save()
    application.work()
    assert getattr(other, column).stored.width == 80
    assert width(one, column) == 100
    setattr(other, f"remove_{column}", True)
    assert not getattr(one, column).removing

    if before is not None:  # Otherwise its file is gone with the original's.
        setattr(other, f"remove_{column}", False)
        other.id = None
        other.save(force_insert=True)
        application.work()
        assert (width(one, column), width(other, column)) == (100, 90)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_a_copied_list_does_not_get_what_the_original_gets_later(
    application: Application, way: Any
):
    application.create_tables(Folder)
    one = Folder.create(photos=[ONE])
    application.work()
    one = fresh(one)
    one.photos.append(TWO)
    one.remove_photos = True
    other = way(one)
    one.remove_photos = False
    one.photos.append(THREE)

    assert other.remove_photos is True
    assert list(other.photos) == []
    other.remove_photos = False
    assert [images.size(photo.read())[0] for photo in other.photos] == [80, 90]
    assert [images.size(photo.read())[0] for photo in one.photos] == [80, 90, 100]
    assert all(photo.record is other for photo in other.photos)
    other.id = None
    other.save(force_insert=True)
    one.save()
    application.work()
    assert (widths(one), widths(other)) == ([80, 90, 100], [80, 90])


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_a_copied_record_has_what_was_told_to_the_uploader(application: Application, way: Any):
    one: Any = Person(name="Ann", avatar=ONE)
    one.remote_avatar_request_headers = {"Accept": "image/*"}
    one.avatar.crop = (1, 2)
    other = way(one)
    one.remote_avatar_request_headers = {}
    one.avatar = TWO

    assert other.remote_avatar_request_headers == {"Accept": "image/*"}
    assert other.avatar.crop == (1, 2)
    assert other.avatar.record is other
    assert images.size(other.avatar.read())[0] == 80


def test_a_pickled_record_does_not_get_what_the_original_gets_later(application: Application):
    one = stored(application, Person, "avatar")
    again = pickle.loads(pickle.dumps(one))
    one.avatar = TWO

    assert (again.avatar.stored.width, again.avatar.changed) == (80, False)


def test_another_records_cached_file_is_copied(application: Application):
    one = Person.create(avatar=ONE)
    by_uploader, by_file = Person(avatar=one.avatar), Person(avatar=one.avatar_tmp)
    by_uploader.save()
    by_file.save()
    application.work()

    assert [width(p, "avatar") for p in (one, by_uploader, by_file)] == [80, 80, 80]
    assert is_clean(application, *(person.avatar for person in Person.select()))


def test_a_list_of_another_record_is_copied(application: Application):
    application.create_tables(Folder)
    one = Folder.create(photos=[ONE, TWO])
    application.work()
    one = fresh(one)

    copied = copy.deepcopy(one)
    copied.id = None
    copied.save()
    assigned = Folder.create(photos=one.photos)
    some = Folder(photos=[THREE])
    some.photos.append(one.photos[1])
    some.save()
    same = fresh(one)
    same.photos = [photo.stored for photo in reversed(same.photos)]
    same.save()
    application.work()

    assert widths(copied) == widths(assigned) == [80, 90]
    assert widths(some) == [100, 90]
    assert widths(one) == [90, 80]
    fresh(one).delete_instance()
    application.work()
    assert is_clean(application, *(photo for folder in Folder.select() for photo in folder.photos))


def test_a_file_that_is_gone_cannot_be_copied(application: Application):
    one = stored(application, Company, "logo")
    application.store.delete(one.logo.stored.key)

    with pytest.raises(errors.CacheFileMissing, match="no longer exists"):
        Company().logo = one.logo
    assert application.cached == []


def test_assigning_a_records_own_file_changes_nothing(application: Application):
    one = stored(application, Person, "avatar")
    before = one.avatar.stored

    one.avatar = one.avatar
    one.avatar = one.avatar.stored
    assert not one.avatar.changed
    one.save()
    application.work()

    assert fresh(one).avatar.stored == before


def test_a_record_can_be_pickled(application: Application):
    one = stored(application, Person, "avatar")
    assert one.avatar

    again = pickle.loads(pickle.dumps(one))
    assert again.avatar.stored.width == 80
    again.avatar = TWO
    with pytest.raises(TypeError, match=r"save\(\) it first"):
        pickle.dumps(again)
    again.save()
    application.work()
    assert width(one, "avatar") == 90


# Assigning None.


@BOTH
def test_none_clears_an_assigned_file(application: Application, model: Any, column: str):
    record = stored(application, model, column)
    setattr(record, column, TWO)
    setattr(record, column, None)
    record.save()
    application.work()
    assert not getattr(fresh(record), column)

    new = model(name="Bob", **{column: TWO})
    setattr(new, column, None)
    new.save()
    application.work()
    assert not getattr(fresh(new), column)
    assert application.stored == []


@BOTH
def test_none_detaches_a_file_that_was_not_loaded(
    application: Application, model: Any, column: str
):
    application.create_tables(Folder)
    record = stored(application, model, column)
    folder = Folder.create(photos=[ONE, TWO])

    part = model.select(model.id, model.name).get()
    assert part.save() == 1
    setattr(part, column, None)
    part.save()
    part = Folder.select(Folder.id).get()
    part.photos = []
    part.save()
    application.work()

    assert not getattr(fresh(record), column)
    assert list(fresh(folder).photos) == []
    assert application.stored == application.cached == []


@pytest.mark.parametrize("first", ["tmp", "column"])
def test_none_detaches_a_cached_upload(application: Application, first: str):
    class Backwards(Base):
        avatar_tmp = CacheField()
        avatar = mount_uploader(AvatarUploader)

    model = store_in_background("avatar")(Backwards) if first == "tmp" else Person
    application.create_tables(Backwards)
    model.create(avatar=ONE)

    # Loading the record detaches nothing, in whatever order its columns come
    record = model.get()
    record.save()
    assert model.get().avatar_tmp is not None
    record.avatar = None
    record.save()
    application.work()

    assert model.get().avatar_tmp is None
    assert not model.get().avatar
    assert application.cached == application.stored == []


@BOTH
def test_a_model_that_only_marks_rows_as_deleted_keeps_their_files(
    application: Application, model: Any, column: str
):
    class Soft(Base):
        name = peewee.CharField(default="")
        deleted = peewee.BooleanField(default=False)
        avatar = mount_uploader(AvatarUploader)
        avatar_tmp = CacheField()

        @classmethod
        def select(cls, *fields: Any) -> Any:
            return super().select(*fields).where(~cls.deleted)

        def delete_instance(self, *arguments: Any, **options: Any) -> int:
            self.deleted = True
            return self.save()

    store_in_background("avatar")(Soft)
    application.create_tables(Soft)
    # Given a row that is hidden while its upload waits, and one that is hidden afterwards
    hidden, later = Soft.create(avatar=ONE), Soft.create(avatar=TWO)
    hidden.delete_instance()
    application.work()
    later.delete_instance()
    application.work()
    assert list(Soft.select()) == []

    rows = list(peewee.Model.select.__func__(Soft).order_by(Soft.id))
    assert [row.avatar.stored.width for row in rows] == [80, 90]
    assert is_clean(application, *(row.avatar for row in rows))
    hidden.avatar = TWO
    hidden.save()
    application.work()
    assert peewee.Model.select.__func__(Soft).order_by(Soft.id)[0].avatar.stored.width == 90


# Saving only some fields.


@BOTH
def test_an_upload_is_among_the_dirty_fields(application: Application, model: Any, column: str):
    record = fresh(model.create(name="Ann"))
    assert record.save(only=record.dirty_fields) == 0
    setattr(record, column, ONE)

    record.save(only=record.dirty_fields)
    assert not record.is_dirty()
    application.work()

    assert width(record, column) == 80


@BOTH
@pytest.mark.parametrize("by", ["field", "name", "column name"])
def test_only_the_upload_of_a_new_record_is_saved(
    application: Application, model: Any, column: str, by: str
):
    record = model(name="Ann", **{column: ONE})
    field = getattr(model, column)

    record.save(only=[{"field": field, "name": field.name, "column name": field.column_name}[by]])
    application.work()

    assert (fresh(record).name, width(record, column)) == ("", 80)


@BOTH
def test_a_model_with_only_save_dirty_saves_the_upload(
    application: Application, monkeypatch: pytest.MonkeyPatch, model: Any, column: str
):
    monkeypatch.setattr(model._meta, "only_save_dirty", True)
    record = model(name="Ann", **{column: ONE})
    record.save()
    application.work()
    assert width(record, column) == 80

    record = fresh(record)
    setattr(record, column, TWO)
    record.save()
    application.work()
    assert width(record, column) == 90
    assert is_clean(application, getattr(fresh(record), column))


# Columns, databases and keys.


def test_a_mounted_column_may_have_a_column_name(application: Application):
    class Named(Base):
        avatar = mount_uploader(AvatarUploader, column_name="picture")
        avatar_tmp = CacheField(column_name="picture_waiting")

    store_in_background("avatar")(Named)
    application.create_tables(Named)
    named = Named.create(avatar=ONE)
    named.avatar = TWO
    named.save(only=["picture"])
    application.work()

    assert fresh(named).avatar.stored.width == 90


def test_a_second_database_is_refused(application: Application, tmp_path: Path):
    elsewhere = peewee.SqliteDatabase(tmp_path / "elsewhere.db")

    with pytest.raises(TypeError, match=r"Far has uploads.*another database.*TABLES"):

        class Far(HasUploads, peewee.Model):
            avatar = mount_uploader(LogoUploader)

            class Meta:
                database = elsewhere

    class Later(Base):
        logo = mount_uploader(LogoUploader)

    Later.bind(elsewhere)
    elsewhere.create_tables([Later])
    later = Later(logo=ONE)
    with pytest.raises(TypeError, match="another database"):
        later.save()
    assert Later.select().count() == 0
    Later.bind(application.database)


def test_a_model_without_a_key_is_refused(application: Application):
    with pytest.raises(TypeError, match="needs a primary key"):

        class Keyless(Base):
            logo = mount_uploader(LogoUploader)

            class Meta:
                primary_key = False


# Threads that share a record.


def test_threads_that_share_a_list_lose_nothing(application: Application):
    application.create_tables(Folder)
    folder = Folder.create()
    pictures = [images.gif(size=(50 + n, 40)) for n in range(8)]
    ready = threading.Barrier(4)

    def add(some: list[bytes]) -> None:
        with application.database.connection_context():
            ready.wait(20)
            for picture in some:
                folder.photos.append(picture)
                folder.save()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(add, pictures[n::4]) for n in range(4)]:
            done.result()
    application.work()

    assert sorted(widths(folder)) == [50 + n for n in range(8)]
    assert is_clean(application, *fresh(folder).photos)


def test_the_last_upload_of_threads_that_share_a_record_is_saved(application: Application):
    record = Company.create(name="Ann")
    begun, go_on = threading.Event(), threading.Event()

    def save_one() -> None:
        with application.database.connection_context():
            record.logo = ONE
            save_slowly(record, begun, go_on)

    def save_two() -> None:
        with application.database.connection_context():
            assert begun.wait(20)
            record.logo = TWO
            go_on.set()
            record.save()

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(save_one), threads.submit(save_two)]:
            done.result()
    application.work()

    assert width(record, "logo") == 90
    assert is_clean(application, fresh(record).logo)


def save_slowly(record: Any, begun: threading.Event, go_on: threading.Event) -> None:
    """Save a record, and pause in the middle until `go_on` is set."""
    uploader = record.logo

    def wait(_: Any) -> None:
        begun.set()
        assert go_on.wait(20)

    uploader.before_process = wait
    record.save()


def test_a_save_that_could_deadlock_with_another_thread_is_refused(application: Application):
    record = Company.create(name="Ann")
    begun, go_on = threading.Event(), threading.Event()

    def save_one() -> None:
        with application.database.connection_context():
            record.logo = ONE
            save_slowly(record, begun, go_on)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(save_one)
        assert begun.wait(20)
        with pytest.raises(RuntimeError, match="load the record in each"), atomic():
            record.save()
        go_on.set()
        first.result()

    assert width(record, "logo") == 80
