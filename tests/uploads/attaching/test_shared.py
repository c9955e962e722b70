"""No two rows share a file: a file that a record gets from another record is copied."""

import copy
import pickle
from typing import Any

import pytest

from gifster.uploads import errors
from tests import images
from tests.combinations import on_one_platform
from tests.uploads.framework import Application, Company, Person, fresh
from tests.uploads.records import (
    BOTH,
    ONE,
    THREE,
    TWO,
    PhotoFolder,
    is_clean,
    stored,
    width,
    widths,
)

#: These tests do not depend on the database or the storage: one platform is enough.
pytestmark = on_one_platform

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
    application.create_tables(PhotoFolder)
    one = PhotoFolder.create(photos=[ONE])
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
    application.create_tables(PhotoFolder)
    one = PhotoFolder.create(photos=[ONE, TWO])
    application.work()
    one = fresh(one)

    copied = copy.deepcopy(one)
    copied.id = None
    copied.save()
    assigned = PhotoFolder.create(photos=one.photos)
    some = PhotoFolder(photos=[THREE])
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
    assert is_clean(
        application, *(photo for folder in PhotoFolder.select() for photo in folder.photos)
    )


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
